"""What the pipeline tests share: the command line as a user runs it, and the reports that are expected."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from billing.export import export_csv
from billing.meter import Metered
from billing.report import ReportRequest, ReportType
from schemas.instants import day_number
from sinks.store import open_for_reading
from tests.oracle.random_month import CHILDREN, PARTNERS

FIRST, LAST = "2026-10-01", "2026-10-31"
COMMAND_SECONDS = 180


class Installation:
    """One data folder, and `rtmeter` on it. `settings`: more of its environment."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.environment = {**os.environ, "RTMETER_DATA_DIR": str(data_dir), **(settings or {})}

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[bytes]:
        """Run a command to its end; AssertionError with what it said if it has none, or its exit code is none of `codes`."""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "rtmeter", *arguments],
                env=self.environment,
                capture_output=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as hangs:
            said = (hangs.stderr or b"").decode()
            raise AssertionError(f"{arguments}: no end within {COMMAND_SECONDS} s\n{said}\n{self.logs()}") from hangs
        assert done.returncode in codes, f"{arguments}: exit {done.returncode}\n{done.stderr.decode()}\n{self.logs()}"
        return done

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a command and leave it running."""
        return subprocess.Popen(
            [sys.executable, "-m", "rtmeter", *arguments],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def drain(self, *options: str) -> None:
        self.run("up", "--drain", *options)

    def report(self, request: ReportRequest) -> bytes:
        """A report as the command line writes it."""
        sub_partner = [] if request.sub_partner_id is None else ["--sub-partner", request.sub_partner_id]
        return self.run(
            "report",
            *["--type", request.report_type, "--partner", request.partner_id, "--start", FIRST, "--end", LAST],
            *sub_partner,
            *(["--internal"] if request.internal else []),
        ).stdout

    def reports(self) -> dict[ReportRequest, bytes]:
        """All of `requests()` by the same call, in this process: a process for each would take minutes."""
        store = open_for_reading(None, self.data_dir / "store")
        try:
            return {request: b"".join(export_csv(store, request)) for request in requests()}
        finally:
            store.close()

    def logs(self) -> str:
        """The last lines of every part's log."""
        return "\n".join(
            f"== {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-10:])
            for log in sorted((self.data_dir / "logs").glob("*.log"))
        )

    def pid(self, part: str) -> int | None:
        """The process id of a running part of `up`, if it is running."""
        try:
            return int((self.data_dir / "run" / f"{part}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None


def requests() -> list[ReportRequest]:
    """Every type for every partner, for a sub-partner through its parent, and with internal customers."""
    first, last = day_number(FIRST), day_number(LAST)
    child, parent = next(iter(CHILDREN.items()))
    found = []
    for report_type in ReportType:
        found += [ReportRequest(report_type, partner, None, first, last) for partner in PARTNERS]
        found.append(ReportRequest(report_type, parent, child, first, last))
        found.append(ReportRequest(report_type, parent, None, first, last, internal=True))
    return found


def expected_reports(lines: Iterable[bytes], received_at_ms: int) -> dict[ReportRequest, bytes]:
    """What `rtmeter meter` gives for the same lines."""
    metered = Metered(lines, received_at_ms)
    return {request: b"".join(metered.report(request)) for request in requests()}
