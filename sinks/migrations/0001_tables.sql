-- Every table's key makes a repeated row the same row, so that inserting at least once is exactly once.
-- Widths and sort keys cannot be taken back: offsets, quantities and revisions have 64 bits.

-- Every record of the input topics, byte for byte (rule 17). The key is where it came from.
CREATE TABLE IF NOT EXISTS raw_events {on_cluster}
(
    topic LowCardinality(String),
    partition UInt32,
    offset Int64,
    append_time DateTime64(3, 'UTC'),
    key Nullable(String),
    value Nullable(String) CODEC(ZSTD(3)),
    INDEX by_key key TYPE bloom_filter GRANULARITY 4
)
ENGINE = {replacing}
PARTITION BY toYYYYMM(append_time)
ORDER BY (topic, partition, offset);

-- Records that could not be metered, with the reason. The origin is the key: a repeated refusal is one row.
CREATE TABLE IF NOT EXISTS dead_letters {on_cluster}
(
    topic LowCardinality(String),
    partition UInt32,
    offset Int64,
    append_time DateTime64(3, 'UTC'),
    reason LowCardinality(String),
    detail String,
    key Nullable(String),
    value Nullable(String) CODEC(ZSTD(3))
)
ENGINE = {replacing}
ORDER BY (topic, partition, offset);

-- Every version of every partner and subscription. The latest by (time_ms, sequence, source, id) counts.
CREATE TABLE IF NOT EXISTS catalog_versions {on_cluster}
(
    entry String,
    offset Int64,
    time_ms Int64,
    sequence Nullable(String),
    source String,
    id String,
    data String CODEC(ZSTD(3))
)
ENGINE = {replacing}
ORDER BY (entry, offset);

-- One row per customer under a partner, with its Setup Assist orders as arrays: a revision replaces all at once.
CREATE TABLE IF NOT EXISTS customers {on_cluster}
(
    partner_id String,
    customer_id String,
    revision UInt64,
    partition UInt32,
    external_id String,
    subscription_id String,
    name String,
    internal Bool,
    order_ids Array(String),
    order_items Array(String),
    order_locations Array(String),
    order_days Array(Int32),
    order_quantities Array(Int64)
)
ENGINE = {replacing_by_revision}
ORDER BY (partner_id, customer_id);

-- The same with the revision in the key: "as known at an input prefix".
CREATE TABLE IF NOT EXISTS customers_history {on_cluster}
AS customers
ENGINE = {replacing}
ORDER BY (partner_id, customer_id, revision);

-- One row per subscriber with its intervals as arrays, in order of start. `ends` of what still runs is the
-- largest Int64. `starts` and `ends` are microdays of the grid, `start_ms` and `end_ms` the instants.
CREATE TABLE IF NOT EXISTS timelines {on_cluster}
(
    partner_id String,
    customer_id String,
    subscriber_id String,
    revision UInt64,
    partition UInt32,
    user_id String,
    workspace_id String,
    anomalies UInt32,
    addon Array(Bool),
    items Array(String),
    locations Array(String),
    starts Array(Int64),
    ends Array(Int64),
    start_ms Array(Int64),
    end_ms Array(Int64)
)
ENGINE = {replacing_by_revision}
ORDER BY (partner_id, customer_id, subscriber_id);

CREATE TABLE IF NOT EXISTS timelines_history {on_cluster}
AS timelines
ENGINE = {replacing}
ORDER BY (partner_id, customer_id, subscriber_id, revision);

-- One row per interval.
CREATE VIEW IF NOT EXISTS intervals {on_cluster} AS
SELECT partner_id, customer_id, subscriber_id, user_id, workspace_id, revision,
       addon_ AS addon, item, location_id, start, end, started_ms, ended_ms
FROM timelines FINAL
ARRAY JOIN addon AS addon_, items AS item, locations AS location_id, starts AS start, ends AS end,
           start_ms AS started_ms, end_ms AS ended_ms;

-- Daily aggregates (rule 15), a part a month: reports are of months. Zero rows stay: they replace what was there (rule 16).
-- A month that nothing was written to for an hour becomes one part: then FINAL has nothing to merge.
CREATE TABLE IF NOT EXISTS daily_usage {on_cluster}
(
    partner_id String,
    customer_id String,
    location_id String,
    item LowCardinality(String),
    day Date32,
    quantity_microdays Int64,
    active_licences Int64,
    revision UInt64
)
ENGINE = {replacing_by_revision}
PARTITION BY toYYYYMM(day)
ORDER BY (partner_id, customer_id, location_id, item, day)
SETTINGS min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1;

CREATE TABLE IF NOT EXISTS daily_usage_history {on_cluster}
AS daily_usage
ENGINE = {replacing}
PARTITION BY toYYYYMM(day)
ORDER BY (partner_id, customer_id, location_id, item, day, revision);

-- How far each partition's state has come: one row per partition, the highest watermark counts.
CREATE TABLE IF NOT EXISTS partition_progress {on_cluster}
(
    partition UInt32,
    revision UInt64,
    closed_through_day Nullable(Date32),
    metered UInt64,
    duplicates UInt64,
    refused UInt64,
    day_closes UInt64
)
ENGINE = {replacing_by_revision}
ORDER BY partition;

-- Where each sink partition goes on reading: the position lives with the rows, as a worker's lives with its state,
-- so that an emptied or restored store fills itself again.
CREATE TABLE IF NOT EXISTS sink_positions {on_cluster}
(
    topic LowCardinality(String),
    partition UInt32,
    revision UInt64
)
ENGINE = {replacing_by_revision}
ORDER BY (topic, partition);
