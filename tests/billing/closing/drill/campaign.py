"""A drill: month after month is taken in, reconciled, and closed by a process that is killed again and again. In order:

1. What arrives in the month's stage is stored, its days are closed. `rtmeter reconcile` goes over the month.
2. Before the last close, what would wait is approved: it is the last invoice that can carry it.
3. `rtmeter close-month --all` is started, killed with SIGKILL, and every invoice that is there must be whole. Again, as
   often as was asked for; then it runs to its end.
4. What waits is approved, as the command asks. It stands on the next invoice.

After the last close nothing may wait; the register is held to the oracle, and `rtmeter verify-close` must reproduce the
hash of every invoice. Only what is killed needs a process of its own: the other commands are called in this one.
"""

import json
import random
import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path

from typer.testing import CliRunner

from rtmeter.cli import app
from tests.billing.closing.drill.checks import not_whole, wrong_invoices, wrong_lines, wrong_sums
from tests.billing.closing.drill.growing_store import GrowingStore, growing
from tests.billing.closing.drill.oracle import Known, Oracle
from tests.billing.closing.drill.register import Invoice, closed_count, invoices_of, opened
from tests.billing.closing.drill.world import APPENDED_MS, MONTHS, Size, World, world_of

_SHOWN = 10
_LAST = len(MONTHS) - 1
_LOOK_SECONDS = 0.002
_RUN_SECONDS = 900
_REPRODUCED = re.compile(r"^invoice \d+, .*: reproduced$", re.MULTILINE)


class DrillFailed(Exception):
    """A command did not do what it should, or numbers differ: the first differences."""

    def __init__(self, differences: Iterable[str]) -> None:
        self.differences = list(differences)
        super().__init__("\n".join(self.differences[:_SHOWN]))


@dataclass
class Done:
    """What came of it. `kills`: by the month that was being closed, how many invoices of it there were at each."""

    kills: dict[str, list[int]] = field(default_factory=lambda: {month: [] for month in MONTHS})
    approvals: list[tuple[str, str, int]] = field(default_factory=list)
    at_cuts: list[Known] = field(default_factory=list)
    verified: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


