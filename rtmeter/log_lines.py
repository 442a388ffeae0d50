"""What a long-running part says on standard error: a JSON object per line, or lines for a person.

What a line is about stands in members of its own: `partition`, `offset`, `event_id`, `report_id`, whatever was given as
`extra`. Whatever could be a secret is taken out of every line, wherever it came from: it is a net below those who take
care not to log one.
"""

import logging
import re
import sys
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.orjson import OrjsonFormatter

#: Bearer tokens and JWTs anywhere, passwords in URLs, the query of a download link, members named as secrets are.
_SECRETS: Final = re.compile(
    r"(?P<url>//[^\s/:@]*:)[^\s/@]+(?=@)"
    r"|(?P<bearer>\bBearer\s+)\S+"
    r"|(?P<named>\b(?:signature|token|password|secret|access_key|link_keys)\\?[\"']?\s*[=:]\s*\\?[\"']?)[^\s\"'&,;}\\]+"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*",
    re.IGNORECASE,
)
_HIDDEN: Final = "***"


class LogFormat(StrEnum):
    """`auto` is text on a terminal and JSON elsewhere."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


def without_secrets(text: str) -> str:
    """The text, with what could be a secret replaced."""
    return _SECRETS.sub(lambda match: (match[match.lastgroup] if match.lastgroup else "") + _HIDDEN, text)


class _JsonLines(OrjsonFormatter):
    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s %(message)s", rename_fields={"levelname": "level", "name": "logger"})

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["time"] = _time_text(record)
        super().add_fields(log_data, record, message_dict)

    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        about = "".join(f" {name}={value}" for name, value in vars(record).items() if name not in RESERVED_ATTRS)
        head, *trace = super().format(record).split("\n", 1)
        line = f"{_time_text(record)} {record.levelname} {record.name}: {head}{about}"
        return without_secrets("\n".join([line, *trace]))


def _time_text(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def log_to_stderr(log_format: LogFormat) -> None:
    """Log lines of a long-running part, from now on."""
    if log_format is LogFormat.AUTO:
        log_format = LogFormat.TEXT if sys.stderr.isatty() else LogFormat.JSON
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if log_format is LogFormat.JSON else _TextLines())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # Faust's own start and stop lines say nothing about the metering.
    for noisy in ("faust", "mode", "aiokafka", "streams.transport"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
