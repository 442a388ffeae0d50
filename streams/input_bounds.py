"""What the broker still holds of a partition of the input, against where its state ends. Pure.

Kafka answers a read from a place that is not there by going on at another one. Metering on from there would be
silent and wrong, so a worker compares before it reads, and again when a fetch does not begin where it asked.
"""

from streams.log import LogFailed

_WHAT_TO_DO = "Nothing of it was metered; docs/recovery.md says how to go on."


class InputLost(LogFailed):
    """Records of the input that the state does not hold are not there any more: stop now."""


def check_input(topic: str, partition: int, next_offset: int, begin: int, end: int) -> None:
    """InputLost unless the input [begin, end) of a partition can go on a state that reflects [0, next_offset)."""
    where = f"{topic}[{partition}]"
    if begin > next_offset:
        lost = f"the {begin - next_offset} records from {next_offset} on are neither there nor in the state"
        hint = ""
        if next_offset == 0:
            hint = "No state was found: if the entitlements topic was lost, run `rtmeter rebuild entitlements`. "
        raise InputLost(f"{where} begins at offset {begin}: {lost}. {hint}{_WHAT_TO_DO}")
    if end < next_offset:
        raise InputLost(
            f"{where} ends at offset {end}, but the state holds its records up to {next_offset}: the topic was made "
            f"anew or cut off, and what is written there now would be taken for known. {_WHAT_TO_DO}"
        )
