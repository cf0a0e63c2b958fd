CREATE TABLE IF NOT EXISTS shadows
(
    recommendation_id String,
    position String CODEC(ZSTD),
    day Date,
    served_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    surface LowCardinality(String),
    shadow_of String COMMENT 'id of the slate that was served',
    user_key String,
    policy_id LowCardinality(String),
    policy_version UInt32,
    model LowCardinality(String) COMMENT 'that stood in for the ranker of the served policy; empty: the shadow is a policy',
    model_version LowCardinality(String),
    served_policy_id LowCardinality(String),
    served_policy_version UInt32,
    served_model_version LowCardinality(String),
    item_ids Array(String),
    overlap Float64,
    rank_biased_overlap Float64,
    rank_shift Nullable(Float64),
    share Float64 COMMENT 'of the requests that are shadowed',
    stages_us Map(String, Float64),
    payload String CODEC(ZSTD(3)) COMMENT 'the whole shadow, msgpack of schemas.shadow.ShadowSlate'
)
ENGINE = ReplacingMergeTree
PARTITION BY day
ORDER BY (surface, policy_id, model, recommendation_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'slates that nobody saw: what a shadow would have answered; read with FINAL';
ALTER TABLE shadows MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1
