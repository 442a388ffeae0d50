-- A subscriber with many facts has many rows: its newest intervals are in the row without a segment, as all intervals of
-- any other subscriber are; older ones are in rows of their own, so that an event need not write all of them again.
-- `user_id`, `workspace_id` and `anomalies` stand in the row without a segment only.
ALTER TABLE timelines {on_cluster}
    ADD COLUMN IF NOT EXISTS segment String,
    MODIFY ORDER BY (partner_id, customer_id, subscriber_id, segment);

ALTER TABLE timelines_history {on_cluster}
    ADD COLUMN IF NOT EXISTS segment String,
    MODIFY ORDER BY (partner_id, customer_id, subscriber_id, revision, segment);

-- One row per interval.
CREATE OR REPLACE VIEW intervals {on_cluster} AS
SELECT partner_id, customer_id, subscriber_id, user_id, workspace_id, revision,
       addon_ AS addon, item, location_id, start, end, started_ms, ended_ms
FROM
(
    SELECT partner_id, customer_id, subscriber_id, user_id, workspace_id, revision,
           addon, items, locations, starts, ends, start_ms, end_ms
    FROM timelines FINAL
    WHERE segment = ''
    UNION ALL
    SELECT partner_id, customer_id, subscriber_id, head.user_id, head.workspace_id, revision,
           addon, items, locations, starts, ends, start_ms, end_ms
    FROM (SELECT * EXCEPT (user_id, workspace_id) FROM timelines FINAL PREWHERE segment != '') AS older
    INNER JOIN
    (
        SELECT partner_id, customer_id, subscriber_id, user_id, workspace_id
        FROM timelines FINAL
        WHERE segment = '' AND (partner_id, customer_id, subscriber_id) IN
            (SELECT partner_id, customer_id, subscriber_id FROM timelines WHERE segment != '')
    ) AS head USING (partner_id, customer_id, subscriber_id)
)
ARRAY JOIN addon AS addon_, items AS item, locations AS location_id, starts AS start, ends AS end,
           start_ms AS started_ms, end_ms AS ended_ms;
