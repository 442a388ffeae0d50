"""Kafka to ClickHouse: tables, migrations, and the loop that fills them."""
