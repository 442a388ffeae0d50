"""A disk of its own for the store, small enough to be made full."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path


class DiskNotMade(Exception):
    """This machine lets nobody mount a disk: the part of the campaign that fills it is left out. Says why."""


@contextlib.contextmanager
def small_disk(folder: Path, size_mb: int) -> Iterator["SmallDisk"]:
    """A tmpfs at a folder, gone at the end of the block. DiskNotMade where it cannot be mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "rtmeter-chaos", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        raise DiskNotMade(mounted.stderr.strip() or "mount failed")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


class SmallDisk:
    """Fills the disk to the last byte, and gives it back."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Until nothing fits any more."""
        piece = bytes(1 << 20)
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(piece)
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while os.write(file.fileno(), piece[:4096]):
                pass

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)
