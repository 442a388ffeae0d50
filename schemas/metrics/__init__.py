"""Every metric of every process, as data: what operators, alerts and dashboards may rely on."""
