"""What an operator sees: metrics, alerts, health."""
