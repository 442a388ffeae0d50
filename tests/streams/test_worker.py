"""The worker around the ledger: a long batch keeps nothing waiting but the next one."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from schemas.decode import AssignmentRecord
from streams.transport import Batch
from streams.worker import Worker, WorkerSettings

WITHIN_SECONDS = 10


class SlowLedger:
    """Applies a batch only once it is told to."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.effects: list[str] = []

    def apply(
        self, partition: int, first_offset: int, records: Iterable[AssignmentRecord], next_offset: int | None
    ) -> None:
        self.effects.append(f"begin {first_offset}")
        assert self.go_on.wait(WITHIN_SECONDS), "nobody could tell it to go on"
        self.effects.append(f"end {first_offset}")


class BrokenLedger(SlowLedger):
    def apply(
        self, partition: int, first_offset: int, records: Iterable[AssignmentRecord], next_offset: int | None
    ) -> None:
        raise RuntimeError("the log is gone")


def raise_it(failure: BaseException) -> None:
    raise failure


@pytest.fixture
def worker_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Worker]:
    monkeypatch.setattr("streams.worker.KafkaLog", lambda _: None)

    def make(ledger: Any) -> Worker:
        worker = Worker(WorkerSettings("127.0.0.1:1", close_days=False))
        worker._ledger = ledger
        # Not the end of this process.
        monkeypatch.setattr(worker, "_fail", raise_it)
        return worker

    return make


def batch(first_offset: int) -> Batch:
    return Batch(0, first_offset, first_offset, [])


@pytest.mark.timeout(4 * WITHIN_SECONDS)
def test_the_event_loop_goes_on_while_a_batch_is_applied(worker_with: Callable[[Any], Worker]) -> None:
    ledger = SlowLedger()
    worker = worker_with(ledger)

    async def main() -> None:
        applying = asyncio.create_task(worker._apply(batch(0)))
        for _ in range(100):
            await asyncio.sleep(0)
        # Nothing but the loop lets the batch end: on the loop's own thread it never would.
        ledger.go_on.set()
        await applying

    asyncio.run(main())
    assert ledger.effects == ["begin 0", "end 0"]


def test_batches_are_applied_one_at_a_time_and_partitions_are_given_up_after_the_one_under_way(
    worker_with: Callable[[Any], Worker],
) -> None:
    ledger = SlowLedger()
    worker = worker_with(ledger)

    async def main() -> None:
        applying = [asyncio.create_task(worker._apply(batch(offset))) for offset in (0, 1)]
        await asyncio.sleep(0)
        revoked = asyncio.create_task(worker._app.on_partitions_revoked.send(set()))
        await asyncio.sleep(0)
        assert not revoked.done()
        ledger.go_on.set()
        await revoked
        assert ledger.effects == ["begin 0", "end 0", "begin 1", "end 1"]
        await asyncio.gather(*applying)

    asyncio.run(main())


def test_a_worker_that_leaves_begins_no_batch(worker_with: Callable[[Any], Worker]) -> None:
    ledger = SlowLedger()
    worker = worker_with(ledger)
    worker._leaving = True
    asyncio.run(worker._apply(batch(0)))
    assert ledger.effects == []


def test_a_failure_while_applying_ends_the_process(
    worker_with: Callable[[Any], Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = worker_with(BrokenLedger())
    ended: list[tuple[str, dict[str, int]]] = []
    monkeypatch.setattr(worker, "_fail", lambda failure, **about: ended.append((str(failure), about)))
    asyncio.run(worker._apply(batch(7)))
    assert ended == [("the log is gone", {"partition": 0, "offset": 7})]
