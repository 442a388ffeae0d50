"""Dead letters that people have decided to leave: which, why, who, when. A dismissal is said once and never changed."""

from collections.abc import Callable

from msgspec import Struct
from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from billing.relational.connect import writing
from billing.relational.schema import dismissals
from schemas.dead_letters import Origin


class Dismissal(Struct, frozen=True):
    """A person's decision that a letter needs nothing more."""

    letter: Origin
    reason: str
    dismissed_by: str
    dismissed_ms: int


class AlreadyDismissed(Exception):
    """The letter was dismissed before; that stands."""

    def __init__(self, dismissal: Dismissal) -> None:
        super().__init__(f"{dismissal.letter} was dismissed by {dismissal.dismissed_by}: {dismissal.reason}")
        self.dismissal = dismissal


class Dismissals:
    """The register of dismissals. Safe for any number of threads and processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def dismiss(self, letter: Origin, reason: str, by: str, now_ms: int) -> Dismissal:
        """Dismiss a letter. AlreadyDismissed if it was; ValueError without a reason or a person."""
        if not reason.strip() or not by.strip():
            raise ValueError("a dismissal says why, and who decided it")
        made = Dismissal(letter, reason.strip(), by.strip(), now_ms)
        row = {
            "topic": letter.topic,
            "partition": letter.partition,
            "offset": letter.offset,
            "reason": made.reason,
            "dismissed_by": made.dismissed_by,
            "dismissed_ms": now_ms,
        }
        try:
            with writing(self._engine) as connection:
                connection.execute(insert(dismissals).values(row))
        except IntegrityError:
            found = self.of(letter)
            if found is None:
                raise
            raise AlreadyDismissed(found) from None
        return made

    def of(self, letter: Origin) -> Dismissal | None:
        """The dismissal of a letter, if it was dismissed."""
        where = (
            dismissals.c.topic == letter.topic,
            dismissals.c.partition == letter.partition,
            dismissals.c.offset == letter.offset,
        )
        with self._engine.connect() as connection:
            row = connection.execute(select(dismissals).where(*where)).one_or_none()
        return None if row is None else Dismissal(letter, row.reason, row.dismissed_by, row.dismissed_ms)

    def letters(self) -> list[Origin]:
        """Every letter that was dismissed. As many as people have decided on: they fit into memory and into a query."""
        columns = (dismissals.c.topic, dismissals.c.partition, dismissals.c.offset)
        with self._engine.connect() as connection:
            return [Origin(*row) for row in connection.execute(select(*columns))]


#: The letters that were dismissed, as of now: what counting open ones asks.
Dismissed = Callable[[], list[Origin]]


def none_dismissed() -> list[Origin]:
    """For an installation that has no register of dismissals yet."""
    return []
