"""The benchmark runs, and what each side made is correct: with small counts, so that its figures are not asked for.

Quix Streams is left out: its environment is one of its own, made by `make bench-short`.
"""

import subprocess
import sys

import pytest


def short(module: str, *options: str) -> str:
    """What it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--short", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_each_part_of_the_benchmark_runs() -> None:
    shown = short("bench.run", "--only", "ours", "faust", "limits", "state")
    assert "rtmeter worker" in shown
    assert "restore" in shown


@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_the_benchmark_of_long_subscribers_runs() -> None:
    assert "a restore gives the same state" in short("bench.long_subscriber")


def test_the_measurement_of_what_being_seen_costs_runs() -> None:
    assert "counters and clocks" in short("bench.seen_cost")


@pytest.mark.timeout(300)
def test_the_benchmark_of_the_dashboards_asks_every_question_and_checks_the_month() -> None:
    shown = short("bench.dashboards.run")
    assert "Movers" in shown
    assert "Events" in shown


@pytest.mark.timeout(300)
def test_the_benchmark_of_the_close_closes_every_partner_and_checks_the_sum() -> None:
    shown = short("bench.close.run")
    assert "close / limit" in shown
    assert "estimate for 35,000,000" in " ".join(shown.split())
