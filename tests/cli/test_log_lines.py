"""The lines of long-running parts: each says what it is about in members of its own, and none holds a secret."""

import io
import json
import logging
import sys
from collections.abc import Callable

import pytest

from rtmeter.log_lines import LogFormat, log_to_stderr, without_secrets

Lines = Callable[[LogFormat], io.StringIO]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    """What is written from now on in a format; the root logger is given back as it was."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)

    def of(log_format: LogFormat) -> io.StringIO:
        written = io.StringIO()
        monkeypatch.setattr(sys, "stderr", written)
        log_to_stderr(log_format)
        return written

    return of


def test_a_line_is_a_json_object_with_what_it_is_about(lines: Lines) -> None:
    written = lines(LogFormat.JSON)
    about = {"partition": 3, "offset": 17, "event_id": "e-1"}
    logging.getLogger("streams.ledger").warning("refused: %s", "bad-field", extra=about)
    (line,) = written.getvalue().splitlines()
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {"level": "WARNING", "logger": "streams.ledger", "message": "refused: bad-field", **about}


def test_a_trace_is_part_of_its_line(lines: Lines) -> None:
    written = lines(LogFormat.JSON)
    try:
        raise RuntimeError("the log is gone")
    except RuntimeError:
        logging.getLogger("streams.worker").exception("stopped")
    (line,) = written.getvalue().splitlines()
    assert "the log is gone" in json.loads(line)["exc_info"]


def test_for_a_person_the_same_stands_behind_the_message(lines: Lines) -> None:
    written = lines(LogFormat.TEXT)
    logging.getLogger("streams.ledger").warning("refused: %s", "bad-field", extra={"partition": 3, "offset": 17})
    assert written.getvalue().endswith(" WARNING streams.ledger: refused: bad-field partition=3 offset=17\n")


def test_where_there_is_no_terminal_lines_are_json(lines: Lines) -> None:
    written = lines(LogFormat.AUTO)
    logging.getLogger("any").warning("said")
    assert json.loads(written.getvalue())["message"] == "said"


SECRET = "s3cr3t-of-mine"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"http://user:{SECRET}@host:8123/database does not answer",
        f"postgresql+psycopg://rtmeter:{SECRET}@pg-1/rtmeter",
        f"GET /v1/download/x?expires=1&signature={SECRET}&kid=a",
        f'{{"token": "{SECRET}"}}',
        f"password={SECRET}, and more",
    ],
)
@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.TEXT])
def test_no_line_holds_a_secret(lines: Lines, log_format: LogFormat, text: str) -> None:
    written = lines(log_format)
    try:
        raise RuntimeError(text)
    except RuntimeError:
        logging.getLogger("any").exception("failed: %s", text, extra={"about": text})
    assert "failed" in written.getvalue()
    assert SECRET not in written.getvalue()


def test_a_json_web_token_is_a_secret_wherever_it_stands() -> None:
    assert without_secrets("given eyJhbGciOi.eyJvcmci.c2ln, refused") == "given ***, refused"


@pytest.mark.parametrize(
    "text", ["partition 3: the token bucket is empty", "at 12:30:05 nothing", "http://ch-1:8123/rtmeter"]
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text
