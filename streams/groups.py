"""Who is at work: the members of a consumer group."""

import tenacity
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

_REQUEST_SECONDS = 30.0
#: Who was killed, or stopped at once, is a member until its session has run out: by default ten seconds.
_LEAVING_SECONDS = 15.0
_LOOK_AGAIN_SECONDS = 0.5


class StillRunning(Exception):
    """A process is at work that must not be: the message says what to stop."""


def nobody_in(bootstrap_servers: str, group: str, who: str) -> None:
    """StillRunning if a consumer group goes on having members; `who` they are, for the message."""
    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(StillRunning),
        stop=tenacity.stop_after_delay(_LEAVING_SECONDS),
        wait=tenacity.wait_fixed(_LOOK_AGAIN_SECONDS),
        reraise=True,
    ):
        with attempt:
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
