"""Dead letters taken up again: which copy is sent, and sending it with the link to the letter.

The link is a header of the record itself. So nothing follows the send: whenever this process is killed, either the
record is in the log with its link, or there is no record and the letter is as open as before.
"""

from collections.abc import Iterable
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message
from msgspec import Struct

from rtmeter.emit import FLUSH_SECONDS, event_producer, validate
from rtmeter.lines import FileLine
from schemas.dead_letters import DeadLetter, Origin, redrive_headers
from schemas.reasons import Reason, Refused
from schemas.routing import route_of
from schemas.topics import CATALOG, TopicNames
from streams.log import LogFailed
from streams.topics import partition_count

_POLL_SECONDS = 1.0


class Copy(Struct, frozen=True):
    """What is sent for a letter. `topic` without prefix; `partition` None: as the key decides."""

    original: Origin
    topic: str
    partition: int | None
    key: bytes | None
    value: bytes


def copy_of(letter: DeadLetter, corrected: bytes | None, now_ms: int) -> Copy:
    """The copy to send: the letter's own bytes, or corrected ones. Refused if it would be refused now.

    Topic and key are those of the copy's event, whatever the letter had: so a wrong key, or a wrong topic, is put right.
    """
    value = letter.value if corrected is None else corrected
    if value is None:
        raise Refused(Reason.NOT_JSON, "the record has no value: only a corrected copy can be sent")
    if corrected is None and letter.reason == Reason.IDENTITY_CONFLICT:
        raise Refused(Reason.IDENTITY_CONFLICT, f"the same bytes are refused again: {letter.detail}")
    route = route_of(value)
    validate(FileLine(str(letter.origin), 1, value), route, now_ms)
    # A day is closed in each partition by itself: this letter's is the one that missed it.
    return Copy(letter.origin, route.topic, letter.partition if route.every_partition else None, route.key, value)


class Redriver:
    """Sends copies. Each keeps, in a header, the origin of the letter that it takes up again."""

    def __init__(self, bootstrap_servers: str, names: TopicNames) -> None:
        self._names = names
        partition_count(bootstrap_servers, names)  # or it says that there are no topics
        self._producer = event_producer(bootstrap_servers)
        self._failure: str | None = None

    def send(self, copies: Iterable[Copy]) -> list[tuple[Origin, Origin]]:
        """Send the copies; for each the letter, and where the copy stands. LogFailed when Kafka does not take them."""
        sent: list[tuple[Origin, Origin]] = []
        for copy in copies:
            self._produce(copy, sent)
        if self._producer.flush(FLUSH_SECONDS):
            raise LogFailed("Kafka does not acknowledge the records: is it running, and are there topics?")
        self._stop_if_failed()
        return sent

    def _produce(self, copy: Copy, sent: list[tuple[Origin, Origin]]) -> None:
        topic = self._names.catalog if copy.topic == CATALOG else self._names.package_assignments
        while True:
            try:
                self._producer.produce(
                    topic,
                    copy.value,
                    copy.key,
                    -1 if copy.partition is None else copy.partition,
                    on_delivery=partial(self._on_delivery, copy.original, sent),
                    headers=redrive_headers(copy.original),  # type: ignore[arg-type]
                )
                self._producer.poll(0)
                break
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                raise LogFailed(f"{copy.original} cannot be sent again: {error.args[0].str()}") from error
        self._stop_if_failed()

    def _on_delivery(
        self, original: Origin, sent: list[tuple[Origin, Origin]], error: KafkaError | None, message: Message
    ) -> None:
        if error is not None:
            self._failure = error.str()
        else:
            sent.append((original, Origin(message.topic() or "", message.partition() or 0, message.offset() or 0)))

    def _stop_if_failed(self) -> None:
        if self._failure is not None:
            raise LogFailed(f"a copy was not delivered, its letter is open still: {self._failure}")
