"""An id may hold any character: a choice of it asks for that customer alone, and cannot become SQL."""

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest

from dashboards.__main__ import FOLDER
from dashboards.asking import ask_clickhouse, choices_of
from dashboards.customer import ABOUT, CUSTOMER_PAGE, EVENTS, INTERVALS, QUANTITY
from dashboards.expansion import Selection
from dashboards.parts import Sql
from dashboards.usage import MOVERS, SO_FAR, USAGE
from schemas.instants import parse_time_ms
from sinks.store import ReadableStore, StoreFailed, open_for_reading
from tests.store_process import serving

PARTNER, STRANGER = 'it\'s \\ a "partner"', "another"
CUSTOMERS = ("c\\", "c\\' OR 1=1 --", "c' OR '1'='1", "${partner:raw}", "$__all", "\\'); SELECT 1; --")
USER = FOLDER.parent / "clickhouse-user.sql"
OCTOBER = Selection(parse_time_ms("2026-10-01T00:00:00Z"), parse_time_ms("2026-10-31T23:59:59.999Z"))


def line(number: int, kind: str, customer: str, **data: object) -> bytes:
    event = {
        "specversion": "1.0", "id": str(number), "source": "/s", "type": f"wholesale.{kind}.v1", "time": "2026-10-03T00:00:00Z",
        "data": {"partnerOrgId": PARTNER, "customerOrgId": customer, **data},
    }  # fmt: skip
    return json.dumps(event).encode()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReadableStore]:
    folder = tmp_path_factory.mktemp("ids")
    lines = []
    for number, customer in enumerate(CUSTOMERS):
        for place in range(number + 1):
            ids = {"subscriberId": f"s-{place}", "userId": "u"}
            lines.append(line(10 * number + place, "package.assigned", customer, package="WEBEX_CALLING", **ids))
    (folder / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    with serving(folder, [folder / "events.jsonl"]):
        yield open_for_reading(None, folder / "store")


def hexadecimal(text: str) -> tuple[str]:
    return (text.encode().hex().upper(),)


def test_they_are_offered_as_they_are(store: ReadableStore) -> None:
    partner, customer = CUSTOMER_PAGE.variables
    offered = ask_clickhouse(store, partner.ask, OCTOBER)
    assert offered.rows == [(*hexadecimal(PARTNER), PARTNER)]
    chosen = choices_of(CUSTOMER_PAGE, store, OCTOBER)
    of_partner = ask_clickhouse(store, customer.ask, chosen).rows
    assert {(value, text) for value, text in of_partner} == {(*hexadecimal(one), one) for one in CUSTOMERS}


@pytest.mark.parametrize("number", range(len(CUSTOMERS)), ids=CUSTOMERS)
def test_a_customer_s_panels_are_of_it_alone(store: ReadableStore, number: int) -> None:
    wanted = {"partner": hexadecimal(PARTNER), "customer": hexadecimal(CUSTOMERS[number])}
    chosen = choices_of(CUSTOMER_PAGE, store, OCTOBER, wanted)

    def rows(ask: object) -> list[tuple[object, ...]]:
        assert isinstance(ask, Sql)
        return ask_clickhouse(store, ask, chosen).rows

    about = dict(zip(ABOUT.asks[0].columns, rows(ABOUT.asks[0])[0], strict=True))  # type: ignore[union-attr]
    assert about["active_licences"] == about["subscribers"] == number + 1
    assert len(rows(INTERVALS.asks[0])) == number + 1
    assert len(rows(EVENTS.asks[0])) == number + 1
    assert {Decimal(str(row[-1])) for row in rows(QUANTITY.asks[0])} == {number + 1}


@pytest.mark.parametrize("org_id", [PARTNER, STRANGER])
def test_a_partner_s_usage_is_its_own(store: ReadableStore, org_id: str) -> None:
    chosen = choices_of(USAGE, store, OCTOBER, {"period": ("2026-10",), "partner": hexadecimal(org_id)})
    held = sum(range(1, len(CUSTOMERS) + 1)) if org_id == PARTNER else 0
    ask = SO_FAR.asks[0]
    assert isinstance(ask, Sql)
    assert [row[1] for row in ask_clickhouse(store, ask, chosen).rows] == [held][: bool(held)]
    ask = MOVERS.asks[0]
    assert isinstance(ask, Sql)
    moved = {bytes.fromhex(row[-1]).decode(): row[4] for row in ask_clickhouse(store, ask, chosen).rows}
    assert moved == ({one: number + 1 for number, one in enumerate(CUSTOMERS)} if held else {})


def test_the_engine_can_read_the_statements_that_make_grafana_s_user(store: ReadableStore) -> None:
    script = "\n".join(one for one in USER.read_text().splitlines() if not one.startswith("--"))
    statements = [one for one in script.split(";") if one.strip()]
    assert len(statements) == 3
    for statement in statements:
        assert store.query("SELECT formatQuery({sql:String})", {"sql": statement})
    with pytest.raises(StoreFailed):
        store.query("SELECT formatQuery({sql:String})", {"sql": "CREATE USR x"})
