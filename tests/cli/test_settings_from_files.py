"""Settings that stand in files, as a container's secrets do."""

from pathlib import Path

import pytest

from rtmeter.settings_from_files import take_from_files


def test_a_setting_is_what_is_in_the_file_that_is_named(tmp_path: Path) -> None:
    secret = tmp_path / "dsn"
    secret.write_text("http://rtmeter:a b@host\n", encoding="utf-8")
    environment = {"RTMETER_CLICKHOUSE_DSN_FILE": str(secret), "OTHER_FILE": "/nowhere"}
    take_from_files(environment)
    assert environment["RTMETER_CLICKHOUSE_DSN"] == "http://rtmeter:a b@host"
    assert "OTHER" not in environment


def test_a_setting_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="both RTMETER_A and RTMETER_A_FILE"):
        take_from_files({"RTMETER_A": "1", "RTMETER_A_FILE": "/nowhere"})


def test_a_file_that_is_not_there_is_named_with_its_setting() -> None:
    with pytest.raises(OSError, match=r"RTMETER_A_FILE: .*nowhere"):
        take_from_files({"RTMETER_A_FILE": "/nowhere"})
