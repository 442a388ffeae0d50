"""The ledger: who owns which partition's state, and the order in which a batch becomes durable.

The protocol, step by step, and what a crash after each step leaves:

1. Apply the batch to the state in memory.              Nothing was written: the next owner reads the batch again.
2. Write the changed records to `entitlements`, daily   Some of the outputs are in the log, all of a higher revision
   rows and dead letters to theirs. Of a long           than the watermark: the next owner cuts them back and writes them anew.
   subscriber full pages are first, the head last.      A page without its head: the head before it has the same facts.
3. If there were daily rows or dead letters, wait       As after 2. Without this step a watermark could stand in the log
   until they are acknowledged.                         while a row, in another topic and partition, was lost.
4. Write the watermark to the same `entitlements`       With the watermark in the log everything before it is too,
   partition.                                           because one idempotent producer keeps the partition's order.
5. Later, commit the group offset.                      Only monitoring reads it.

A new owner begins with a watermark too: its claim. A former one may be frozen, wake up, and write on; from the claim
on its watermarks do not count, wherever it stands (`streams.core.restore`), and what it overwrites is written again.
"""

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import msgspec

from schemas.daily_usage import DailyRow, daily_row_key, encode_daily_row
from schemas.dead_letters import DeadLetter, event_id_in, headers_of
from schemas.decode import AssignmentRecord
from schemas.entitlements import WATERMARK_KEY, Watermark, decode_key, encode_record
from schemas.metrics.metric import Stage
from schemas.topics import TopicNames
from streams.core.account import OutputRecord
from streams.core.long_subscriber import PAGING, Paging
from streams.core.partition import Applied, PartitionState
from streams.core.restore import Restore
from streams.input_bounds import InputLost, check_input
from streams.log import Log, LogFailed
from streams.metrics import BatchTimes, WorkerMetrics

logger = logging.getLogger(__name__)

#: A first close of a long history, or a large customer's deprovisioning, can make very many records: they are handed
#: over in pieces, because no other thread runs while the client library takes one.
_RECORDS_PER_WRITE = 20_000
#: A fetch is applied in runs of so many records: what a run makes is still in the processor's cache when it is
#: encoded, written and freed. With whole fetches an event costs a third more.
RECORDS_PER_RUN = 256
#: So many refused records of a run get a line of their own in the log: it must not grow with somebody's mistakes.
_REFUSED_TOLD = 5


class _Owned:
    """One partition that this process owns: its state, and where its log ends as far as we wrote it."""

    __slots__ = (
        "claim",
        "confirmed_end",
        "expected_end",
        "foreign_from",
        "foreign_records",
        "state",
        "taken_ms",
    )

    def __init__(self, state: PartitionState, log_end: int) -> None:
        self.state = state
        # Above that of every watermark that was in the log when we last looked: ours are the ones that count.
        self.claim = log_end
        # The offset that our next record will get, if nobody else writes to the partition.
        self.expected_end = log_end
        # Everything of the log below it was read at restore, or written by us.
        self.confirmed_end = log_end
        # How many records of others the acknowledgements have shown so far, and where to look for the newest.
        self.foreign_records = 0
        self.foreign_from: int | None = None
        # Append time of the last input record that we took; None before the first one. For monitoring.
        self.taken_ms: int | None = None

    def nothing_under_way(self) -> bool:
        """Whether all that we wrote is acknowledged: a watermark is always the last of it."""
        return self.confirmed_end == self.expected_end + self.foreign_records

    def others_wrote(self, records: int) -> None:
        """Note how many records of others are in the log so far, and from where on to look for the newest."""
        if records != self.foreign_records:
            if self.foreign_from is None:
                self.foreign_from = self.confirmed_end
            self.foreign_records = records


