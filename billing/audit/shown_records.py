"""Which records are told in full: those of the days asked for, what they depend on, and what repeats them."""

from collections.abc import Iterable, Sequence

from billing.audit.citing import place_in_time
from billing.audit.explanation import Cited, Effect, ExplainedRecord
from billing.audit.told import Told
from schemas.instants import MS_PER_DAY

_REPEATS = (Effect.DUPLICATE, Effect.CONFLICT, Effect.VOIDS)


def choose(
    told: Iterable[Told], first_day: int, last_day: int, needed: Iterable[Cited], most: int | None
) -> list[ExplainedRecord]:
    """The records to show, in the order of rule 10: at most `most` of them; all of them if that is None.

    `needed` are those that the intervals were started and ended by. What needs a record to be understood (what voids
    it, what it repeats, what had ended what it wants to end) comes with it. One without a readable time is shown.
    """
    in_order = [explained for _, explained in sorted(told, key=lambda pair: place_in_time(pair[0]))]
    if most is None:
        return in_order
    since_ms, until_ms = first_day * MS_PER_DAY, (last_day + 1) * MS_PER_DAY
    shown = {cited.offset for cited in needed}
    shown |= {each.offset for each in in_order if each.time_ms is None or since_ms <= each.time_ms < until_ms}
    by_offset = {explained.offset: explained for explained in in_order}
    shown |= {offset for shown_one in list(shown) for offset in _cited(by_offset.get(shown_one))}
    shown |= {
        each.offset for each in in_order if each.effect in _REPEATS and (_offsets([each.because, each.voids]) & shown)
    }
    return _at_most([each for each in in_order if each.offset in shown], needed, most)


def _cited(record: ExplainedRecord | None) -> set[int]:
    return set() if record is None else _offsets([record.because, record.overridden_by, record.voids])


def _offsets(cited: Iterable[Cited | None]) -> set[int]:
    return {each.offset for each in cited if each is not None}


def _at_most(records: Sequence[ExplainedRecord], needed: Iterable[Cited], most: int) -> list[ExplainedRecord]:
    """Of too many, first those that intervals are explained by, then the earliest; in their order."""
    if len(records) <= most:
        return list(records)
    first = {cited.offset for cited in needed}
    preferred = sorted(range(len(records)), key=lambda index: (records[index].offset not in first, index))
    return [records[index] for index in sorted(preferred[:most])]
