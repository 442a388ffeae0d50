"""State of one partition: a function of the input prefix [0, next_offset), and nothing else.

`apply` takes the next records and gives what to write; who writes it, and in which order, is `streams.ledger`.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec
from msgspec import Struct

from schemas.daily_usage import DailyRow
from schemas.dead_letters import DeadLetter
from schemas.decode import AssignmentRecord, CustomerEvent, DayClose, SubscriberEvent, decode_assignments
from schemas.entitlements import Watermark
from schemas.reasons import Reason, Refused
from streams.core.account import DUPLICATE, METERED, Account, OutputRecord, Touched, put_to_rest
from streams.core.long_subscriber import PAGING, Paging


class Applied(Struct):
    """What a run of records did, and what must be written because of it.

    `pages` must be in the log before `entitlements` are, whose records lack the facts of the pages. `daily_rows` and
    `dead_letters` must be in it before `watermark` is. `taken`: how many of the records given were applied; the rest
    goes into the next call.
    """

    taken: int
    entitlements: list[OutputRecord]
    daily_rows: list[DailyRow]
    dead_letters: list[DeadLetter]
    watermark: Watermark
    anomalies: int
    restated_days: int
    pages: list[OutputRecord] = []


class PartitionState:
    """All accounts of one partition, and how much of the input they reflect."""

    def __init__(self, topic: str, partition: int, *, check_keys: bool = True, paging: Paging = PAGING) -> None:
        """`check_keys=False` is for lines of files, which have no record key; another `paging` is for tests."""
        self.topic = topic
        self.partition = partition
        self.accounts: dict[tuple[str, str], Account] = {}
        self.watermark = Watermark(0, None)
        self._check_keys = check_keys
        self._paging = paging

    @property
    def next_offset(self) -> int:
        """The length of the input prefix that this state reflects: the revision of what it writes."""
        return self.watermark.next_offset

    def apply(self, records: Sequence[AssignmentRecord]) -> Applied:
        """Apply records that follow on `next_offset`, in order; stop before a record that closes days.

        A close is the first record of the run that it stands in, always: so what a run writes about the closed
        days is the same whoever cut the runs, and a row that a crashed worker wrote is always replaced.
        Records below `next_offset` are part of the state already and are passed over.
        """
        before = self.watermark
        closed_through_day = before.closed_through_day
        dead_letters: list[DeadLetter] = []
        metered = duplicates = day_closes = taken = 0
        next_offset = before.next_offset
        accounts = self.accounts
        touched = Touched()
        for record, event in zip(records, decode_assignments(records, check_key=self._check_keys)):
            offset = record.offset
            if offset < next_offset:
                taken += 1
                continue
            # Nearly all events are about a subscriber.
            if type(event) is SubscriberEvent:
                account = accounts.get((event.partner_id, event.customer_id)) or self._new_account(event)
                outcome = account.add_subscriber_fact(event.subscriber_id, event.fact, closed_through_day, touched)
            elif type(event) is CustomerEvent:
                account = accounts.get((event.partner_id, event.customer_id)) or self._new_account(event)
                outcome = account.add_customer_fact(event.fact, closed_through_day, touched)
            elif type(event) is DayClose:
                if closed_through_day is None or event.day > closed_through_day:
                    if next_offset > before.next_offset:
                        break
                    closed_through_day = event.day
                day_closes += 1
                next_offset = offset + 1
                taken += 1
                continue
            else:
                assert type(event) is Refused
                dead_letters.append(self._dead_letter(record, event.reason, event.detail))
                next_offset = offset + 1
                taken += 1
                continue
            if outcome is METERED:
                metered += 1
            elif outcome is DUPLICATE:
                duplicates += 1
            else:
                fact = event.fact
                detail = f"source {fact.source!r}, id {fact.id!r} came before with other content"
                dead_letters.append(self._dead_letter(record, Reason.IDENTITY_CONFLICT, detail))
            next_offset = offset + 1
            taken += 1

        watermark = Watermark(
            next_offset,
            closed_through_day,
            before.metered + metered,
            before.duplicates + duplicates,
            before.refused + len(dead_letters),
            before.day_closes + day_closes,
        )
        daily_rows: list[DailyRow] = []
        restated_days = 0
        if closed_through_day is not None:
            daily_rows += self._restated_rows(touched, next_offset)
            restated_days = len(daily_rows)
            if closed_through_day != before.closed_through_day:
                daily_rows += self._closed_rows(before.closed_through_day, closed_through_day, next_offset)
        written = put_to_rest(touched, next_offset)
        self.watermark = watermark
        return Applied(
            taken,
            written.records,
            daily_rows,
            dead_letters,
            watermark,
            touched.anomalies,
            restated_days,
            written.pages,
        )

    def pass_over(self, next_offset: int) -> None:
        """Reflect the input up to before `next_offset`, which has no records from where the state ends."""
        self.watermark = msgspec.structs.replace(self.watermark, next_offset=next_offset)

    def apply_in_runs(self, records: Iterable[AssignmentRecord], most: int) -> Iterator[Applied]:
        """Apply records that follow on, all of them, in runs of `most` at most; what each did. They are read as they are needed."""
        waiting = iter(records)
        run = list(islice(waiting, most))
        while run:
            applied = self.apply(run)
            yield applied
            left = run[applied.taken :]
            run = left + list(islice(waiting, most - len(left)))

    def account(self, partner_id: str, customer_id: str) -> Account:
        """The account of a customer under a partner: a new one, if there was none."""
        account = self.accounts.get((partner_id, customer_id))
        if account is None:
            account = Account(partner_id, customer_id, self._paging)
            self.accounts[(account.partner_id, account.customer_id)] = account
        return account

    def _new_account(self, event: SubscriberEvent | CustomerEvent) -> Account:
        return self.account(event.partner_id, event.customer_id)

    def _dead_letter(self, record: AssignmentRecord, reason: Reason, detail: str) -> DeadLetter:
        return DeadLetter(
            reason,
            detail,
            self.topic,
            self.partition,
            record.offset,
            record.timestamp,
            record.key,
            record.value,
        )

    def _restated_rows(self, touched: Touched, revision: int) -> Iterator[DailyRow]:
        """The rows of the closed days that this run's facts touched, zero rows included (rule 16)."""
        for owner, by_group in touched.restated.items():
            groups = self.accounts[owner].groups
            for group, days in by_group.items():
                for day, quantity, active in groups[group].usage(min(days), max(days)):
                    if day in days:
                        yield DailyRow(*owner, *group, day, quantity, active, revision)

    def _closed_rows(self, closed_before: int | None, last_day: int, revision: int) -> Iterator[DailyRow]:
        """The rows of the days that this run closes (rule 15): those with usage or active licences."""
        for account in self.accounts.values():
            for group, day_map in account.groups.items():
                first_day = day_map.first_day() if closed_before is None else closed_before + 1
                if first_day is None:
                    continue
                for day, quantity, active in day_map.usage(first_day, last_day):
                    if quantity or active:
                        yield DailyRow(account.partner_id, account.customer_id, *group, day, quantity, active, revision)
