"""The pipeline with a ClickHouse behind HTTP, and a line to it on which things go wrong: the bytes of the files."""

import contextlib
import random
from pathlib import Path

import pytest

from billing.export import export_csv
from rtmeter.options import now_ms
from sinks.store import Store
from tests.network.clickhouse_http import clickhouse
from tests.network.fault_proxy import Deck, Fault, FaultProxy
from tests.oracle.random_month import random_month
from tests.pipeline.harness import Installation, expected_reports

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

#: Those that do not cost a time-out of minutes.
QUICK = [fault for fault in Fault if fault not in {Fault.STALLED, Fault.HALF_OPEN, Fault.SLOW}]
TRIES = 10


def test_reports_through_a_faulty_line_to_a_server_equal_those_of_the_files(tmp_path: Path) -> None:
    catalog, events = random_month(random.Random(41), customers=15, events=1_000)
    lines = [*catalog, *(line for line in events if line and b"\n" not in line)]
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(lines) + b"\n")
    deck = Deck(dict.fromkeys(QUICK, 10), seed=41)
    deck.share = 0.15
    with clickhouse(tmp_path / "server") as port, FaultProxy(port, deck, 60) as proxy:
        faulty = Installation(tmp_path / "data", {"RTMETER_CLICKHOUSE_DSN": f"http://127.0.0.1:{proxy.port}"})
        faulty.run("emit", "--raw", str(file))
        faulty.drain()
        faulty.run("close-day", "--through", "2026-11-14")
        faulty.drain()
        dealt = deck.dealt.copy()
        expected = expected_reports(lines, now_ms())
        with Store(f"http://127.0.0.1:{port}") as store:
            assert {request: b"".join(export_csv(store, request)) for request in expected} == expected
        request = max(expected, key=lambda request: len(expected[request]))
        written = []
        for _ in range(TRIES):
            with contextlib.suppress(AssertionError):  # it failed, and said so with its exit code
                written.append(faulty.report(request))
    assert len(dealt) > 3, dealt
    assert set(written) == {expected[request]}
