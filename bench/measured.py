"""A measure taken several times: what is said of it is the median, and the spread from least to most."""

from collections.abc import Iterable
from statistics import median
from typing import Self

from msgspec import Struct


class Measured(Struct, frozen=True):
    """Median, least and most of the same measure."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Self | None:
        """Of the values that are there; None when none is."""
        known = [value for value in values if value is not None]
        return cls(median(known), min(known), max(known)) if known else None
