CREATE TABLE IF NOT EXISTS events
(
    topic LowCardinality(String),
    partition UInt16,
    position String CODEC(ZSTD),
    day Date,
    received_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    timestamp DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    event_id String,
    event_type LowCardinality(String),
    user_key String,
    session_id String,
    item_ids Array(String),
    positions Array(UInt16),
    value Nullable(Float64),
    surface LowCardinality(String),
    recommendation_id String,
    payload String CODEC(ZSTD(3)) COMMENT 'the original bytes: this table is the archive of the log'
)
ENGINE = MergeTree
PARTITION BY day
ORDER BY (event_type, surface, timestamp)
SETTINGS non_replicated_deduplication_window = 10000;
ALTER TABLE events MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1
