"""Faults on the line between the driver and the server: nothing is lost, doubled or wrong, and nothing hangs."""

import os
import random
from pathlib import Path

import pytest

from tests.network.campaign import Campaign, by_kind
from tests.network.fault_proxy import Fault
from tests.oracle.random_month import random_month

#: These cost the client's time-out each.
SLOW = (Fault.STALLED, Fault.HALF_OPEN, Fault.SLOW)
FAULTS = int(os.environ.get("RTMETER_NETWORK_FAULTS", "120"))
#: For a machine that is busy: what must not happen is a call that hangs.
SLACK_SECONDS = 10.0


def counts(total: int) -> dict[Fault, int]:
    """Some of each kind, fewer of those that take long."""
    each_slow = max(5, total // 25)
    others = [fault for fault in Fault if fault not in SLOW]
    rest = total - len(SLOW) * each_slow
    found = dict.fromkeys(SLOW, each_slow)
    found.update({fault: rest // len(others) + (n < rest % len(others)) for n, fault in enumerate(others)})
    return found


@pytest.mark.timeout(3600)
def test_faults_lose_double_and_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, events = random_month(random.Random(2026), customers=5, events=60)
    lines = [*catalog, *(line for line in events if line and b"\n" not in line)]
    outcome = Campaign(tmp_path / "server", lines, counts(FAULTS), seed=FAULTS).run(monkeypatch)
    print(
        f"\n{outcome.dealt.total()} faults on {outcome.calls.total()} calls, {outcome.failed.total()} of which failed;"
    )
    print(f"{outcome.months} months with {outcome.rows} rows, each equal to the one without faults")
    for kind, count in by_kind(outcome.dealt).items():
        print(f"  {count:5} {kind}")
    for call, (seconds, timeout) in outcome.longest.items():
        print(
            f"  longest {call}: {seconds:.2f} s of {timeout} s ({outcome.calls[call]}, {outcome.failed[call]} failed)"
        )
        assert seconds < timeout + SLACK_SECONDS
    assert outcome.dealt == counts(FAULTS)
    assert outcome.dealt.total() == FAULTS
    assert min(outcome.dealt.values()) >= 5
    assert min(outcome.failed[call] for call in ("insert", "query")) > 0
