"""Where a sink begins: what it has not and cannot get is said, and a topic that was made anew is read from its start."""

import pytest

from sinks.positions import Start, choose_start


@pytest.mark.parametrize(
    ("position", "begin", "end", "wanted"),
    [
        (None, 0, 0, Start(0)),
        (None, 0, 90, Start(0)),
        (40, 0, 90, Start(40)),
        (90, 0, 90, Start(90)),
        (40, 40, 90, Start(40)),
        (40, 60, 90, Start(60, missing=20)),
        (None, 60, 90, Start(60, missing=60)),
        (91, 0, 90, Start(0, anew=True)),
        (91, 5, 90, Start(5, missing=5, anew=True)),
    ],
)
def test_where_a_sink_begins(position: int | None, begin: int, end: int, wanted: Start) -> None:
    assert choose_start(position, begin, end) == wanted
