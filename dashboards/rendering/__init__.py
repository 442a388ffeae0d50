"""Pictures of the dashboards for the docs, drawn of the same questions and data. They are renderings, not Grafana."""
