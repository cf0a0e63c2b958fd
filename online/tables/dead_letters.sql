CREATE TABLE IF NOT EXISTS dead_letters
(
    topic LowCardinality(String),
    partition UInt16,
    position String,
    day Date,
    reason String,
    payload String CODEC(ZSTD(3)) COMMENT 'the original bytes',
    found_at DateTime64(3, 'UTC') COMMENT '1970 when unknown',
    size UInt32 COMMENT 'of the message; the payload is its beginning when that is shorter'
)
ENGINE = ReplacingMergeTree
PARTITION BY day
ORDER BY (topic, partition, position)
SETTINGS non_replicated_deduplication_window = 10000;
ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS found_at DateTime64(3, 'UTC') COMMENT '1970 when unknown',
    ADD COLUMN IF NOT EXISTS size UInt32 COMMENT 'of the message; the payload is its beginning when that is shorter';
ALTER TABLE dead_letters MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1
