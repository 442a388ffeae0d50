"""The CSV out of the store: the engine's lines are Python's, and the month's reports come out byte for byte."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.csv_lines import csv_lines, header
from billing.export import export_csv, report_notes
from billing.queries import Query
from billing.report import NotAChild, ReportRequest, ReportType, UsageRow, owners_of, write_csv
from schemas.catalog import CatalogVersion
from schemas.events import PartnerData, ServiceEntry, SubscriptionData
from schemas.instants import day_number
from sinks.store import QueryLimits, QueryTooLarge, ReadableStore, StoreFailed, open_for_reading
from streams.core.catalog import CatalogState
from tests.month import MONTH
from tests.oracle.random_month import random_month
from tests.pipeline.harness import expected_reports, requests
from tests.store_process import RECEIVED_AT_MS, serving

FIRST, LAST = day_number("2026-10-01"), day_number("2026-10-31")
EXPECTED = sorted((MONTH / "expected").iterdir())

#: What CSV, SQL, spreadsheets and UTF-8 trip over.
NASTY = ["", "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n", "＝1", "＋1", "－1", "＠x", ",", '"', '""', '"a"', "a,b", "a\r\nb", "'", "\\", "\\'", "'; DROP TABLE timelines; --", "{owners:Array(String)}", " a", "a ", "ä", "€", "𐍈", "𐍈" * 128, "\x00", "a\x00=b", "\x1f", "\\N", "NULL", "%s", "a\tb", "\u2028", "=", "\ufeff=1"]  # fmt: skip
texts = st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
some_texts = st.sampled_from(["", "a", "ä", "B", "=x", 'q"', ",", "\n"])


def usage_rows(owner_ids: list[str]) -> st.SearchStrategy[UsageRow]:
    return st.builds(
        UsageRow,
        st.sampled_from(owner_ids),
        some_texts,
        some_texts,
        *[texts] * 6,
        st.integers(-30_000, 100_000),
        st.integers(-30_000, 100_000),
        st.integers(1, 2**63 - 1) | st.sampled_from([1, 10, 999_999, 1_000_000, 31_000_000, 30_500_000]),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[ReportRequest, CatalogState, list[UsageRow]]:
    """A report's rows in its order, and a catalog that knows some of their services."""
    owner_ids = draw(st.lists(texts.filter(bool), min_size=1, max_size=3, unique=True))
    request = ReportRequest(draw(st.sampled_from(ReportType)), owner_ids[0], None, FIRST, LAST)
    catalog = CatalogState()
    for n, owner_id in enumerate(owner_ids):
        parent = None if n == 0 else owner_ids[0]
        partner = PartnerData(
            partner_org_id=owner_id, name=draw(texts), parent_org_id=parent, provisioning_state="active"
        )
        catalog.add(CatalogVersion(0, None, "/s", f"p{n}", n, partner))
    for n, subscription_id in enumerate(draw(st.lists(some_texts, max_size=3, unique=True))):
        services = draw(
            st.lists(
                st.builds(
                    ServiceEntry,
                    service=some_texts,
                    sku=texts,
                    description=texts,
                    kind=st.just("package"),
                    unit_price=st.just("1"),
                ),
                max_size=3,
            )
        )
        entry = SubscriptionData(
            subscription_id=subscription_id, partner_org_id=owner_ids[0], currency="EUR", services=services
        )
        catalog.add(CatalogVersion(0, None, "/s", f"s{n}", 10 + n, entry))
    rows = draw(st.lists(usage_rows(owner_ids), max_size=8, unique_by=lambda row: row.order))
    return request, catalog, sorted(rows, key=lambda row: row.order)


def as_query(rows: list[UsageRow]) -> Query:
    """The rows as the engine gives them, last first."""
    columns = list(
        zip(*[[getattr(row, name) for name in UsageRow.__struct_fields__] for row in reversed(rows)], strict=True)
    )
    names = (
        "owner_id",
        "subscription",
        "service",
        "customer_shown",
        "location_shown",
        "subscriber",
        "external",
        "user",
        "workspace",
    )
    numbers = {"first_used": "Int32", "last_used": "Int32", "total": "Int64"}
    types = {**dict.fromkeys(names, "String"), **numbers}
    arrays = ", ".join(f"{{c_{name}:Array({kind})}} AS c_{name}" for name, kind in types.items())
    joined = ", ".join(f"c_{name} AS {name}" for name in types)
    sql = f"SELECT {', '.join(types)} FROM (SELECT {arrays}) ARRAY JOIN {joined}"
    return Query(sql, {f"c_{name}": list(column) for name, column in zip(types, columns or [()] * 12, strict=True)})


