"""The event contract as data and types: events, topics, examples and the reasons for refusal."""
