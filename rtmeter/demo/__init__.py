"""A generated month, metered on a real Kafka and shown: `rtmeter demo`."""
