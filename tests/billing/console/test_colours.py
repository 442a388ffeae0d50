"""The style sheet's colours: every pair that is used is far enough apart, in both schemes."""

import re
from importlib.resources import files

import pytest

from billing.stacked_columns import SERIES_COLOURS
from tests.billing.console.colours import GRAPHICS, TEXT, contrast, schemes_of

STYLE_SHEET = (files("billing.console") / "static" / "console.css").read_text()
SCHEMES = schemes_of(STYLE_SHEET)
GROUNDS = ("page", "raised")
SERIES = tuple(f"s{number}" for number in range(len(SERIES_COLOURS)))
#: What is written, and on what; what is drawn, and beside what. `line` divides, and says nothing by itself.
WRITTEN = [
    *((ink, ground) for ink in ("ink", "quiet") for ground in GROUNDS),
    *((ink, "page") for ink in ("accent", "bad", "good")),
    ("on-accent", "accent"),
    ("on-bad", "bad"),
]
DRAWN = [
    *((mark, "page") for mark in ("accent", "bad", "good", "edge", *SERIES)),
    ("accent", "raised"),
    ("bad", "raised"),
]
DECORATION = {"line"}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("pair", "least"), [*((pair, TEXT) for pair in WRITTEN), *((pair, GRAPHICS) for pair in DRAWN)]
)
def test_each_pair_is_far_enough_apart(scheme: str, pair: tuple[str, str], least: float) -> None:
    one, other = (SCHEMES[scheme][name] for name in pair)
    assert contrast(one, other) >= least, f"{pair} in {scheme}: {one} on {other}"


def test_every_colour_is_in_a_pair_and_stands_in_one_place() -> None:
    judged = {name for pair in (*WRITTEN, *DRAWN) for name in pair} | DECORATION
    for scheme, colours in SCHEMES.items():
        assert colours.keys() == judged, scheme
    rules = re.sub(r":root \{.*?\}", "", STYLE_SHEET, flags=re.DOTALL)
    assert not re.search(r"#[0-9a-f]{3,8}\b|rgb|hsl", rules), "a colour that no pair is judged by"
    assert set(re.findall(r"var\(--([\w-]+)\)", rules)) == judged, "each is used, and none is made up"


def test_text_and_ground_of_a_rule_are_a_pair_that_is_judged() -> None:
    """Where a rule sets both; what Chromium makes of them all is in test_chromium.py."""
    for rule in re.findall(r"\{([^{}]*)\}", STYLE_SHEET):
        written = re.search(r"(?<![\w-])color: var\(--([\w-]+)\)", rule)
        ground = re.search(r"background: var\(--([\w-]+)\)", rule)
        if written and ground:
            assert (written[1], ground[1]) in WRITTEN, rule


def test_the_series_are_those_of_the_chart() -> None:
    for place, scheme in enumerate(("light", "dark")):
        assert [SCHEMES[scheme][name] for name in SERIES] == [pair[place] for pair in SERIES_COLOURS]


def test_the_measure_is_the_one_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005), "the well-known grey that just fails"
    assert contrast("#767676", "#ffffff") >= TEXT
