CREATE TABLE IF NOT EXISTS outcomes
(
    topic LowCardinality(String),
    partition UInt16,
    position String CODEC(ZSTD),
    recommendation_id String,
    day Date,
    time DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    surface LowCardinality(String),
    model_version LowCardinality(String),
    slots Array(UInt16) COMMENT 'slots that were seen, from 1',
    clicked Array(Bool) COMMENT 'which of them were clicked',
    payload String CODEC(ZSTD(3)) COMMENT 'the whole example, msgpack of online.core.example.Example',
    correction String COMMENT 'empty, or the slots that led to more after the window, each with what: 3:4'
)
ENGINE = ReplacingMergeTree
PARTITION BY day
ORDER BY (surface, recommendation_id, correction)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'one row for each slate whose window has closed and of which something was seen, and one for each correction';
ALTER TABLE outcomes
    ADD COLUMN IF NOT EXISTS correction String
        COMMENT 'empty, or the slots that led to more after the window, each with what: 3:4',
    MODIFY ORDER BY (surface, recommendation_id, correction);
ALTER TABLE outcomes MODIFY SETTING fsync_after_insert = 1, fsync_part_directory = 1
