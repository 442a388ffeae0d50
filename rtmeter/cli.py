"""The command line: which commands there are, and what becomes of their failures."""

import os
import sys
import traceback
from collections.abc import Callable

import typer
from confluent_kafka import KafkaException

from billing.closing.invoices import MadeMeanwhile
from billing.closing.recomputed import RawEventsMissing
from billing.closing.verify import CannotVerify
from billing.report import NotAChild
from rtmeter.children import ChildFailed
from rtmeter.commands import (
    close,
    dead_letters,
    events,
    explain,
    invoices,
    pipeline,
    preview,
    reconcile,
    redrive,
    reports,
    upkeep,
)
from rtmeter.exit_codes import ExitCode
from rtmeter.kafka_jars import KafkaUnavailable
from rtmeter.output import say
from rtmeter.settings_from_files import take_from_files
from sinks.backup.copied import BackupDamaged
from sinks.rebuild.raw_events import RawEventsIncomplete
from sinks.rebuild.state_log import StateUnclear
from sinks.store import StoreFailed, StoreUnavailable
from streams.groups import StillRunning
from streams.log import LogFailed
from streams.topics import TopicMismatch

app = typer.Typer(
    name="rtmeter",
    help="Usage metering for wholesale licences: Kafka events to exact billing reports.\n\n"
    "Exit codes: 0 done, 1 done with refusals, 2 usage, 3 failed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
topics = typer.Typer(help="The Kafka topics.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(topics, name="topics")

_COMMANDS: dict[str, Callable[..., None]] = {
    "up": pipeline.up,
    "worker": pipeline.worker,
    "sink": pipeline.sink,
    "status": pipeline.status,
    "demo": pipeline.demo,
    "emit": events.emit,
    "close-day": events.close_day,
    "report": reports.report,
    "meter": reports.meter,
    "reconcile": reconcile.reconcile_month,
    "close-month": close.close_month,
    "verify-close": close.verify_close,
    "approve": close.approve,
    "invoice": invoices.invoice,
    "period": invoices.period,
    "preview": preview.preview,
    "explain": explain.explain,
    "api": reports.api,
    "jobs": reports.run_report_jobs,
    "token": reports.token,
    "migrate": upkeep.migrate_stores,
    "rebuild": upkeep.rebuild,
    "backup": upkeep.backup,
    "restore": upkeep.restore,
}
for name, command in _COMMANDS.items():
    app.command(name)(command)
topics.command("create")(pipeline.topics_create)
letters = typer.Typer(
    help="Refused events: look at them, redrive or dismiss them.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(letters, name="dead-letters")
letters.command("list")(dead_letters.list_letters)
letters.command("show")(dead_letters.show)
letters.command("dismiss")(dead_letters.dismiss)
letters.command("redrive")(redrive.redrive)


def main() -> None:
    """Run a command; what stops it is one line on standard error, and the exit code."""
    try:
        take_from_files(os.environ)
        code = app(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else ExitCode.DONE)
    except typer.Exit as finished:
        sys.exit(finished.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        say("rtmeter: interrupted")
        sys.exit(ExitCode.FAILED)
    except typer._click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except NotAChild as error:
        say(f"rtmeter: {error}")
        sys.exit(ExitCode.USAGE)
    except (
        BackupDamaged,
        CannotVerify,
        ChildFailed,
        KafkaUnavailable,
        LogFailed,
        MadeMeanwhile,
        RawEventsIncomplete,
        RawEventsMissing,
        StateUnclear,
        StillRunning,
        StoreFailed,
        StoreUnavailable,
        TopicMismatch,
        ValueError,
        OSError,
    ) as error:
        say(f"rtmeter: {error}")
        sys.exit(ExitCode.FAILED)
    except KafkaException as error:
        say(f"rtmeter: Kafka: {error.args[0].str()}. Is it running, and is --bootstrap-servers right?")
        sys.exit(ExitCode.FAILED)
    except Exception:
        # A bug. Python's own exit code would be 1, which is taken: "done, with refusals".
        traceback.print_exc()
        sys.exit(ExitCode.FAILED)
