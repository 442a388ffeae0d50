"""A subscriber with so many facts that its state is not one record: pages of facts, segments of intervals, a head.

What an event costs depends on what it changes, not on how many came before: the facts are told apart by an index, folded
in blocks (`block_fold`), and only what was touched is encoded and written. Pages, segments and head follow from the set
of facts alone, as everything does; index and blocks are made anew at a restore.
"""

from bisect import bisect_left
from collections.abc import Sequence
from operator import attrgetter

from msgspec import Struct

from schemas.entitlements import (
    PAGE,
    REVISION_BYTES,
    SEGMENT,
    LongHead,
    Page,
    SubscriberRecord,
    decode_head,
    decode_page,
    encode_record,
    revision_of,
    with_revision,
)
from schemas.facts import CustomerFact, Kind, SubscriberFact, order_of
from streams.core.block_fold import BlockFold, Changes
from streams.core.segments import Segments

_VOIDED = int(Kind.VOIDED)
_offset_of = attrgetter("offset")


class Paging(Struct, frozen=True):
    """How long subscribers are cut. The first two are part of the state's wire form: they can never be changed.

    `page_facts`: facts per page; with so many a subscriber becomes long. `segment_intervals`: intervals per segment, on
    average. `block_facts`: facts per block of the fold.
    """

    page_facts: int = 128
    segment_intervals: int = 64
    block_facts: int = 32


PAGING = Paging()


class LogIncomplete(Exception):
    """The log lacks a record of a long subscriber that was in it: the state cannot be restored without a loss."""


class RestValues(Struct, frozen=True):
    """What a run writes of a long subscriber: values by number of the page, by name of the segment, and the head's."""

    pages: dict[int, bytes]
    segments: dict[str, bytes]
    head: bytes


class LongSubscriber:
    """State of one long subscriber."""

    __slots__ = ("_fold", "_head", "_identities", "_new_pages", "_page_facts", "_pages", "_segments", "_voided")

    def __init__(self, facts: list[SubscriberFact], deprovisions: Sequence[CustomerFact], paging: Paging) -> None:
        """From all its facts in order of offset, at least a page of them, and the deprovisionings in force."""
        self._page_facts = paging.page_facts
        # Values as in the log. The last `_new_pages` have no revision yet.
        self._pages: list[bytes] = []
        self._new_pages = 0
        # Where a fact is, by the hash of its identity: the number of a page, that of the next one for the head's facts.
        self._identities: dict[int, int | tuple[int, ...]] = {}
        self._voided = {(fact.voids_source, fact.voids_id) for fact in facts if fact.kind == _VOIDED}
        self._head: bytes | LongHead = LongHead([], [], -1, 0)
        for fact in facts:
            self._keep(self._head, fact)
        counting = [fact for fact in facts if fact.kind != _VOIDED and (fact.source, fact.id) not in self._voided]
        counting.sort(key=order_of)
        self._fold = BlockFold(counting, deprovisions, paging.block_facts)
        self._segments = Segments(self._fold.intervals(), paging.segment_intervals)
        self._head.intervals = self._segments.newest

    # ---- facts in

    def find(self, source: str, id_: str) -> SubscriberFact | None:
        """The fact of an identity, if it is here."""
        pages = self._identities.get(hash((source, id_)), ())
        for page in (pages,) if isinstance(pages, int) else pages:
            facts = self._touch().facts if page == len(self._pages) else decode_page(self._pages[page]).facts
            for fact in facts:
                if fact.id == id_ and fact.source == source:
                    return fact
        return None

    def add(self, fact: SubscriberFact) -> Changes:
        """Take in a fact of an identity that is not here."""
        self._keep(self._touch(), fact)
        if fact.kind == _VOIDED:
            target = (fact.voids_source, fact.voids_id)
            known = target in self._voided
            self._voided.add(target)
            voided = None if known else self.find(*target)  # type: ignore[arg-type]
            if voided is None or voided.kind == _VOIDED:
                return _NOTHING
            changes = self._fold.remove(voided)
        elif (fact.source, fact.id) in self._voided:
            return _NOTHING
        else:
            changes = self._fold.insert(fact)
        self._segments.apply(changes)
        return changes

    def set_deprovisions(self, deprovisions: Sequence[CustomerFact]) -> Changes:
        """Go on with other deprovisionings of the customer (rule 5)."""
        changes = self._fold.set_deprovisions(deprovisions)
        if changes.gone or changes.come:
            # Who touches it must note that, or it would not come to rest again.
            self._touch()
            self._segments.apply(changes)
        return changes

    # ---- state out

    @property
    def anomalies(self) -> int:
        return self._fold.anomalies

    def whole(self) -> SubscriberRecord:
        """All of it as one record."""
        head = decode_head(self._head) if isinstance(self._head, bytes) else self._head
        facts = [fact for page in self._pages for fact in decode_page(page).facts] + head.facts
        holding = self._fold.holding()
        holder = -1 if holding is None else bisect_left(facts, holding.offset, key=_offset_of)
        self._segments.newest = head.intervals
        return SubscriberRecord(facts, list(self._segments.intervals()), holder, self.anomalies)

    def value_at_rest(self, part: str | None, name: str) -> bytes | None:
        """The value of a page, a segment or (part None) the head; None if there is none at rest."""
        if part == PAGE:
            return self._pages[int(name)] if int(name) < len(self._pages) else None
        if part == SEGMENT:
            return self._segments.value_at_rest(name)
        return self._head if isinstance(self._head, bytes) else None

    def put_to_rest(self, revision: int) -> RestValues:
        """The values of all that was touched. Pages must be in the log before the head, which has not their facts."""
        pages = {}
        for number in range(len(self._pages) - self._new_pages, len(self._pages)):
            pages[number] = self._pages[number] = with_revision(self._pages[number], revision)
        self._new_pages = 0
        self._head = encode_record(revision, self._finished(self._touch()))
        return RestValues(pages, self._segments.put_to_rest(revision), self._head)

    # ---- inside

    def _touch(self) -> LongHead:
        if isinstance(self._head, bytes):
            self._head = decode_head(self._head)
            self._segments.newest = self._head.intervals
        return self._head

    def _finished(self, head: LongHead) -> LongHead:
        holding = self._fold.holding()
        head.pages = len(self._pages)
        head.anomalies = self.anomalies
        head.latest_user_id = None if holding is None else holding.user_id
        head.latest_workspace_id = None if holding is None else holding.workspace_id
        head.intervals = self._segments.newest
        return head

    def _keep(self, head: LongHead, fact: SubscriberFact) -> None:
        number = len(self._pages)
        identity = hash((fact.source, fact.id))
        known = self._identities.get(identity)
        if known is None:
            self._identities[identity] = number
        else:  # another identity of the same hash
            self._identities[identity] = (*((known,) if isinstance(known, int) else known), number)
        head.facts.append(fact)
        if len(head.facts) == self._page_facts:
            self._pages.append(encode_record(0, Page(head.facts)))
            self._new_pages += 1
            head.facts = []


