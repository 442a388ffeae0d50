"""The short form of `make chaos`: real processes, and every number right in the end."""

import warnings
from pathlib import Path

import pytest

from tests.chaos.__main__ import broken
from tests.chaos.campaign import Campaign, Plan, quiet
from tests.chaos.checks import ChecksFailed
from tests.chaos.input import Load

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]


def test_kills_freezes_a_restarted_broker_and_a_full_disk_change_no_number(tmp_path: Path) -> None:
    plan = Plan(
        Load(20_000, seed=3),
        kills=10,
        freezes=1,
        broker_restarts=1,
        most_workers=2,
        seconds_between_faults=2.0,
        disk_mb=600,
        drain_seconds=240,
    )
    campaign = Campaign(tmp_path, plan, quiet)
    accounts = campaign.run()
    done = campaign.done
    if done.left_out:
        warnings.warn(f"left out: {done.left_out}", stacklevel=1)
    assert (done.kills, done.freezes, done.broker_restarts) == (10, 1, 1)
    assert done.disk_full == (0 if done.left_out else 1)
    assert accounts.sent == 20_000
    assert min(accounts.metered, accounts.duplicates, accounts.refused, accounts.day_closes) > 0


def test_a_watermark_before_its_records_is_found_out(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, broken(seed=3), quiet)
    with pytest.raises(ChecksFailed, match="report of"):
        campaign.run()
    assert list(tmp_path.glob("death-*")), "the worker never died between the two steps"
