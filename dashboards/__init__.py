"""The Grafana dashboards as data, and what is made of them: JSON, the page of the docs, pictures."""
