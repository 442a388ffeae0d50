"""Kafka to intervals and days: the stream workers."""
