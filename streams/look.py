"""A process that reads partitions looks at itself every few seconds: how far it is behind, and whether it is well."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Generic, TypeVar

from confluent_kafka import KafkaException

from streams.health import Health, reader_health
from streams.lag import Lag, LagWatch

logger = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
#: How long the broker may take to answer. Shorter than the time between looks, so that they come as often when it is away.
REQUEST_SECONDS = 4.0

#: A partition that stands still for so long with records to read is told of in the log, long before it is an illness.
_STILL_MS = 30_000

Key = TypeVar("Key")


class Look(ABC, Generic[Key]):
    """What the looks found so far. `Key` names a partition."""

    #: What it does until it is ready, and what is to be done with the records: for the line of its health.
    waits_for: ClassVar[str]
    does: ClassVar[str]

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._watch = LagWatch[Key]()
        self._lags: dict[Key, Lag] = {}
        self._looked_ms = now_ms()
        self._told: set[Key] = set()

    def look(self) -> None:
        """Look once. What fails is counted and said, and never stops the work: then nothing new is known."""
        try:
            self._look_once()
        except Exception:
            self._failed()
            logger.exception("a look at this process failed")

    def health(self) -> Health:
        """As of now, from what the last look found."""
        return reader_health(
            self._now_ms(),
            ready=self._ready(),
            waits_for=self.waits_for,
            lags=self._lags,
            looked_ms=self._looked_ms,
            does=self.does,
        )

    def _look_once(self) -> None:
        # Positions before ends, so that a lag is never hidden.
        positions = self._positions()
        ends: Mapping[Key, int] | None = None
        try:
            ends = self._ends_of(positions)
        except KafkaException as error:
            self._failed()
            logger.warning("where the topics end is not known: %s", error)
        self._looked_ms = self._now_ms()
        self._lags = self._watch.look(self._looked_ms, positions, ends, self._taken_ms())
        self._tell_still(positions)
        self._show(self._lags)

    def _tell_still(self, positions: Mapping[Key, int]) -> None:
        still = {key: lag for key, lag in self._lags.items() if lag.still_ms >= _STILL_MS}
        for key in still.keys() - self._told:
            about = {"offset": positions[key], "records": still[key].records}
            logger.warning("partition %s: records to %s, and nothing moves", key, self.does, extra=about)
        self._told = set(still)

    @abstractmethod
    def _ready(self) -> bool:
        """Whether it does its work."""

    @abstractmethod
    def _positions(self) -> Mapping[Key, int]:
        """Of each partition that is read, the offset up to which everything is done."""

    @abstractmethod
    def _ends_of(self, positions: Mapping[Key, int]) -> Mapping[Key, int]:
        """Where these partitions end; KafkaException if that can't be told."""

    @abstractmethod
    def _taken_ms(self) -> Mapping[Key, int]:
        """Append time of the last record taken of each."""

    @abstractmethod
    def _show(self, lags: Mapping[Key, Lag]) -> None:
        """Export what was found."""

    @abstractmethod
    def _failed(self) -> None:
        """Count a look that failed, or that the broker did not answer."""
