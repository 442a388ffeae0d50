"""The reports of the month over HTTP are those of the embedded store, byte for byte."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from billing.export import export_csv
from billing.report import ReportRequest, ReportType
from schemas.instants import day_number
from sinks.migrations import Placement, migrate
from sinks.store import Store
from tests.month import MONTH
from tests.network.clickhouse_http import clickhouse
from tests.store_process import blocks_of

FIRST, LAST = day_number("2026-10-01"), day_number("2026-10-31")
EXPECTED = sorted((MONTH / "expected").iterdir())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    lines = [line for name in ("catalog", "events") for line in (MONTH / f"{name}.jsonl").read_bytes().splitlines()]
    with (
        clickhouse(tmp_path_factory.mktemp("clickhouse") / "server") as port,
        Store(f"http://127.0.0.1:{port}") as store,
    ):
        assert migrate(store, Placement())
        assert migrate(store, Placement()) == []
        for block in blocks_of(lines):
            store.insert(block.table, block.names, block.columns)
        yield store


@pytest.mark.parametrize("file", EXPECTED, ids=lambda file: file.stem)
def test_the_reports_of_the_month_come_out_byte_for_byte_over_http(store: Store, file: Path) -> None:
    report_type, _, of = file.stem.partition("-")
    partner, _, sub_partner = of.partition("_")
    request = ReportRequest(ReportType(report_type), partner, sub_partner or None, FIRST, LAST)
    assert b"".join(export_csv(store, request)) == file.read_bytes()


def test_parameters_are_as_they_are_whatever_is_in_them(store: Store) -> None:
    nasty = ["", "'", '"', "\\", "\\N", "\t", "\r\n", "\n--", "{x:String}", "ä€𐍈", "\x00", "a\x00b", "%00", "&query=", "x" * 100_000]  # fmt: skip
    for text in nasty:
        assert store.query("SELECT {text:String}", {"text": text}) == [(text,)]
    assert store.query("SELECT {texts:Array(String)}", {"texts": nasty}) == [(nasty,)]


def test_bytes_are_as_they_are(store: Store) -> None:
    value = bytes(range(256)) * 3
    store.insert(
        "raw_events",
        ["topic", "partition", "offset", "append_time", "key", "value"],
        [["t"], [1], [1], [0], [None], [value]],
    )
    (block,) = store.stream_binary("SELECT key, value FROM raw_events FINAL WHERE topic = 't'")
    assert block == [(None, value)]


def test_a_block_of_many_megabytes_is_stored_whole(store: Store) -> None:
    values = [b"%d" % n * 100 for n in range(60_000)]
    count = len(values)
    store.insert(
        "raw_events",
        ["topic", "partition", "offset", "append_time", "key", "value"],
        [["large"] * count, [0] * count, list(range(count)), [0] * count, [b"k"] * count, values],
    )
    found = [row[0] for block in store.stream_binary("SELECT value FROM raw_events FINAL WHERE topic = 'large' ORDER BY offset") for row in block]  # fmt: skip
    assert found == values
