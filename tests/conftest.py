"""Hypothesis profiles, chosen by the environment variable HYPOTHESIS_PROFILE (`ci` unless set)."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.kafka_fixtures", "tests.letters", "tests.month"]

_PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
# A busy machine draws slowly; how long a law takes is the business of the time-out of its test.
_PATIENT: dict[str, Any] = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}

# The same examples on every run: a red build is red for the commit, not for the dice. `long` and `dev` roll them.
settings.register_profile("ci", max_examples=2_000, derandomize=True, **_PATIENT)
settings.register_profile("long", max_examples=50_000, **_PATIENT)
settings.register_profile("dev", max_examples=200, **_PATIENT)
settings.load_profile(_PROFILE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time-out that finds a hanging test would cut off a law that is tried 50,000 times."""
    if _PROFILE == "long":
        for item in items:
            item.add_marker(pytest.mark.timeout(0))
