"""The register of invoices as it lies on the disk: read by SQL alone, and hashed as docs/closing.md says."""

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.billing.closing.drill.oracle import Key
from tests.billing.closing.drill.world import CURRENCIES

_EPOCH = date(1970, 1, 1)
_LINE = """
SELECT line, first_day, last_day, corrects, owner_id, subscription_id, service, quantity_microdays, kind, unit_price,
       currency, sku, description, price_version, amount_minor, residue_minor, unpriced
FROM invoice_lines WHERE partner_id = ? AND number = ? ORDER BY line
"""


@dataclass(frozen=True)
class Line:
    """One line; `key` has the month that it is about."""

    key: Key
    corrects: int | None
    quantity_microdays: int
    kind: str | None
    unit_price: str | None
    currency: str | None
    sku: str | None
    description: str | None
    amount_minor: int | None
    residue_minor: int


@dataclass(frozen=True)
class Invoice:
    """`whole`: all lines are there that were counted, and give the hash, and the manifest has the same one."""

    partner: str
    number: int
    month: str
    lines: tuple[Line, ...]
    sha256: str
    waiting: frozenset[str]
    whole: bool


@contextlib.contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """The register, closed at the end of the block (a connection's own `with` only ends its transaction)."""
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def invoices_of(file: Path) -> list[Invoice]:
    """All invoices, by partner and number."""
    with opened(file) as connection:
        heads = connection.execute("SELECT * FROM invoices ORDER BY partner_id, number").fetchall()
        return [_invoice(head, _rows(connection, head["partner_id"], head["number"])) for head in heads]


def sha256_of(connection: sqlite3.Connection, partner: str, number: int) -> str:
    """The hash of an invoice's lines as they stand there."""
    return _sha256(_rows(connection, partner, number))


def closed_count(connection: sqlite3.Connection, month: str) -> int:
    """How many invoices of a month there are by now; 0 while there is no register."""
    try:
        (count,) = connection.execute("SELECT count(*) FROM invoices WHERE first_day = ?", (_day(month),)).fetchone()
    except sqlite3.OperationalError:
        return 0
    return int(count)


def _day(month: str) -> int:
    return (date.fromisoformat(f"{month}-01") - _EPOCH).days


def _invoice(head: sqlite3.Row, rows: list[sqlite3.Row]) -> Invoice:
    manifest = json.loads(head["manifest"])
    sha256 = _sha256(rows)
    return Invoice(
        head["partner_id"],
        head["number"],
        _text(head["first_day"])[:7],
        tuple(_line(head["partner_id"], row) for row in rows),
        head["sha256"],
        frozenset(_text(waiting["period"]["first_day"])[:7] for waiting in manifest["waiting"]),
        len(rows) == head["line_count"] and sha256 == head["sha256"] == manifest["sha256"],
    )


def _rows(connection: sqlite3.Connection, partner: str, number: int) -> list[sqlite3.Row]:
    return connection.execute(_LINE, (partner, number)).fetchall()


def _sha256(rows: list[sqlite3.Row]) -> str:
    return hashlib.sha256(b"".join(_hashed(row) for row in rows)).hexdigest()


def _line(partner: str, row: sqlite3.Row) -> Line:
    key = Key(partner, _text(row["first_day"])[:7], row["owner_id"], row["subscription_id"], row["service"])
    cells = [row[name] for name in Line.__dataclass_fields__ if name != "key"]
    return Line(key, *cells)


def _hashed(row: sqlite3.Row) -> bytes:
    """docs/closing.md, "Years later": what is hashed of a line."""
    first, last = row["first_day"], row["last_day"]
    cells: list[Any] = [row["line"], _text(first), _text(last), row["corrects"]]
    cells += [row["owner_id"], row["subscription_id"], row["service"], row["quantity_microdays"], last - first + 1]
    if row["kind"] is not None:
        cells += [row[name] for name in ("kind", "unit_price", "currency", "sku", "description", "price_version")]
        cells += [_money(row[name], row["currency"]) for name in ("amount_minor", "residue_minor")]
    cells.append(row["unpriced"])
    return json.dumps(cells, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _money(minor: int, currency: str) -> str:
    digits = CURRENCIES[currency]
    sign, figures = "-" if minor < 0 else "", str(abs(minor)).rjust(digits + 1, "0")
    return sign + (f"{figures[:-digits]}.{figures[-digits:]}" if digits else figures)


def _text(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).isoformat()
