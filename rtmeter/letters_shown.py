"""Dead letters as an operator sees them: in a table, as JSON, or one with everything about it."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from billing.dead_letters import Letter, LetterState
from billing.dismissals import Dismissal
from billing.letter_chain import Redrive, RedriveOutcome
from billing.refusal_help import HELP
from rtmeter.pointed_json import pointed, printable
from schemas.dead_letters import DeadLetter, headers_of
from schemas.instants import day_text, time_text

_WIDTH_OF_PIPES = 240
_DETAIL_CHARACTERS = 60
#: Of bytes longer than this only the beginning is shown, as text.
_MOST_BYTES_SHOWN = 65_536
_BEGINNING_BYTES = 2_000
_OUTCOMES = {
    RedriveOutcome.TAKEN: "accepted",
    RedriveOutcome.REFUSED: "refused: it is a dead letter itself",
    RedriveOutcome.WAITING: "not judged yet",
}
_STATES = {
    LetterState.OPEN: "open: somebody has to act",
    LetterState.WAITING: "waiting: a copy was sent and is not judged yet; it counts as open",
    LetterState.REDRIVEN: "redriven: a copy of it was accepted",
    LetterState.REFUSED_AGAIN: "refused again: the letter that came of its copy is the one to work on",
    LetterState.DISMISSED: "dismissed",
}


def wide_console() -> Console:
    """Standard output; where it is no terminal, wide enough that no line is broken."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_OF_PIPES)


def letters_table(letters: Iterable[Letter]) -> Table:
    """One row for each letter."""
    table = Table(
        *["id", "reason", "detail", "partner", "customer", "event time", "arrived", "state"], title="dead letters"
    )
    for letter in letters:
        cells = [
            str(letter.origin),
            letter.reason,
            _shortened(printable(letter.detail)),
            printable(letter.partner_id) or "unknown",
            printable(letter.customer_id) or "unknown",
            _time(letter.time_ms),
            _time(letter.append_time_ms),
            letter.state,
        ]
        table.add_row(*map(Text, cells))
    return table


def letter_json(letter: Letter) -> bytes:
    """One letter as a line of JSON; null where its bytes do not tell."""
    shown: dict[str, Any] = {
        "id": str(letter.origin),
        "reason": letter.reason,
        "detail": letter.detail,
        "partnerOrgId": letter.partner_id or None,
        "customerOrgId": letter.customer_id or None,
        "time": None if letter.time_ms is None else _time(letter.time_ms),
        "day": day_text(letter.day),
        "arrived": time_text(letter.append_time_ms),
        "state": letter.state,
    }
    return orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)


def letter_in_full(
    letter: Letter, whole: DeadLetter, dismissal: Dismissal | None, chain: list[Redrive]
) -> Iterator[str]:
    """Everything about one letter, in lines."""
    yield f"{letter.origin}: {letter.reason}"
    yield f"  {printable(letter.detail)}"
    yield f"  state     {_STATES[letter.state]}"
    if dismissal is not None:
        yield f"            by {printable(dismissal.dismissed_by)}, {time_text(dismissal.dismissed_ms)}: {printable(dismissal.reason)}"
    yield f"  partner   {printable(letter.partner_id) or 'unknown'}"
    yield f"  customer  {printable(letter.customer_id) or 'unknown'}"
    yield f"  holds from {_time(letter.time_ms)}, missed by reports from {day_text(letter.day)} on"
    yield f"  arrived   {time_text(letter.append_time_ms)}"
    told = HELP.get(letter.reason)
    if told is not None:
        yield from (
            "",
            "what it means",
            f"  {told.meaning}",
            "who must act",
            f"  {told.who}",
            "what to do",
            f"  {told.what}",
        )
    yield from ("", "redriven")
    if not chain:
        yield "  never"
    for redrive in chain:
        yield f"  {redrive.original} -> {redrive.copy}, {time_text(redrive.sent_ms)}, {_OUTCOMES[redrive.outcome]}"
    yield from ("", "headers")
    for name, content in headers_of(whole):
        yield f"  {name}: {printable(content.decode('utf-8', 'backslashreplace'))}"
    yield f"  key: {'none' if whole.key is None else printable(whole.key.decode('utf-8', 'backslashreplace'))}"
    size = len(whole.value or b"")
    yield from ("", f"value, {size} bytes" if whole.value is not None else "no value")
    if whole.value is None:
        return
    if size > _MOST_BYTES_SHOWN:
        yield f"  {printable(whole.value[:_BEGINNING_BYTES].decode('utf-8', 'backslashreplace'))}"
        yield f"  ... and {size - _BEGINNING_BYTES} bytes more: --raw writes all"
        return
    for line in pointed(whole.value, letter.reason, letter.detail):
        yield f"  {line}"


def _time(time_ms: int | None) -> str:
    if time_ms is None:
        return "unknown"
    try:
        return time_text(time_ms)
    except (ValueError, OverflowError):  # a time that no calendar of ours reaches
        return f"{time_ms} ms"


def _shortened(detail: str) -> str:
    return detail if len(detail) <= _DETAIL_CHARACTERS else detail[: _DETAIL_CHARACTERS - 1] + "…"
