"""The command that answers why a quantity is what it is."""

import sys
from enum import StrEnum
from typing import Annotated, Optional

import msgspec
import typer
from rich.console import Console

from billing.audit.explain import explain as explain_from_store
from billing.audit.explanation import NotFound
from billing.audit.question import Question
from billing.audit.raw_events import NOW, AsOf
from rtmeter import options
from rtmeter.exit_codes import ExitCode
from rtmeter.explain_page import show
from rtmeter.installation import Installation
from rtmeter.output import say
from schemas.instants import day_of_ms
from sinks.store import open_for_reading


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


def explain(
    partner: Annotated[
        str, typer.Option(help="The org that owns the customer: a partner or sub-partner.", metavar="ORG")
    ],
    customer: Annotated[str, typer.Option(help="The customer's org id.", metavar="ORG")],
    subscriber: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="The subscriber. Without it: the customer, its subscribers and orders.", metavar="ID"),
    ] = None,
    day: Annotated[Optional[str], typer.Option(help="The day, YYYY-MM-DD.", metavar="DAY")] = None,  # noqa: UP045
    month: Annotated[Optional[str], typer.Option(help="Or the month, YYYY-MM.", metavar="MONTH")] = None,  # noqa: UP045
    as_of: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="What was known then: an RFC 3339 time of arrival, or an offset in the customer's partition, which is the first "
            "one not known. Default: all that is stored.",
            metavar="CUT|TIME",
        ),
    ] = None,
    output_format: Annotated[Format, typer.Option("--format", help="For people, or for programs.")] = Format.TEXT,
    every_record: Annotated[bool, typer.Option("--all", help="Tell every record, of other days too.")] = False,
    data_dir: options.DataDir = options.DEFAULT_DATA_DIR,
    clickhouse_dsn: options.StoreDsn = None,
    topic_prefix: options.TopicPrefix = "",
) -> None:
    """Say why a quantity is what it is, from the raw events: each fact and what it did, each interval, the arithmetic.

    Exit code 1: the tables disagree with the raw events, or there is no such customer or subscriber.

    Example: rtmeter explain --partner acme --customer bakery --subscriber s-1 --month 2026-10
    """
    first_day, last_day = _days(day, month)
    installation = Installation(data_dir, None, topic_prefix, clickhouse_dsn)
    question = Question(
        partner,
        customer,
        subscriber,
        first_day,
        last_day,
        _as_of(as_of),
        as_of_text=as_of,
        every_record=every_record,
        today=day_of_ms(options.now_ms()),
    )
    store = open_for_reading(clickhouse_dsn, installation.store_folder)
    try:
        explained = explain_from_store(store, installation.names, question)
    except NotFound as not_found:
        for sentence in (str(not_found), *not_found.near):
            say(f"rtmeter: {sentence}")
        raise typer.Exit(ExitCode.REFUSALS) from None
    finally:
        store.close()
    if output_format is Format.JSON:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(explained)) + b"\n")
        sys.stdout.buffer.flush()
    else:
        show(explained, Console(highlight=False, emoji=False))
    raise typer.Exit(ExitCode.REFUSALS if explained.disagrees else ExitCode.DONE)


def _days(day: str | None, month: str | None) -> tuple[int, int]:
    """The first and last day that are meant; a usage error unless just one of the two is given."""
    if (day is None) is (month is None):
        raise typer.BadParameter("give just one of --day and --month", param_hint="--day")
    if day is not None:
        wanted = options.day_option(day, "--day")
        return wanted, wanted
    assert month is not None
    period = options.month_option(month)
    return period.first_day, period.last_day


def _as_of(text: str | None) -> AsOf:
    if text is None:
        return NOW
    if text.isascii() and text.isdigit():
        return AsOf(before_offset=min(int(text), NOW.before_offset))
    return AsOf(until_ms=options.time_option(text, "--as-of"))