class Campaign:
    """One drill in a folder. `show` is told what goes on."""

    def __init__(
        self,
        folder: Path,
        size: Size,
        kills_of_a_close: int,
        show: Callable[[str], None],
        *,
        processes: int = 1,
        partitions: int = 4,
    ) -> None:
        """`processes`: so many meter for the oracle, and verify, at once."""
        self.done = Done()
        self.register = folder / "billing.db"
        self._folder = folder
        self._kills = kills_of_a_close
        self._show = show
        self._partitions = partitions
        self._rng = random.Random(size.seed)
        self._reading_seconds = 0.0
        self._processes = processes
        self._oracle = Oracle(processes)
        with self._timed("making the facts"):
            self.world: World = world_of(size)

    def run(self) -> list[Invoice]:
        """All of it; the invoices. DrillFailed."""
        with self.store() as store:
            for stage in range(_LAST + 1):
                self.prepare(store, stage)
                self.close(stage)
            invoices = self.check()
            with self._timed("verifying"):
                self.verify()
        return invoices

    def store(self) -> AbstractContextManager[GrowingStore]:
        """The store of the drill, empty."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return growing(self._folder, self._partitions)

    def prepare(self, store: GrowingStore, stage: int) -> None:
        """Steps 1 and 2."""
        month = MONTHS[stage]
        with self._timed("storing"):
            store.take(stage, self.world.catalog[stage], self.world.events[stage])
        with self._timed("the oracle"):
            arrived = self.world.catalog[stage], self.world.events[stage]
            self.done.at_cuts.append(self._oracle.learn(*arrived, APPENDED_MS[stage]))
        with self._timed("reconciling"):
            self._rtmeter("reconcile", "--month", month)
        if stage == _LAST:
            with self._timed("approving"):
                self._approve_what_waits(month, stage, "--dry-run")

    def close(self, stage: int) -> None:
        """Steps 3 and 4."""
        month = MONTHS[stage]
        with self._timed("closing, with kills"):
            for n in range(self._kills):
                self._closed_and_killed(month, while_reading=n == 1)
            self.close_to_the_end(month)
        with self._timed("approving"):
            self._approve_what_waits(month, stage + 1)

    def close_to_the_end(self, month: str, module: str = "rtmeter") -> None:
        """A close that nothing happens to."""
        process = self._started(month, module)
        _, said = process.communicate(timeout=_RUN_SECONDS)
        if process.returncode:
            raise DrillFailed([f"close-month --all --month {month} ended with {process.returncode}: {said.decode()}"])

    def check(self) -> list[Invoice]:
        """The register held to the oracle; DrillFailed with the first differences."""
        with self._timed("comparing"):
            invoices = invoices_of(self.register)
            found = list(islice(self.differences(invoices), 10 * _SHOWN))
        if found:
            raise DrillFailed(found)
        return invoices

    def differences(self, invoices: list[Invoice]) -> Iterator[str]:
        """What all checks find in some invoices."""
        yield from wrong_invoices(invoices, self.world.partners)
        yield from wrong_sums(invoices, self.done.at_cuts[-1])
        yield from wrong_lines(invoices, self.done.at_cuts, self.done.approvals)
        for invoice in invoices:
            if invoice.month == MONTHS[-1] and invoice.waiting:
                yield f"{invoice.partner}: {sorted(invoice.waiting)} still wait after the last close"

    def verify(self) -> None:
        """Every stored hash is reproduced from the raw events; DrillFailed."""
        partners = self.world.partners
        # A command reads the raw events of all partners for each: at full size most of a drill's time.
        with ProcessPoolExecutor(self._processes) as pool:
            answers = pool.map(_called, repeat(self._folder), (("verify-close", "--partner", one) for one in partners))
            for n, (partner, (said, failure)) in enumerate(zip(partners, answers, strict=True), start=1):
                self._show(f"verified {n} of {len(partners)} partners")
                reproduced = len(_REPRODUCED.findall(said))
                if failure or reproduced != len(MONTHS):
                    pool.shutdown(cancel_futures=True)
                    told = failure or said
                    raise DrillFailed([f"of {partner} {reproduced} of {len(MONTHS)} are reproduced: {told}"])
                self.done.verified += reproduced

    def _closed_and_killed(self, month: str, *, while_reading: bool) -> None:
        """One close that is killed: at a random invoice, or at a random moment before it has written one.

        How long that is, the one before has shown.
        """
        with opened(self.register) as register:
            before = closed_count(register, month)
            left = len(self.world.partners) - before
            if not left:
                return
            # Not more than half of what is left, so that there is something for the next one.
            goal = before + self._rng.randint(1, max(1, left // 2))
            die_after = self._reading_seconds * self._rng.uniform(0.4, 1)
            process = self._started(month)
            started = time.monotonic()
            wrote_after = None
            while process.poll() is None:
                count = closed_count(register, month)
                seconds = time.monotonic() - started
                if wrote_after is None and count > before:
                    self._reading_seconds = wrote_after = seconds
                if count >= goal or (while_reading and seconds >= die_after):
                    break
                time.sleep(_LOOK_SECONDS)
            process.kill()
            process.communicate(timeout=_RUN_SECONDS)
            count = closed_count(register, month)
        # One that had come to its end first was not killed.
        if process.returncode < 0 and count < len(self.world.partners):
            self.done.kills[month].append(count)
        self._show(f"closing {month}: killed at {count} of {len(self.world.partners)} invoices")
        torn = list(not_whole(invoices_of(self.register)))
        if torn:
            raise DrillFailed(torn)

    def _started(self, month: str, module: str = "rtmeter") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, "close-month", "--all", "--month", month, "--by", "C. Lerk"]
        command += ["--data-dir", str(self._folder), "--format", "json"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def _approve_what_waits(self, month: str, before_close: int, *dry_run: str) -> None:
        """`rtmeter approve` for each correction that is said to wait. `before_close`: the stage whose invoice has it."""
        ended = self._rtmeter("close-month", "--all", "--month", month, "--format", "json", *dry_run)
        for row in json.loads(ended)["partners"]:
            if not row["waiting"]:
                continue
            partner = row["partnerOrgId"]
            asked = ("--partner", partner, "--month")
            invoice = json.loads(self._rtmeter("close-month", *asked, month, "--format", "json", *dry_run))
            for waiting in invoice["manifest"]["waiting"]:
                corrected = MONTHS[waiting["number"] - 1]
                self._show(f"approving the correction of {partner}, {corrected}")
                reasons = ("--reason", "late papers", "--by", "C. Lerk")
                self._rtmeter("approve", *asked, corrected, *reasons)
                self.done.approvals.append((partner, corrected, before_close))

    def _rtmeter(self, *arguments: str) -> str:
        """What a command says: its result, or where it has none its messages. DrillFailed unless it ends with 0."""
        said, failure = _called(self._folder, arguments)
        if failure:
            raise DrillFailed([failure])
        return said

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        self._show(what)
        started = time.monotonic()
        yield
        self.done.seconds[what] += time.monotonic() - started


def _called(folder: Path, arguments: tuple[str, ...]) -> tuple[str, str]:
    """What a command says, and how it failed, or ''."""
    done = CliRunner().invoke(app, [*arguments, "--data-dir", str(folder)])
    failed = f"rtmeter {' '.join(arguments)} ended with {done.exit_code}: {done.output}{done.exc_info}"
    return done.stdout or done.stderr, failed if done.exit_code else ""


def rows_of(campaign: Campaign, invoices: list[Invoice]) -> Iterator[tuple[str, str]]:
    """What was done and checked, in figures."""
    done, world = campaign.done, campaign.world
    for name, count in world.counts.items():
        yield name, f"{count:,}"
    resellers = len(world.orgs) - len(world.partners)
    yield "orgs", f"{len(world.orgs)}: {len(world.partners)} partners and {resellers} sub-partners"
    for month, counts in done.kills.items():
        yield f"kills while {month} was closed", f"{len(counts)}, with so many invoices made: {counts}"
    yield "approved corrections", f"{len(done.approvals)}"
    lines = [line for invoice in invoices for line in invoice.lines]
    corrections = [line for line in lines if line.corrects is not None]
    credit = sum(line.quantity_microdays < 0 for line in corrections)
    residues = sum(line.residue_minor != 0 for line in corrections)
    yield "invoices, and corrections left to wait", f"{len(invoices):,}, {sum(len(one.waiting) for one in invoices)}"
    yield "lines", f"{len(lines):,}, all of them the oracle's, to the microday and the minor unit"
    yield "of them corrections", f"{len(corrections):,}: {credit:,} credits, {residues:,} with a rounding residue"
    yield (
        "sums of partner, month, org, subscription, service",
        f"{len(done.at_cuts[-1].quantities):,}, all the oracle's",
    )
    yield "usage in microdays", f"{sum(line.quantity_microdays for line in lines):,}"
    totals: Counter[tuple[str | None, str | None]] = Counter()
    for line in lines:
        totals[line.currency, line.kind] += line.amount_minor or 0
    yield "minor units", ", ".join(f"{total:,} {currency} {kind}" for (currency, kind), total in sorted(totals.items()))  # type: ignore[type-var]
    yield "hashes reproduced by verify-close", f"{done.verified:,} of {len(invoices):,}"
    for what, seconds in done.seconds.items():
        yield f"seconds {what}", f"{seconds:,.1f}"
