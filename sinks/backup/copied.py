"""Files copied with their checksums, and held to them."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

_CHUNK = 1 << 20


class CopiedFile(Struct, frozen=True):
    """A file of a backup, by its path within it. `sha256`: hexadecimal."""

    path: str
    sha256: str
    size: int


class BackupDamaged(Exception):
    """A backup is not what its manifest says: restore from another one."""


def copy_file(source: Path, root: Path, path: str) -> CopiedFile:
    """Copy a file to `path` under `root`; its checksum is that of the bytes that were written."""
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reading, target.open("xb") as writing:
        while chunk := reading.read(_CHUNK):
            digest.update(chunk)
            writing.write(chunk)
            size += len(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return CopiedFile(path, digest.hexdigest(), size)


def copy_folder(source: Path, root: Path, path: str) -> list[CopiedFile]:
    """Copy all files below a folder; none if it is not there. A file that goes away meanwhile is left out."""
    copied = []
    for file in sorted(source.rglob("*")):
        if file.is_file():
            try:
                copied.append(copy_file(file, root, f"{path}/{file.relative_to(source)}"))
            except FileNotFoundError:
                continue
    return copied


def verify(root: Path, files: list[CopiedFile], advance: Callable[[int], None]) -> None:
    """BackupDamaged if a file is missing, or is not what was written. `advance` hears of bytes."""
    for file in files:
        path = root / file.path
        if not path.is_file():
            raise BackupDamaged(f"{path} is missing")
        digest = hashlib.sha256()
        with path.open("rb") as reading:
            while chunk := reading.read(_CHUNK):
                digest.update(chunk)
                advance(len(chunk))
        if digest.hexdigest() != file.sha256:
            raise BackupDamaged(f"{path} is not what was written: its checksum is {digest.hexdigest()}")
