"""The dashboards: files, questions on a running pipeline, what Grafana makes of a question."""
