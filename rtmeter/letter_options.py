"""What the commands for dead letters share: options, and finding the letters that are meant."""

from typing import Annotated, Optional

import typer

from billing.dead_letters import Letter, LetterFilter, LetterState, find_whole_letters
from billing.letter_chain import chain_of, newest_letters
from schemas.dead_letters import DeadLetter, Origin, origin_of
from schemas.instants import MS_PER_DAY, day_number, parse_time_ms
from schemas.reasons import Reason
from sinks.store import ReadableStore

ReasonOption = Annotated[Optional[Reason], typer.Option("--reason", help="Only of this reason.")]  # noqa: UP045
PartnerOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Only of this org; '' for those whose bytes name none.", metavar="ORG"),
]
CustomerOption = Annotated[Optional[str], typer.Option(help="Only of this customer.", metavar="ORG")]  # noqa: UP045
Since = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(help="Only what arrived at this time or later: a day, or RFC 3339.", metavar="TIME"),
]
Until = Annotated[Optional[str], typer.Option(help="Only what arrived before this time.", metavar="TIME")]  # noqa: UP045
Ids = Annotated[list[str], typer.Argument(help="Letters, topic/partition/offset, as list names them.", metavar="ID...")]


def letter_filter(
    reason: Reason | None,
    partner: str | None,
    customer: str | None,
    since: str | None,
    until: str | None,
    *,
    only_open: bool,
) -> LetterFilter:
    """The filter of the options; a usage error for a time that is none."""
    return LetterFilter(
        reason=reason,
        partner_id=partner,
        customer_id=customer,
        since_ms=_time(since, "--since"),
        until_ms=_time(until, "--until"),
        only_open=only_open,
    )


def _time(text: str | None, name: str) -> int | None:
    """Milliseconds since the epoch of a time, or of the beginning of a day."""
    if text is None:
        return None
    try:
        return day_number(text) * MS_PER_DAY if len(text) == len("YYYY-MM-DD") else parse_time_ms(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=name) from None


def found_letter(store: ReadableStore, origin: Origin, dismissed: list[Origin]) -> tuple[Letter, DeadLetter] | None:
    """A letter and its bytes; None if there is none."""
    return next(find_whole_letters(store, LetterFilter(origin=origin, only_open=False), dismissed), None)


def whole_letter(store: ReadableStore, origin: Origin, dismissed: list[Origin]) -> tuple[Letter, DeadLetter]:
    """A letter and its bytes; a usage error if there is none."""
    found = found_letter(store, origin, dismissed)
    if found is None:
        raise typer.BadParameter(f"there is no dead letter {origin}", param_hint="ID")
    return found


def letter_origin(text: str) -> Origin:
    """The origin that an argument names; a usage error if it names none."""
    try:
        return origin_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ID") from None


def why_closed(store: ReadableStore, letter: Letter) -> str | None:
    """Why nothing is to be done about a letter; None if it is open."""
    if letter.state is LetterState.REDRIVEN:
        return "it was redriven, and its copy was accepted"
    if letter.state is LetterState.DISMISSED:
        return "it was dismissed"
    if letter.state is LetterState.REFUSED_AGAIN:
        newest = ", ".join(map(str, newest_letters(chain_of(store, letter.origin))))
        return f"its copy was refused as well: look at {newest}"
    return None
