"""The fold of a subscriber with many facts, in blocks: a late fact folds its own block anew, not the whole history.

The facts in force stand in the order of rule 10, cut into blocks, each with where the fold stands at its start. When a
block changes, those after it are folded anew until one starts as it did: mostly that is the next. What comes out is
`fold_subscriber`'s, to the interval. Where the cuts are follows from how the facts came, and shows nowhere.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Sequence
from struct import Struct as Packed

import msgspec
from msgspec import Struct

from schemas.entitlements import Interval
from schemas.facts import CustomerFact, Order, SubscriberFact, order_of
from streams.core.running import Recording, Running, Standing

#: Before all facts.
_FIRST: Order = (-(1 << 63), False, "", -1, "", "")
_ENCODER = msgspec.msgpack.Encoder()
_FACTS = msgspec.msgpack.Decoder(list[SubscriberFact])
# The head of a msgpack array: with it encoded facts that were put one after the other are a list.
_ARRAY = Packed(">BI")
_ARRAY_32 = 0xDD
#: From so many intervals on, sets are faster than looking through lists.
_MANY = 12


class Changes(Struct, frozen=True):
    """What a change of the facts does to the intervals: no interval is in both lists."""

    gone: list[Interval]
    come: list[Interval]


def difference(old: Sequence[Interval], new: Sequence[Interval]) -> Changes:
    """What must go and what must come to make one list of intervals of another."""
    if len(old) + len(new) < _MANY:
        return Changes([i for i in old if i not in new], [i for i in new if i not in old])
    return Changes(list(set(old) - set(new)), list(set(new) - set(old)))


class _Block(Struct, gc=False):
    """Consecutive facts, encoded. `anomalies` and `holding` (the last fact with a user or workspace) are theirs alone."""

    facts: bytes
    count: int
    start: Standing
    anomalies: int
    holding: SubscriberFact | None


class BlockFold:
    """The facts in force of one subscriber and its customer's deprovisionings, and what follows from them.

    `block_facts`: a block has up to twice as many facts (or as many as add-ons run: each block knows all of them).
    `anomalies`: of the whole.
    """

    __slots__ = (
        "_block_facts",
        "_blocks",
        "_deprovision_orders",
        "_deprovisions",
        "_end",
        "_last",
        "_lows",
        "anomalies",
    )

    def __init__(self, facts: Iterable[SubscriberFact], deprovisions: Sequence[CustomerFact], block_facts: int) -> None:
        """`facts` and `deprovisions` in order."""
        ordered = list(facts)
        self._block_facts = block_facts
        self._deprovisions: Sequence[CustomerFact] = deprovisions
        self._deprovision_orders = [order_of(fact) for fact in deprovisions]
        # Block i holds what is ordered from `_lows[i]` on and before `_lows[i + 1]`, deprovisionings left out.
        self._lows: list[Order] = [_FIRST]
        self._blocks: list[_Block] = []
        self.anomalies = 0
        pieces = [ordered[start : start + block_facts] for start in range(0, len(ordered), block_facts)] or [[]]
        self._lows += [order_of(piece[0]) for piece in pieces[1:]]
        running = Running()
        for number, piece in enumerate(pieces):
            self._blocks.append(_Block(_encoded(piece), len(piece), running.standing(), 0, None))
            running = self._folded(number)
            self._note(number, running)
        # Where the fold stands after all facts; and nothing in it is ordered after `_last`.
        self._end = Recording.at(running.standing())
        self._last = max([_FIRST, *self._deprovision_orders[-1:], *(order_of(fact) for fact in ordered[-1:])])

    # ---- what follows

    def intervals(self) -> list[Interval]:
        """All intervals, in no order; folds everything anew."""
        found: list[Interval] = []
        for number in range(len(self._blocks)):
            running = self._folded(number)
            found += running.ended
        return found + running.open_intervals()

    def holding(self) -> SubscriberFact | None:
        """The last fact that carries a user or a workspace (rule 11)."""
        return next((block.holding for block in reversed(self._blocks) if block.holding is not None), None)

    # ---- changes

    def insert(self, fact: SubscriberFact) -> Changes:
        """Take in a fact that is in force, and not in it yet."""
        order = order_of(fact)
        if order > self._last:
            return self._append(fact, order)
        number = bisect_right(self._lows, order) - 1
        before = {number: self._folded(number)}
        facts = self._facts(number)
        insort(facts, fact, key=order_of)
        self._put(number, facts)
        changes = self._refold([number], before)
        self._split_if_full(number)
        return changes

    def remove(self, fact: SubscriberFact) -> Changes:
        """Leave out a fact that is in it: it was voided."""
        order = order_of(fact)
        number = bisect_right(self._lows, order) - 1
        before = {number: self._folded(number)}
        facts = self._facts(number)
        del facts[bisect_left(facts, order, key=order_of)]
        self._put(number, facts)
        return self._refold([number], before)

    def set_deprovisions(self, deprovisions: Sequence[CustomerFact]) -> Changes:
        """Fold with other deprovisionings of the customer (rule 5), given in order."""
        orders = [order_of(fact) for fact in deprovisions]
        changed = set(orders).symmetric_difference(self._deprovision_orders)
        dirty = sorted({bisect_right(self._lows, order) - 1 for order in changed})
        before = {number: self._folded(number) for number in dirty}
        self._deprovisions = deprovisions
        self._deprovision_orders = orders
        self._last = max([self._last, *orders[-1:]])
        return self._refold(dirty, before)

    # ---- inside

    def _append(self, fact: SubscriberFact, order: Order) -> Changes:
        """Take in a fact that follows on all others: it costs what it changes."""
        end = self._end
        if self._blocks[-1].count >= max(self._block_facts, end.addon_count()):
            # The next block begins where the fold stands anyway.
            end.advance(fact.time_ms)
            self._lows.append(order)
            self._blocks.append(_Block(b"", 0, end.standing(), 0, None))
        block = self._blocks[-1]
        block.facts += _ENCODER.encode(fact)
        block.count += 1
        end.take((fact,))
        block.anomalies += end.anomalies
        self.anomalies += end.anomalies
        if end.holding is not None:
            block.holding = end.holding
        changes = _net_of(end.steps)
        self._last = order
        end.ended.clear()
        end.steps.clear()
        end.anomalies = 0
        end.holding = None
        return changes

    def _refold(self, dirty: Sequence[int], before: dict[int, Running]) -> Changes:
        """Fold the changed blocks anew, and those after them as far as they start otherwise.

        `before`: how each changed block came out until now.
        """
        gone: set[Interval] = set()
        come: set[Interval] = set()
        for first in dirty:
            if first not in before:
                continue  # an earlier change came as far as this block
            number = first
            start = self._blocks[first].start
            while True:
                was = before.pop(number, None) or self._folded(number)
                self._blocks[number].start = start
                now = self._folded(number)
                self._note(number, now)
                _replace(was.ended, now.ended, gone, come)
                number += 1
                if number == len(self._blocks):
                    _replace(was.open_intervals(), now.open_intervals(), gone, come)
                    self._end = Recording.at(now.standing())
                    break
                start = now.standing()
                if start == self._blocks[number].start:
                    break
        return Changes(list(gone - come), list(come - gone))

    def _folded(self, number: int) -> Running:
        """A block folded from its start to where the next one begins."""
        block = self._blocks[number]
        facts: list[SubscriberFact | CustomerFact] = [*self._facts(number)]
        orders = self._deprovision_orders
        low = bisect_left(orders, self._lows[number])
        high = bisect_left(orders, self._lows[number + 1]) if number + 1 < len(self._lows) else len(orders)
        if low < high:
            facts += self._deprovisions[low:high]
            facts.sort(key=order_of)
        running = Running.at(block.start)
        running.take(facts)
        if number + 1 < len(self._lows):
            running.advance(self._lows[number + 1][0])
        return running

    def _note(self, number: int, running: Running) -> None:
        block = self._blocks[number]
        self.anomalies += running.anomalies - block.anomalies
        block.anomalies = running.anomalies
        block.holding = running.holding

    def _facts(self, number: int) -> list[SubscriberFact]:
        block = self._blocks[number]
        return _FACTS.decode(_ARRAY.pack(_ARRAY_32, block.count) + block.facts)

    def _put(self, number: int, facts: Collection[SubscriberFact]) -> None:
        block = self._blocks[number]
        block.facts = _encoded(facts)
        block.count = len(facts)

    def _split_if_full(self, number: int) -> None:
        block = self._blocks[number]
        if block.count <= max(2 * self._block_facts, len(block.start.addons)):
            return
        facts = self._facts(number)
        half = len(facts) // 2
        self._lows.insert(number + 1, order_of(facts[half]))
        self._put(number, facts[:half])
        first = self._folded(number)
        second = _Block(_encoded(facts[half:]), len(facts) - half, first.standing(), 0, None)
        self._blocks.insert(number + 1, second)
        self._note(number, first)
        self._note(number + 1, self._folded(number + 1))


def _net_of(steps: Iterable[tuple[int, Interval]]) -> Changes:
    """What is left of steps when what came and went again is taken out."""
    counts: dict[Interval, int] = {}
    for sign, interval in steps:
        counts[interval] = counts.get(interval, 0) + sign
    return Changes(
        [interval for interval, count in counts.items() if count < 0],
        [interval for interval, count in counts.items() if count > 0],
    )


def _encoded(facts: Iterable[SubscriberFact]) -> bytes:
    return b"".join([_ENCODER.encode(fact) for fact in facts])


def _replace(old: list[Interval], new: list[Interval], gone: set[Interval], come: set[Interval]) -> None:
    if old != new:
        gone.update(old)
        come.update(new)
