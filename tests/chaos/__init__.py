"""Real processes under faults: kills, freezes, a broker that stops, a full disk. `python -m tests.chaos`, or `make chaos`."""
