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
    robot Bool,
    canary LowCardinality(String) COMMENT 'that the unit was on a side of, empty for none',
    canary_arm LowCardinality(String),
    canary_step UInt8,
    degraded Bool COMMENT 'a lower rung answered for want of time or record, or the slate is short',
    ranked_us Float32 COMMENT 'all stages of the ranking path'
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
    ADD COLUMN IF NOT EXISTS robot Bool,
    ADD COLUMN IF NOT EXISTS canary LowCardinality(String) COMMENT 'that the unit was on a side of, empty for none',
    ADD COLUMN IF NOT EXISTS canary_arm LowCardinality(String),
    ADD COLUMN IF NOT EXISTS canary_step UInt8,
    ADD COLUMN IF NOT EXISTS degraded Bool COMMENT 'a lower rung answered for want of time or record, or it is short',
    ADD COLUMN IF NOT EXISTS ranked_us Float32 COMMENT 'all stages of the ranking path';
ALTER TABLE slates MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1
