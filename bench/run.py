"""Our worker beside its peers, on one broker, over the same events: `python -m bench.run`. See bench/README.md."""

import argparse
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from rich.console import Console

from bench import quix_env
from bench.broker import Record
from bench.children import consume_limit, decode_limit, memory, restores
from bench.race import Run, RunFailed, run_side
from bench.reference import Timelines, check_refuses_wrong_ones, timelines
from bench.report import Results, SideResult, show, this_machine, write_json
from bench.sides import Side, all_sides
from bench.workload import Workload, records
from rtmeter.kafka_server import EmbeddedKafka, KafkaUnavailable

_RESULTS = Path(__file__).with_name("results")
_PARTS = ("ours", "two", "faust", "quix", "limits", "state")
_FILE_WIDTH = 170
_LEAST_EVENTS_FOR_MEMORY = 500_000
_SHORT_EVENTS = {"ours": 20_000, "two": 20_000, "faust": 3_000, "quix": 5_000}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when everything asked for ran and was correct."""
    parser = argparse.ArgumentParser(prog="bench.run", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="of ours; slow peers get the first ones only")
    parser.add_argument("--runs", type=int, default=3, help="of each side, in turns")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=_PARTS, help="leave out the rest")
    parser.add_argument("--short", action="store_true", help="small counts, one run: does it work, is it correct")
    options = parser.parse_args(arguments)
    if options.events < 1 or options.runs < 1:
        parser.error("--events and --runs are at least 1")
    # So that what was started is stopped, whatever ends us.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    console = Console(stderr=True)
    results = Results(this_machine())
    failed = False
    try:
        _measure(options, console, results)
    except (
        RunFailed,
        RuntimeError,
        KafkaException,
        KafkaUnavailable,
        TimeoutError,
        subprocess.SubprocessError,
    ) as failure:
        console.print(str(failure), style="red", markup=False, highlight=False)
        failed = True
    # A file or a pipe has no width, and 80 columns would break every cell.
    show(results, Console(width=None if sys.stdout.isatty() else _FILE_WIDTH))
    if failed:
        return 1
    # A short run must not take the place of one that says how fast things are.
    path = _RESULTS / ("short.json" if options.short else "latest.json")
    write_json(results, path)
    console.print(f"written to {path}")
    return 0


def _measure(options: argparse.Namespace, console: Console, results: Results) -> None:
    """Fill in the results, part by part: what was measured before a failure is there."""
    short: bool = options.short
    runs = 1 if short else options.runs
    total = min(options.events, _SHORT_EVENTS["ours"]) if short else options.events
    if "quix" in options.only:
        quix_env.ensure()
    console.print(f"making {total:,} events")
    events = list(records(Workload(total)))
    with tempfile.TemporaryDirectory(prefix="rtmeter-bench-") as folder, EmbeddedKafka(Path(folder, "kafka")) as broker:
        bootstrap = broker.start()
        if "limits" in options.only:
            console.print("the limits: decoding alone, reading alone")
            results.decode = decode_limit(min(total, 200_000), runs)
            results.consume = consume_limit(bootstrap, events, runs)
        given = {
            side: events[: _SHORT_EVENTS[side.name] if short else side.most_events]
            for side in all_sides()
            if side.name in options.only
        }
        results.sides = _race(given, bootstrap, Path(folder), runs, console)
        if "state" in options.only:
            console.print("the state: memory, and restore")
            results.memory = memory(total if short else max(total, _LEAST_EVENTS_FOR_MEMORY))
            results.restores = restores(bootstrap, 10_000 if short else 1_000_000, runs)


def _race(
    given: Mapping[Side, Sequence[Record]], bootstrap: str, folder: Path, runs: int, console: Console
) -> list[SideResult]:
    """Every side over the events that it is given once, then every side again.

    In turns, because what slows the machine for a while then slows all of them.
    """
    expected: dict[int, Timelines] = {}
    for part in given.values():
        if len(part) not in expected:
            expected[len(part)] = timelines(value for _, value in part)
            check_refuses_wrong_ones(expected[len(part)])
    done: dict[Side, list[Run]] = {side: [] for side in given}
    for number in range(runs):
        for side, part in given.items():
            console.print(f"run {number + 1} of {runs}: {side.title}, {len(part):,} events", highlight=False)
            run = run_side(side, bootstrap, part, expected[len(part)], folder)
            done[side].append(run)
            rate = run.events_per_second
            console.print(f"    {f'{rate:,.0f} events/s' if rate else 'correct'}", highlight=False)
    return [SideResult(side.name, side.title, runs_done) for side, runs_done in done.items()]


if __name__ == "__main__":
    sys.exit(main())
