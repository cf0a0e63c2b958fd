CREATE TABLE IF NOT EXISTS documents
(
    topic LowCardinality(String),
    partition UInt16,
    position String CODEC(ZSTD),
    day Date,
    updated_at DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    id String,
    payload String CODEC(ZSTD(3)) COMMENT 'the original bytes of items, users, verdicts and changes of control'
)
ENGINE = MergeTree
PARTITION BY day
ORDER BY (topic, id, updated_at)
SETTINGS non_replicated_deduplication_window = 10000;
ALTER TABLE documents MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1
