-- Dead letters are worked through: redriven, or dismissed. Nothing here is derived: like raw_events it is input.

-- Records that take up a dead letter again: the letter, and where the record came from (its header rtmeter-redrives).
-- A table of its own and no column of raw_events: it has a row for each redriven record, not for each record.
CREATE TABLE IF NOT EXISTS redrives {on_cluster}
(
    original_topic LowCardinality(String),
    original_partition UInt32,
    original_offset Int64,
    topic LowCardinality(String),
    partition UInt32,
    offset Int64,
    append_time DateTime64(3, 'UTC')
)
ENGINE = {replacing}
ORDER BY (original_topic, original_partition, original_offset, topic, partition, offset);

-- Whose a letter is ('' for unknown), when it holds from, and the day that misses it (days since the epoch): reports
-- count by them. The sink fills them; rows of before have what the engine can tell, and a replay gives them the rest.
ALTER TABLE dead_letters {on_cluster}
    ADD COLUMN IF NOT EXISTS partner_id String
        DEFAULT if(JSONType(ifNull(value, ''), 'data', 'partnerOrgId') = 'String',
                   JSONExtractString(ifNull(value, ''), 'data', 'partnerOrgId'), ''),
    ADD COLUMN IF NOT EXISTS customer_id String
        DEFAULT multiIf(JSONType(ifNull(value, ''), 'data', 'customerOrgId') = 'String',
                        JSONExtractString(ifNull(value, ''), 'data', 'customerOrgId'),
                        topic LIKE '%package-assignments', ifNull(key, ''), ''),
    ADD COLUMN IF NOT EXISTS time_ms Nullable(Int64)
        DEFAULT if(JSONType(ifNull(value, ''), 'time') = 'String',
                   toUnixTimestamp64Milli(
                       parseDateTime64BestEffortOrNull(JSONExtractString(ifNull(value, ''), 'time'), 3, 'UTC')), NULL),
    ADD COLUMN IF NOT EXISTS day Int32
        DEFAULT intDiv(if(reason IN ('too-far-in-future', 'before-horizon') OR time_ms IS NULL,
                          toUnixTimestamp64Milli(append_time), assumeNotNull(time_ms)), 86400000);

ALTER TABLE dead_letters {on_cluster}
    MATERIALIZE COLUMN partner_id, MATERIALIZE COLUMN customer_id, MATERIALIZE COLUMN time_ms, MATERIALIZE COLUMN day;
