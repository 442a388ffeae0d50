"""`rtmeter` with a fault, the drill's negative control: it forgets which corrections were issued, and issues them again.

What it makes is whole and well hashed, and the gates see nothing: only another way to the numbers can find it out.
"""

from billing.closing import corrections
from billing.closing.lines import Line, PriceOf, Quantities
from billing.closing.period import Period
from rtmeter.cli import main

_true_lines_of = corrections.lines_of


def _forgetful(
    period: Period, corrects: int | None, now: Quantities, before: list[Line], price_of: PriceOf
) -> list[Line]:
    return _true_lines_of(period, corrects, now, [line for line in before if line.corrects is None], price_of)


if __name__ == "__main__":
    corrections.lines_of = _forgetful
    main()
