"""The seed's choices. The standard library's `choice` and `randrange` take several times as long."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Everything that a simulation leaves to chance comes from one of these."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random

    def below(self, bound: int) -> int:
        """An integer from 0 to `bound` - 1. Not evenly to the last bit, which nobody needs."""
        return int(self.random() * bound)

    def one_of(self, values: Sequence[T]) -> T:
        return values[int(self.random() * len(values))]

    def some_of(self, values: Sequence[T], count: int) -> list[T]:
        """`count` different ones, in any order."""
        left = list(values)
        return [left.pop(int(self.random() * len(left))) for _ in range(count)]
