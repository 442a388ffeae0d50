"""Where an installation keeps its things, and how its Kafka is reached."""

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rtmeter.kafka_server import EmbeddedKafka, running_bootstrap
from schemas.topics import TopicNames
from streams.topics import create_topics


@dataclass(frozen=True, slots=True)
class Installation:
    """The common options. `bootstrap_servers` None: Kafka is embedded, in the data folder.

    `store_dsn` None: the store is embedded too.
    """

    data_dir: Path
    bootstrap_servers: str | None
    topic_prefix: str
    store_dsn: str | None = None

    @property
    def names(self) -> TopicNames:
        return TopicNames.with_prefix(self.topic_prefix)

    @property
    def kafka_folder(self) -> Path:
        return self.data_dir / "kafka"

    @property
    def store_folder(self) -> Path:
        return self.data_dir / "store"

    @property
    def log_folder(self) -> Path:
        return self.data_dir / "logs"

    @property
    def keys_folder(self) -> Path:
        """The keys of an embedded API: of tokens and of download links."""
        return self.data_dir / "keys"

    @property
    def api_url_file(self) -> Path:
        """Names the URL of the API, while one runs."""
        return self.data_dir / "run" / "api.url"

    def running_api(self) -> str | None:
        """The URL of the folder's own API, if one runs."""
        try:
            with self.api_url_file.open() as announced:
                try:
                    fcntl.flock(announced, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:  # held by whoever serves it
                    return announced.read() or None
        except FileNotFoundError:
            pass
        return None

    def reachable_kafka(self) -> str | None:
        """The servers of a Kafka that runs already: the one given, or the folder's."""
        return self.bootstrap_servers or running_bootstrap(self.kafka_folder)

    @contextlib.contextmanager
    def kafka(self, partitions: int = 12) -> Iterator[str]:
        """The bootstrap servers of the given Kafka, or of the folder's, which is started for the while if it is not
        running. KafkaUnavailable or TopicMismatch if that cannot be.

        The embedded Kafka has its topics afterwards; those of a given one are `rtmeter topics create`'s.
        """
        running = self.reachable_kafka()
        if running is not None:
            if self.bootstrap_servers is None:
                create_topics(running, prefix=self.topic_prefix, partitions=partitions)
            yield running
            return
        self.kafka_folder.mkdir(parents=True, exist_ok=True)
        with EmbeddedKafka(self.kafka_folder) as broker:
            servers = broker.start()
            create_topics(servers, prefix=self.topic_prefix, partitions=partitions)
            yield servers
