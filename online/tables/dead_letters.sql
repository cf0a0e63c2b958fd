CREATE TABLE IF NOT EXISTS dead_letters
(
    topic LowCardinality(String),
    partition UInt16,
    position String,
    day Date,
    reason String,
    payload String CODEC(ZSTD(3)) COMMENT 'the original bytes'
)
ENGINE = ReplacingMergeTree
PARTITION BY day
ORDER BY (topic, partition, position)
SETTINGS non_replicated_deduplication_window = 10000