_NOTHING = Changes([], [])
_NO_HEAD = encode_record(0, LongHead([], [], -1, 0))


class LoggedParts:
    """What the log holds of a subscriber that is long in it, while it is read."""

    __slots__ = ("head", "pages", "segments")

    def __init__(self, head: bytes | None) -> None:
        self.head = head
        self.pages: dict[int, bytes] = {}
        self.segments: dict[str, bytes] = {}

    def value_at_rest(self, part: str | None, name: str) -> bytes | None:
        """As that of a `LongSubscriber`."""
        if part == PAGE:
            return self.pages.get(int(name))
        return self.head if part is None else self.segments.get(name)

    def put(self, part: str | None, name: str, value: bytes) -> None:
        """Take a value from the log as it is."""
        if part == PAGE:
            self.pages[int(name)] = value
        elif part == SEGMENT:
            self.segments[name] = value
        else:
            self.head = value

    def facts(self, length: int, page_facts: int) -> list[SubscriberFact]:
        """The facts of the prefix, in order of offset. LogIncomplete if a page is missing.

        A crash can have left a page without the head that goes with it: then the head has the page's facts too.
        """
        head = decode_head(self.head or _NO_HEAD)
        if any(number not in self.pages for number in range(max([head.pages, *(n + 1 for n in self.pages)]))):
            raise LogIncomplete("the log lacks a page of a subscriber's facts")
        facts: dict[int, SubscriberFact] = {}
        for value in self.pages.values():
            facts.update((fact.offset, fact) for fact in decode_page(value).facts if fact.offset < length)
        facts.update((fact.offset, fact) for fact in head.facts if fact.offset < length)
        found = [facts[offset] for offset in sorted(facts)]
        for number in range(len(found) // page_facts):
            page = decode_page(self.pages[number]).facts if number in self.pages else None
            if page != found[number * page_facts : (number + 1) * page_facts]:
                raise LogIncomplete(f"page {number} of a subscriber's facts is not in the log as it was written")
        return found

    def restored(
        self, facts: list[SubscriberFact], deprovisions: Sequence[CustomerFact], paging: Paging, length: int
    ) -> LongSubscriber:
        """The subscriber at rest, from its facts of the prefix: what the log has of it stays as it is there."""
        long = LongSubscriber(facts, deprovisions, paging)
        long._pages = [self.pages[number] for number in range(len(long._pages))]
        long._new_pages = 0
        long._segments.put_to_rest_from_log(self.segments, length)
        long._head = encode_record(length, long._finished(long._touch()))
        logged = self.head
        if logged is not None and revision_of(logged) <= length:
            if logged[REVISION_BYTES:] == long._head[REVISION_BYTES:]:
                long._head = logged
        return long
