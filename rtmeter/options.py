"""The options that several commands share, and how their texts become values."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Optional

import typer

from billing.closing.period import Period, period_of
from billing.report import ReportRequest, ReportType
from rtmeter.log_lines import LogFormat
from schemas.instants import day_number, parse_time_ms

DEFAULT_DATA_DIR = Path("rtmeter-data")
DataDir = Annotated[
    Path, typer.Option(envvar="RTMETER_DATA_DIR", help="Folder of the embedded Kafka, the store and the logs.")
]
BootstrapServers = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it
    typer.Option(
        envvar="RTMETER_BOOTSTRAP_SERVERS", help="A Kafka to use, host:port[,...]. Default: the embedded one."
    ),
]
TopicPrefix = Annotated[str, typer.Option(envvar="RTMETER_TOPIC_PREFIX", help="Put before every topic's name.")]
StoreDsn = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--clickhouse-dsn",
        envvar="RTMETER_CLICKHOUSE_DSN",
        help="A ClickHouse server to use, http://user:password@host:8123/database. Default: the embedded store.",
    ),
]
DatabaseUrl = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        envvar="RTMETER_DATABASE_URL",
        help="Where reports are registered, postgresql+psycopg://user:password@host/database. Default: SQLite in the folder.",
    ),
]
ReportsUrl = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        envvar="RTMETER_REPORTS_URL", help="Where report files are kept, s3://bucket/path. Default: in the folder."
    ),
]
ApiPort = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        min=0, max=65535, help="Port of the API; 0: any free one. Default: 8080, or a free one if that is taken."
    ),
]
MetricsPort = Annotated[
    int,
    typer.Option(
        min=0,
        max=65535,
        envvar="RTMETER_METRICS_PORT",
        help="Serve /metrics for Prometheus, /healthz and /readyz on this port; 0: any free one.",
    ),
]
LOOPBACK = "127.0.0.1"
MetricsHost = Annotated[
    str, typer.Option(envvar="RTMETER_METRICS_HOST", help="Address to serve them on; in a container 0.0.0.0.")
]
LogLines = Annotated[
    LogFormat,
    typer.Option("--log-format", envvar="RTMETER_LOG_FORMAT", help="auto: text on a terminal, JSON lines elsewhere."),
]
Files = Annotated[list[Path], typer.Argument(help="JSON Lines of events; - for standard input.", metavar="FILE...")]

Type = Annotated[
    ReportType, typer.Option("--type", help="One row per partner, customer or user and service.", case_sensitive=False)
]
Partner = Annotated[str, typer.Option(help="The partner's org id.", metavar="ORG")]
SubPartner = Annotated[Optional[str], typer.Option(help="Only this sub-partner of the partner.", metavar="ORG")]  # noqa: UP045
Start = Annotated[str, typer.Option(help="First day, YYYY-MM-DD.", metavar="DAY")]
End = Annotated[str, typer.Option(help="Last day, included; before today.", metavar="DAY")]
Internal = Annotated[bool, typer.Option("--internal", help="Internal customers too.")]
Output = Annotated[Optional[Path], typer.Option(help="Write to this file instead of standard output.", metavar="FILE")]  # noqa: UP045

_YEARS = 5


def day_option(text: str, name: str) -> int:
    """Days since the epoch of a day YYYY-MM-DD; a usage error otherwise."""
    try:
        return day_number(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day YYYY-MM-DD", param_hint=name) from None


def time_option(text: str | None, name: str) -> int:
    """Milliseconds since the epoch of an RFC 3339 time, now if None; a usage error otherwise."""
    if text is None:
        return now_ms()
    try:
        return parse_time_ms(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=name) from None


def month_option(month: str) -> Period:
    """The month that `--month` names; a usage error if it is none."""
    try:
        return period_of(month)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--month") from None


def now_ms() -> int:
    """The clock of this machine, in milliseconds since the epoch."""
    return int(datetime.now(UTC).timestamp() * 1000)


def report_request(
    report_type: ReportType,
    partner: str,
    sub_partner: str | None,
    start: str,
    end: str,
    internal: bool,
    *,
    today: int,
    oldest: int | None,
) -> ReportRequest:
    """The request of the options; a usage error for days that are reversed, not over, or before `oldest` (rule 27)."""
    first_day, last_day = day_option(start, "--start"), day_option(end, "--end")
    if first_day > last_day:
        raise typer.BadParameter(f"{start} is after {end}", param_hint="--start")
    if last_day >= today:
        raise typer.BadParameter(f"{end} is not over: a report ends before today (UTC)", param_hint="--end")
    if oldest is not None and first_day < oldest:
        raise typer.BadParameter(f"{start} is more than {_YEARS} years back", param_hint="--start")
    return ReportRequest(report_type, partner, sub_partner, first_day, last_day, internal)


def oldest_day(today: date) -> int:
    """The first day that a report may begin with: five years back."""
    try:
        return day_number(today.replace(year=today.year - _YEARS).isoformat())
    except ValueError:  # 29 February
        return day_number(today.replace(year=today.year - _YEARS, day=28).isoformat())