@settings(max_examples=300)
@given(case=cases())
def test_the_engine_writes_the_lines_that_python_writes(
    month_store: ReadableStore, case: tuple[ReportRequest, CatalogState, list[UsageRow]]
) -> None:
    request, catalog, rows = case
    query = csv_lines(as_query(rows), request, owners_of(request, catalog), catalog)
    parameters = {"owners": [owner.org_id for owner in owners_of(request, catalog)], **query.parameters}
    made = header(request.report_type) + b"".join(month_store.stream_text(query.sql, parameters))
    assert made == b"".join(write_csv(request, rows, catalog))


@pytest.mark.parametrize("file", EXPECTED, ids=lambda file: file.stem)
def test_the_reports_of_the_month_come_out_byte_for_byte(month_store: ReadableStore, file: Path) -> None:
    report_type, _, of = file.stem.partition("-")
    partner, _, sub_partner = of.partition("_")
    request = ReportRequest(ReportType(report_type), partner, sub_partner or None, FIRST, LAST)
    assert b"".join(export_csv(month_store, request)) == file.read_bytes()


@pytest.mark.parametrize("seed", [31, 42])
def test_the_reports_of_a_month_full_of_special_customers_are_those_of_its_lines(tmp_path: Path, seed: int) -> None:
    """Customers with a subscription of their own and internal ones, with many rows each."""
    catalog, events = random_month(random.Random(seed), customers=40, events=4000)
    lines = [*catalog, *(line for line in events if line and b"\n" not in line)]
    file = tmp_path / "lines.jsonl"
    file.write_bytes(b"\n".join(lines))
    with serving(tmp_path, [file]):
        store = open_for_reading(None, tmp_path / "store")
        made = {request: b"".join(export_csv(store, request)) for request in requests()}
    assert made == expected_reports(lines, RECEIVED_AT_MS)


def test_a_sub_partner_of_another_is_refused_before_a_byte_is_written(month_store: ReadableStore) -> None:
    with pytest.raises(NotAChild):
        export_csv(month_store, ReportRequest(ReportType.USER, "P-beta", "S-one", FIRST, LAST))


def test_notes_say_what_is_not_closed_and_what_was_refused(month_store: ReadableStore) -> None:
    october = ReportRequest(ReportType.USER, "P-alpha", None, FIRST, LAST)
    assert report_notes(month_store, october) == ["1 events of the partner were refused and are not in the report"]
    assert report_notes(month_store, ReportRequest(ReportType.USER, "S-one", None, FIRST, LAST)) == []
    later = ReportRequest(ReportType.USER, "S-one", None, FIRST, LAST + 1)
    (note,) = report_notes(month_store, later)
    assert note.startswith("1 of 1 partitions have not closed all days through 2026-11-01")


def test_a_query_beyond_its_limits_fails_and_says_so(month_folder: Path) -> None:
    small = open_for_reading(None, month_folder / "store", QueryLimits(seconds=60, memory_bytes=10_000_000))
    with pytest.raises(QueryTooLarge, match=r"(?i)memory"):
        small.query("SELECT groupArray(number) FROM numbers(10000000)")
    short = open_for_reading(None, month_folder / "store", QueryLimits(seconds=1))
    with pytest.raises(QueryTooLarge, match=r"(?i)time"):
        list(short.stream_text("SELECT toString(sum(sipHash64(number))) FROM numbers(100000000000)"))


def test_a_failure_after_the_first_bytes_is_no_short_file(month_store: ReadableStore) -> None:
    pieces = month_store.stream_text(
        "SELECT toString(throwIf(number = 2000000)) FROM numbers(3000000) SETTINGS max_threads = 1"
    )
    with pytest.raises(StoreFailed):
        assert sum(map(len, pieces)) < 0, "all of it came"
