"""Who is at work: the members of a consumer group."""

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_REQUEST_SECONDS = 30.0


class StillRunning(Exception):
    """A process is at work that must not be: the message says what to stop."""


def nobody_in(bootstrap_servers: str, group: str, who: str) -> None:
    """StillRunning if a consumer group has members; `who` they are, for the message."""
    members = members_of(bootstrap_servers, group)
    if members:
        raise StillRunning(f"{members} {who} at work (consumer group {group}): stop them first")


def members_of(bootstrap_servers: str, group: str) -> int:
    """How many processes are in a consumer group now; 0 if there is no such group. KafkaException if Kafka can't tell."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 2})
    future = admin.describe_consumer_groups([group], request_timeout=_REQUEST_SECONDS)[group]
    try:
        return len(future.result().members)
    except KafkaException as error:
        if error.args[0].name() == "GROUP_ID_NOT_FOUND":
            return 0
        raise
