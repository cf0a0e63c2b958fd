CREATE TABLE IF NOT EXISTS slates
(
    recommendation_id String,
    partition UInt16,
    position String CODEC(ZSTD),
    day Date,
    served_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    user_key String,
    surface LowCardinality(String),
    policy_id LowCardinality(String),
    model_version LowCardinality(String),
    rung LowCardinality(String),
    item_ids Array(String),
    propensities Array(Float64),
    candidates UInt16,
    ope_valid Bool,
    ope_why LowCardinality(String),
    payload String CODEC(ZSTD(3)) COMMENT 'the whole slate, msgpack of schemas.slate.Slate',
    experiment_id LowCardinality(String) COMMENT 'that the unit was in, empty for none',
    variant LowCardinality(String),
    held_out Bool COMMENT 'of a unit of the holdout, whatever has answered',
    own_policy Bool COMMENT 'the request has named its policy, and is in no experiment',
    robot Bool
)
ENGINE = ReplacingMergeTree
PARTITION BY day
ORDER BY (surface, policy_id, recommendation_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'a slate shipped twice from a spool has two positions and one recommendation_id: read with FINAL';
ALTER TABLE slates
    ADD COLUMN IF NOT EXISTS experiment_id LowCardinality(String) COMMENT 'that the unit was in, empty for none',
    ADD COLUMN IF NOT EXISTS variant LowCardinality(String),
    ADD COLUMN IF NOT EXISTS held_out Bool COMMENT 'of a unit of the holdout, whatever has answered',
    ADD COLUMN IF NOT EXISTS own_policy Bool COMMENT 'the request has named its policy, and is in no experiment',
    ADD COLUMN IF NOT EXISTS robot Bool;
ALTER TABLE slates MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1