class Ledger:
    """The states of the owned partitions. Its calls may come from any thread: what changes it waits in one line.

    Acknowledgements are heard under the same lock, so that they cannot change what a call is just looking at.
    """

    def __init__(self, log: Log, names: TopicNames, metrics: WorkerMetrics, paging: Paging = PAGING) -> None:
        """Another `paging` is for tests."""
        self._paging = paging
        self._log = log
        self._names = names
        self._metrics = metrics
        self._owned: dict[int, _Owned] = {}
        self._durable: dict[int, int] = {}
        self._generation: int | None = None
        # Whether all that is assigned is restored; False before anything was assigned.
        self.restored = False
        self._times = BatchTimes()
        self._lock = threading.Lock()

    def own(self, partitions: Iterable[int], generation: int) -> dict[int, int]:
        """Own exactly these partitions from this generation on; the offset at which to read each of them on.

        A state is kept only over consecutive generations: who missed one cannot know who wrote in between.
        """
        with self._lock:
            self.restored = False
            wanted = set(partitions)
            consecutive = self._generation is not None and generation - self._generation in (0, 1)
            for partition in list(self._owned):
                if partition not in wanted or not consecutive:
                    del self._owned[partition]
                    self._durable.pop(partition, None)
            for partition in sorted(wanted - set(self._owned)):
                self._owned[partition] = self._restore(partition)
                # What was restored is durable; a former owner may have died before it could tell the group (step 5).
                self._durable[partition] = self._owned[partition].state.next_offset
            self._generation = generation
            self.restored = True
            self._metrics.owned(self._owned_states())
            offsets = {partition: owned.state.next_offset for partition, owned in self._owned.items()}
            logger.info(
                "owns partitions, each to be read from its offset on: %s", offsets, extra={"generation": generation}
            )
            return offsets

    def apply(
        self, partition: int, first_offset: int, records: Iterable[AssignmentRecord], next_offset: int | None = None
    ) -> None:
        """Take a batch that continues a partition, by the protocol above.

        It is all that the input has from `first_offset` up to before `next_offset`; None: its last record is the end.
        The watermark passes over offsets at its end that have no record, as the mark of a transaction's commit. A batch
        of a partition that is no longer owned is left to its owner. LogFailed when the log cannot be written, or a batch
        went missing between the fetch and the ledger; InputLost when it did in the input.
        """
        with self._lock:
            owned = self._owned.get(partition)
            if owned is None:
                return
            if first_offset > owned.state.next_offset:
                raise LogFailed(
                    f"partition {partition}: the state ends at {owned.state.next_offset}, but the batch starts at "
                    f"{first_offset}: records between would be lost"
                )
            times = self._times = BatchTimes()
            # Records may still be packed in what was fetched: each run is unpacked when its turn comes.
            waiting = iter(records)
            run = list(islice(waiting, RECORDS_PER_RUN))
            begins = run[0].offset if run else next_offset
            if begins is not None and begins != first_offset:
                self._check_fetch(partition, first_offset, begins)
            if owned.foreign_from is not None:
                self._heal(partition, owned)
            taken = 0
            times.spent(Stage.UNPACK)
            while run:
                before = owned.state.watermark
                applied = owned.state.apply(run)
                times.spent(Stage.FOLD)
                self._write(partition, owned, applied)
                self._metrics.applied(before, applied)
                taken += applied.taken
                owned.taken_ms = run[applied.taken - 1].timestamp
                left = run[applied.taken :]
                times.spent(Stage.WRITE)
                run = left + list(islice(waiting, RECORDS_PER_RUN - len(left)))
                times.spent(Stage.UNPACK)
            if next_offset is not None and next_offset > owned.state.next_offset:
                owned.state.pass_over(next_offset)
                self._write_watermark(partition, owned, owned.state.watermark)
            self._log.poll()
            self._metrics.batch(taken, times)

    def look_for_others(self) -> None:
        """Look whether anybody else wrote to the logs of the owned partitions, and make that good.

        `apply` finds it out by itself, with the next input. A partition may have none for long, and then compaction
        would in the end keep what a frozen owner wrote last: so this is called well within `min.compaction.lag.ms`.
        """
        with self._lock:
            self._log.poll()
            for partition, owned in self._owned.items():
                # Of what is under way the acknowledgement will tell.
                if owned.nothing_under_way():
                    end = self._end_of(partition)
                    if end > owned.confirmed_end:
                        owned.others_wrote(end - owned.expected_end)
                if owned.foreign_from is not None:
                    self._heal(partition, owned)
            self._log.poll()

    def durable_offsets(self) -> dict[int, int]:
        """The acknowledged watermark of each owned partition: what the group offset may say (step 5)."""
        if self._lock.acquire(blocking=False):
            # While a batch is applied or a log restored nobody waits for this: it is for monitoring.
            try:
                self._log.poll()
            finally:
                self._lock.release()
        owned, durable = self._owned.copy(), self._durable.copy()
        return {partition: offset for partition, offset in durable.items() if partition in owned}

    def states(self) -> dict[int, PartitionState]:
        """The owned states, for looking at."""
        return self._owned_states()

    def taken_ms(self) -> dict[int, int]:
        """Append time of the last record taken of each owned partition; those of which none was taken are left out."""
        return {
            partition: owned.taken_ms for partition, owned in self._owned.copy().items() if owned.taken_ms is not None
        }

    def check_input(self, offsets: Mapping[int, int]) -> None:
        """InputLost if the input of a partition can no longer be read from this offset on."""
        for partition, offset in offsets.items():
            try:
                self._check_input(partition, offset)
            except InputLost:
                raise
            except LogFailed as failure:
                # The broker does not answer: nothing is read meanwhile either.
                logger.warning("%s", failure, extra={"partition": partition})

    def finish(self) -> None:
        """Wait until everything written is acknowledged: before leaving."""
        with self._lock:
            self._log.wait()

    def _end_of(self, partition: int) -> int:
        try:
            return self._log.end(self._names.entitlements, partition)
        except LogFailed as failure:
            # Nothing was written or missed: the next look will do.
            logger.warning("%s", failure, extra={"partition": partition})
            return 0

    def _write(self, partition: int, owned: _Owned, applied: Applied) -> None:
        names = self._names
        if applied.pages:
            # On their own, and first: within one call the log may change the order of what it is handed.
            self._log.write(names.entitlements, partition, applied.pages)
        for start in range(0, len(applied.entitlements), _RECORDS_PER_WRITE):
            self._log.write(names.entitlements, partition, applied.entitlements[start : start + _RECORDS_PER_WRITE])
        self._write_daily_rows(partition, applied.daily_rows)
        for letter in applied.dead_letters:
            self._log.write_with_headers(names.dead_letters, partition, letter.key, letter.value, headers_of(letter))
        if applied.dead_letters:
            _tell_refused(partition, applied.dead_letters)
        if applied.daily_rows or applied.dead_letters:
            self._times.spent(Stage.WRITE)
            self._log.wait()
            self._times.spent(Stage.ACKNOWLEDGE)
        owned.expected_end += len(applied.pages) + len(applied.entitlements)
        self._write_watermark(partition, owned, applied.watermark)

    def _write_daily_rows(self, partition: int, rows: list[DailyRow]) -> None:
        for start in range(0, len(rows), _RECORDS_PER_WRITE):
            piece: list[OutputRecord] = [
                {"key": daily_row_key(row), "value": encode_daily_row(row)}
                for row in rows[start : start + _RECORDS_PER_WRITE]
            ]
            self._log.write(self._names.daily_usage, partition, piece)

    def _write_watermark(self, partition: int, owned: _Owned, watermark: Watermark) -> None:
        watermark = msgspec.structs.replace(watermark, claim=owned.claim)
        expected = owned.expected_end
        owned.expected_end += 1

        def acknowledged(_: int, offset: int) -> None:
            self._durable[partition] = max(watermark.next_offset, self._durable.get(partition, 0))
            # More of others than before: somebody else wrote between our last watermark and this one.
            owned.others_wrote(offset - expected)
            owned.confirmed_end = offset + 1

        record: OutputRecord = {"key": WATERMARK_KEY, "value": encode_record(watermark.next_offset, watermark)}
        self._log.write_watermark(self._names.entitlements, partition, record, acknowledged)

    def _heal(self, partition: int, owned: _Owned) -> None:
        """Write again what a frozen former owner overwrote, and claim the partition anew.

        Its values may have lower revisions and are ignored by every reader; but compaction keeps the *last* value
        of a key, and would one day leave only the stale one. So each key that it wrote is written once more. Or they
        have higher ones, because it was further when it was frozen; and then our watermark must count, not its.
        """
        assert owned.foreign_from is not None
        first, owned.foreign_from = owned.foreign_from, None
        keys = set()
        for offset, key, value in self._log.read(self._names.entitlements, partition, first):
            owned.claim = offset + 1
            if value != _value_at_rest(owned.state, key):
                keys.add(key)
        logger.warning(
            "another owner wrote to the log of partition %d from offset %d on",
            partition,
            first,
            extra={"partition": partition, "offset": first},
        )
        self._write_again(partition, owned, keys)
        self._write_watermark(partition, owned, owned.state.watermark)

    def _write_again(self, partition: int, owned: _Owned, keys: Iterable[bytes]) -> None:
        records: list[OutputRecord] = []
        for key in sorted(keys):
            value = _value_at_rest(owned.state, key)
            if value is not None:
                records.append({"key": key, "value": value})
        if records:
            logger.warning(
                "%d records of the log of partition %d were overwritten, and are written again",
                len(records),
                partition,
                extra={"partition": partition, "records": len(records)},
            )
            self._log.write(self._names.entitlements, partition, records)
            owned.expected_end += len(records)
        self._metrics.healed(len(records))

    def _restore(self, partition: int) -> _Owned:
        with self._metrics.restoring(partition):
            restore = Restore(self._names.package_assignments, partition, paging=self._paging)
            end = 0
            for offset, key, value in self._log.read(self._names.entitlements, partition):
                restore.feed(key, value)
                end = offset + 1
            owned = _Owned(restore.finish(), end)
            self._check_input(partition, owned.state.next_offset)
            if restore.overwritten:
                self._write_again(partition, owned, restore.overwritten)
            if end:
                # The claim, before anything else: from now on no watermark of a former owner counts.
                self._write_watermark(partition, owned, owned.state.watermark)
            return owned

    def _check_fetch(self, partition: int, wanted: int, got: int) -> None:
        """A fetch that does not begin where it was asked to: past what transactions leave, or the input has a hole."""
        if got < wanted:
            raise InputLost(f"partition {partition}: the input was read from {wanted} on, and begins anew at {got}")
        self._check_input(partition, wanted)

    def _check_input(self, partition: int, next_offset: int) -> None:
        topic = self._names.package_assignments
        check_input(topic, partition, next_offset, *self._log.bounds(topic, partition))

    def _owned_states(self) -> dict[int, PartitionState]:
        return {partition: owned.state for partition, owned in dict(self._owned).items()}


def _tell_refused(partition: int, letters: Sequence[DeadLetter]) -> None:
    """A line for each of a run's refused records, as far as they are few: the letters themselves have all of it."""
    for letter in letters[:_REFUSED_TOLD]:
        where = {"partition": partition, "offset": letter.offset, "event_id": event_id_in(letter)}
        logger.warning("refused: %s", letter.reason, extra={"reason": str(letter.reason), **where})
    if len(letters) > _REFUSED_TOLD:
        more = len(letters) - _REFUSED_TOLD
        logger.warning("refused: %d more of the same run", more, extra={"partition": partition, "records": more})


def _value_at_rest(state: PartitionState, key: bytes) -> bytes | None:
    """The value that the state has for a key of the log; None for the watermark's, and for a key that it has not."""
    owner = decode_key(key)
    if owner is None:
        return None
    account = state.accounts.get((owner.partner_id, owner.customer_id))
    return None if account is None else account.value_at_rest(owner.subscriber_id, owner.part, owner.name)
