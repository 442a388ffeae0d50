"""The demo's folder: its own, marked, locked while a demo runs in it, and made anew without touching anything else."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MARKER: Final = ".rtmeter-demo"
#: All that a demo makes: what is made anew, and nothing else.
_MADE: Final = ("catalog.jsonl", "events.jsonl", "kafka", "logs", "reports", "run", "store", "usage.html")


class FolderNotOurs(ValueError):
    """The folder holds something that the demo must not touch. The message says what to do."""


@contextlib.contextmanager
def demo_folder(folder: Path, fresh: bool) -> Iterator[Path]:
    """The folder, with nothing of an earlier demo in it, for this process alone.

    With `fresh` what an earlier demo made is removed, if its marker is there. FolderNotOurs if another demo runs in it,
    if it holds something without the marker, or an earlier demo without `fresh`.
    """
    earlier = (folder / MARKER).is_file()
    if folder.exists() and not earlier and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderNotOurs(f"{folder} is not empty and was not made by the demo: give another --data-dir")
    if earlier and not fresh:
        raise FolderNotOurs(f"{folder} holds an earlier demo: remove it, or give another --data-dir")
    folder.mkdir(parents=True, exist_ok=True)
    # The marker comes first: a demo that is cut off at any point can be made anew.
    marker = os.open(folder / MARKER, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderNotOurs(f"a demo is running in {folder}: wait for it, or give another --data-dir") from None
        for name in _MADE:
            _remove(folder / name)
        yield folder
    finally:
        os.close(marker)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
