"""One strategy of cases for each law of `tests.streams.laws`: the arguments of its check."""

from typing import Any

from hypothesis import strategies as st

from tests.streams.laws import Failover
from tests.streams.strategies import arrivals, cuts, spellings, with_closes, worlds

#: The arguments of a check, after the core.
Case = tuple[Any, ...]

_BOOLEANS = st.lists(st.booleans(), min_size=1, max_size=6)
_FEW = st.integers(0, 6)
_PLAIN = arrivals(worlds())
_WITH_CONFLICTS = arrivals(worlds(conflicts=True))

ARRIVAL: st.SearchStrategy[Case] = st.tuples(_PLAIN, spellings, cuts)
SUMS: st.SearchStrategy[Case] = st.tuples(_PLAIN, cuts)
DAYS: st.SearchStrategy[Case] = st.tuples(_PLAIN, cuts)
RESTORE: st.SearchStrategy[Case] = st.tuples(
    st.one_of(_PLAIN, with_closes(_PLAIN), _WITH_CONFLICTS),
    st.builds(Failover, cuts, _FEW, cuts, _FEW, _FEW, _FEW, _BOOLEANS, _BOOLEANS, cuts),
)
CLOSES: st.SearchStrategy[Case] = st.tuples(
    with_closes(_PLAIN), st.lists(st.tuples(cuts, _FEW, st.integers(0, 30)), min_size=1, max_size=2)
)
CONFLICTS: st.SearchStrategy[Case] = st.tuples(_WITH_CONFLICTS, spellings, cuts)
ORACLE: st.SearchStrategy[Case] = st.tuples(st.one_of(_PLAIN, _WITH_CONFLICTS), cuts)
INSTANT_MS = st.one_of(
    st.integers(946_684_800_000, 4_102_444_800_000), st.integers(1_790_812_800_000, 1_790_812_800_200)
)
ADDITIVE: st.SearchStrategy[Case] = st.tuples(INSTANT_MS, INSTANT_MS, INSTANT_MS)
