-- The user whom Grafana asks as: it may read rtmeter's tables, and nothing else. Give it a password and a database of your own.
-- What the profile sets is what the dashboards were measured with; the data source itself sets max_execution_time.
CREATE SETTINGS PROFILE IF NOT EXISTS rtmeter_grafana SETTINGS
    readonly = 1,
    max_execution_time = 60 CHANGEABLE_IN_READONLY,
    do_not_merge_across_partitions_select_final = 1;

CREATE USER IF NOT EXISTS rtmeter_grafana IDENTIFIED WITH sha256_password BY 'change-me' SETTINGS PROFILE 'rtmeter_grafana';

GRANT SELECT ON rtmeter.* TO rtmeter_grafana;
