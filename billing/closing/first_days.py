"""The register of the first days of partners' periods: choices are added, never changed."""

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, insert, select, text

from billing.closing.period import Period, period_of
from billing.closing.schedule import FirstDay, scheduled_period, unkept
from billing.relational.connect import writing
from billing.relational.schema import invoices, period_first_days

#: Any number: with a partner's it names the lock.
_LOCK = 726_411


class PeriodClosed(Exception):
    """A choice would change a period that is closed."""


class FirstDays:
    """The register. Safe for any number of threads and processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def of_partner(self, partner_id: str) -> list[FirstDay]:
        """A partner's choices, in the order in which they were made."""
        return self.of_partners([partner_id])[partner_id]

    def of_partners(self, partner_ids: Sequence[str]) -> dict[str, list[FirstDay]]:
        """The same of each of some partners."""
        with self._engine.connect() as connection:
            return _choices(connection, partner_ids)

    def choose(self, partner_id: str, from_month: str, first_day: int, by: str, now_ms: int) -> FirstDay:
        """Let a partner's periods begin on another day from a month on.

        PeriodClosed if a closed one would change; ValueError for what is no month or no day from 1 to 28.
        """
        period_of(from_month, first_day)
        if not by.strip():
            raise ValueError("a choice says who made it")
        choice = FirstDay(from_month, first_day, by.strip(), now_ms)
        with writing(self._engine) as connection:
            lock_schedule(connection, partner_id)
            made = _choices(connection, [partner_id])[partner_id]
            rows = connection.execute(
                select(invoices.c.first_day, invoices.c.last_day).where(invoices.c.partner_id == partner_id)
            )
            changed = unkept([*made, choice], [Period(*row) for row in rows])
            if changed:
                raise PeriodClosed(
                    f"the period {max(changed)} of {partner_id} is closed and would change: choose a later month"
                )
            row = {
                "partner_id": partner_id,
                "number": len(made) + 1,
                "from_month": from_month,
                "first_day": first_day,
                "decided_by": choice.decided_by,
                "decided_ms": now_ms,
            }
            connection.execute(insert(period_first_days).values(row))
        return choice


def lock_schedule(connection: Connection, partner_id: str) -> None:
    """Until the transaction ends, nobody else closes a period of the partner, or moves one."""
    # On SQLite there is one writer anyway.
    if connection.dialect.name == "postgresql":
        connection.execute(
            text("SELECT pg_advisory_xact_lock(:lock, hashtext(:partner))"), {"lock": _LOCK, "partner": partner_id}
        )


def is_scheduled(connection: Connection, partner_id: str, period: Period) -> bool:
    """Whether a period is one of the partner's, in this transaction."""
    return scheduled_period(_choices(connection, [partner_id])[partner_id], period.month) == period


def _choices(connection: Connection, partner_ids: Sequence[str]) -> dict[str, list[FirstDay]]:
    found: dict[str, list[FirstDay]] = {partner_id: [] for partner_id in partner_ids}
    wanted = select(period_first_days).where(period_first_days.c.partner_id.in_(partner_ids))
    for row in connection.execute(wanted.order_by(period_first_days.c.number)):
        found[row.partner_id].append(FirstDay(row.from_month, row.first_day, row.decided_by, row.decided_ms))
    return found
