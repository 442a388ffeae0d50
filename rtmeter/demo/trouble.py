"""How facts really arrive: out of order, late, twice, and some of them not fit to be metered."""

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from rtmeter.demo.wire import Fact, event_of, line_of, new_id
from schemas.reasons import Reason

SHARE_DUPLICATES: Final = 0.03
SHARE_DISORDERED: Final = 0.1
#: Facts of the month that arrive when its days are closed already.
SHARE_LATE: Final = 0.15
#: How many places a disordered fact is behind, at most.
_WINDOW: Final = 60
_OFFSETS_MINUTES: Final = (120, -300, 330)
_SUBSCRIBERS_PER_BAD: Final = 2000


class Arrivals:
    """Lines in order of arrival, and how many of which kind of trouble are among them."""

    def __init__(self, rng: random.Random, facts: list[Fact]) -> None:
        self._rng = rng
        self._arrived: list[tuple[float, Fact, bytes]] = [
            (float(place), fact, self._written(fact))
            for place, fact in enumerate(sorted(facts, key=lambda fact: (fact.time_ms, fact.id)))
        ]
        self.disordered = 0
        self.duplicates = 0
        self.bad: Counter[Reason] = Counter()

    def lines(self) -> list[bytes]:
        return [line for _, _, line in self._arrived]

    def disorder(self) -> None:
        """Hold a share of the facts back a little."""
        places = []
        for place, fact, line in self._arrived:
            behind = self._rng.uniform(1, _WINDOW) if self._rng.random() < SHARE_DISORDERED else 0.0
            self.disordered += behind > 0
            places.append((place + behind, fact, line))
        self._arrived = _in_order(places)

    def repeat(self) -> None:
        """Deliver a share of the lines again: the same bytes, or the same content written otherwise."""
        count = max(2, round(len(self._arrived) * SHARE_DUPLICATES))
        repeats = []
        for number in range(count):
            place, fact, line = self._rng.choice(self._arrived)
            if number % 2:
                event = event_of(fact, self._rng.choice(_OFFSETS_MINUTES))
                line = json.dumps({"traceparent": new_id(self._rng), **event}, indent=None).encode()
            repeats.append((place + self._rng.uniform(0.5, 500), fact, line))
        self.duplicates += count
        self._arrived = _in_order(self._arrived + repeats)

    def spoil(self, subscribers: int) -> None:
        """Mix in lines that are refused: at least one for each way of `_BAD`.

        A record under another key is not among them: the lines of a file have none.
        """
        spoilt = []
        assigned = [entry for entry in self._arrived if entry[1].type == "package.assigned"]
        for reason, spoil in _BAD:
            for _ in range(max(1, subscribers // _SUBSCRIBERS_PER_BAD)):
                place, fact, _ = self._rng.choice(assigned)
                # Behind the good one: of two contents under one identity the first counts.
                spoilt.append((place + self._rng.uniform(0.5, 200), fact, spoil(self._rng, fact)))
                self.bad[reason] += 1
        self._arrived = _in_order(self._arrived + spoilt)

    def _written(self, fact: Fact) -> bytes:
        return line_of(fact, self._rng.choice(_OFFSETS_MINUTES) if self._rng.random() < 0.05 else 0)


def _in_order(arrived: list[tuple[float, Fact, bytes]]) -> list[tuple[float, Fact, bytes]]:
    return sorted(arrived, key=lambda entry: entry[0])


# ---- ways to spoil a package assignment; all but the last under an identity of their own


def _other(rng: random.Random, fact: Fact, **envelope: object) -> bytes:
    return json.dumps({**event_of(fact), "id": new_id(rng), **envelope}).encode()


def _with_data(rng: random.Random, fact: Fact, **members: object) -> bytes:
    return _other(rng, fact, data={**fact.data, **members})


def _conflict(_: random.Random, fact: Fact) -> bytes:
    package = "WEBEX_VOICE" if str(fact.data["package"]).upper() != "WEBEX_VOICE" else "WEBEX_SUITE"
    return json.dumps({**event_of(fact), "data": {**fact.data, "package": package}}).encode()


_BAD: Final[tuple[tuple[Reason, Callable[[random.Random, Fact], bytes]], ...]] = (
    (Reason.NOT_JSON, lambda rng, fact: _other(rng, fact)[: rng.randrange(20, 120)]),
    (Reason.NOT_CLOUDEVENT, lambda rng, fact: _other(rng, fact, specversion="0.3")),
    (Reason.UNKNOWN_TYPE, lambda rng, fact: _other(rng, fact, type="wholesale.package.paused.v1")),
    (Reason.BAD_FIELD, lambda rng, fact: _with_data(rng, fact, package="WEBEX CALLING")),
    (Reason.BAD_FIELD, lambda rng, fact: _with_data(rng, fact, userId="both", workspaceId="both")),
    (Reason.TOO_FAR_IN_FUTURE, lambda rng, fact: _other(rng, fact, time="2100-01-01T00:00:00Z")),
    (Reason.BEFORE_HORIZON, lambda rng, fact: _other(rng, fact, time="1999-12-31T23:59:59.999Z")),
    (Reason.IDENTITY_CONFLICT, _conflict),
)
