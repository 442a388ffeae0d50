"""The short form of `make close-drill`, and that each of its checks can fail."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.billing.closing.drill import register
from tests.billing.closing.drill.campaign import Campaign, DrillFailed
from tests.billing.closing.drill.register import invoices_of, opened
from tests.billing.closing.drill.world import MONTHS, Size

pytestmark = pytest.mark.timeout(900)
_KILLS = 2


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """A drill that has come to its end; its store still answers. `before-last.db`: the register before the last close."""
    folder = tmp_path_factory.mktemp("drill")
    campaign = Campaign(folder, Size(2_000, 12, seed=1), _KILLS, lambda _: None, partitions=3)
    with campaign.store() as store:
        last = len(MONTHS) - 1
        for stage in range(last):
            campaign.prepare(store, stage)
            campaign.close(stage)
        campaign.prepare(store, last)
        _copy(campaign.register, folder / "before-last.db")
        campaign.close(last)
        yield campaign


@pytest.fixture
def spoilt(drilled: Campaign, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The register put in place of the true one for a test, with nothing that refuses a change."""
    true = tmp_path / "true.db"
    _copy(drilled.register, true)
    with opened(drilled.register) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in names:
            connection.execute(f"DROP TRIGGER {name}")
        connection.commit()
        yield connection
    _copy(true, drilled.register)


def _copy(register: Path, to: Path) -> None:
    with opened(register) as one, opened(to) as other:
        one.backup(other)


def test_months_closed_under_kills_are_the_oracles_and_every_hash_is_reproduced(drilled: Campaign) -> None:
    invoices = drilled.check()
    drilled.verify()
    done, partners = drilled.done, len(drilled.world.partners)
    assert len(invoices) == done.verified == partners * len(MONTHS)
    kills = [count for counts in done.kills.values() for count in counts]
    # One kill of each month is while it reads; of the others some must have come between two invoices.
    assert len(kills) >= len(MONTHS) and any(0 < count < partners for count in kills), done.kills
    corrections = [line for invoice in invoices for line in invoice.lines if line.corrects is not None]
    assert {line.key.month for line in corrections} == set(MONTHS[:-1])
    assert any(line.quantity_microdays < 0 for line in corrections)
    assert any(line.quantity_microdays > 0 for line in corrections)
    assert any(line.residue_minor for line in corrections)
    assert done.approvals and any(invoice.waiting for invoice in invoices)
    assert {line.currency for invoice in invoices for line in invoice.lines} == {"USD", "EUR", "JPY", "BHD"}
    assert {line.kind for invoice in invoices for line in invoice.lines} == {"package", "addon", "one-time"}


def test_one_wrong_microday_is_found_out(drilled: Campaign, spoilt: sqlite3.Connection) -> None:
    """Also by who trusts the hash: it is made anew."""
    _change(spoilt, "quantity_microdays = quantity_microdays + 1")
    with pytest.raises(DrillFailed, match="microdays on all invoices") as failed:
        drilled.check()
    assert any("which the oracle has not" in one for one in failed.value.differences)
    assert not any("hashed" in one for one in failed.value.differences)
    with pytest.raises(DrillFailed, match="DIFFERS: line"):
        drilled.verify()


def test_one_wrong_cent_is_found_out(drilled: Campaign, spoilt: sqlite3.Connection) -> None:
    _change(spoilt, "amount_minor = amount_minor + 1")
    with pytest.raises(DrillFailed, match="minor units on all invoices"):
        drilled.check()


def test_a_cent_that_moves_from_one_invoice_to_another_is_found_out(
    drilled: Campaign, spoilt: sqlite3.Connection
) -> None:
    """The sums are right: it takes the check of the lines."""
    original, correction = spoilt.execute(_CORRECTED).fetchone()
    for sign, line in (("-", original), ("+", correction)):
        spoilt.execute(f"UPDATE invoice_lines SET amount_minor = amount_minor {sign} 1 WHERE rowid = {line}")
    _hash_anew(spoilt)
    with pytest.raises(DrillFailed) as failed:
        drilled.check()
    assert all("which the oracle has" in one for one in failed.value.differences), failed.value


def test_a_line_that_is_lost_is_found_out(drilled: Campaign, spoilt: sqlite3.Connection) -> None:
    """As a close would leave it that is killed between two transactions, if it had two."""
    spoilt.execute("DELETE FROM invoice_lines WHERE rowid = (SELECT max(rowid) FROM invoice_lines)")
    spoilt.commit()
    with pytest.raises(DrillFailed, match="its lines are not those that were hashed"):
        drilled.check()


def test_corrections_that_are_issued_twice_are_found_out(drilled: Campaign, spoilt: sqlite3.Connection) -> None:
    """By a close that forgets them: all that it makes is whole, and its gates see nothing."""
    _copy(drilled.register.with_name("before-last.db"), drilled.register)
    drilled.close_to_the_end(MONTHS[-1], "tests.billing.closing.drill.broken_close")
    assert all(invoice.whole for invoice in invoices_of(drilled.register))
    with pytest.raises(DrillFailed, match="microdays on all invoices") as failed:
        drilled.check()
    assert any(f"invoice {len(MONTHS)}, " in one and "has not" in one for one in failed.value.differences)


_CORRECTED = """
SELECT original.rowid, correction.rowid FROM invoice_lines AS original JOIN invoice_lines AS correction
USING (partner_id, first_day, owner_id, subscription_id, service)
WHERE original.corrects IS NULL AND correction.corrects IS NOT NULL LIMIT 1
"""


def _change(connection: sqlite3.Connection, assignment: str) -> None:
    """Change one line of the largest, and make the hashes fit."""
    connection.execute(
        f"UPDATE invoice_lines SET {assignment} WHERE rowid ="
        " (SELECT rowid FROM invoice_lines WHERE corrects IS NULL ORDER BY quantity_microdays DESC LIMIT 1)"
    )
    _hash_anew(connection)


def _hash_anew(connection: sqlite3.Connection) -> None:
    """What somebody would do who owns the database and does not want to be found out."""
    for head in connection.execute("SELECT * FROM invoices").fetchall():
        which = head["partner_id"], head["number"]
        sha256 = register.sha256_of(connection, *which)
        manifest = {**json.loads(head["manifest"]), "sha256": sha256}
        connection.execute(
            "UPDATE invoices SET sha256 = ?, manifest = ? WHERE partner_id = ? AND number = ?",
            (sha256, json.dumps(manifest), *which),
        )
    connection.commit()
