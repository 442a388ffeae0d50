"""Settings that stand in files: what is secret need not stand in the environment, where every process can read it."""

from collections.abc import MutableMapping
from pathlib import Path

_PREFIX = "RTMETER_"
_SUFFIX = "_FILE"


def take_from_files(environment: MutableMapping[str, str]) -> None:
    """For each RTMETER_..._FILE set RTMETER_... to what is in the file, without the newline at its end.

    ValueError if both are set, OSError if the file cannot be read: the message says which setting, and no content.
    """
    for name in sorted(environment):
        if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
            setting = name.removesuffix(_SUFFIX)
            if setting in environment:
                raise ValueError(f"both {setting} and {name} are set")
            try:
                environment[setting] = Path(environment[name]).read_text(encoding="utf-8").removesuffix("\n")
            except OSError as error:
                raise OSError(f"{name}: {error}") from error
