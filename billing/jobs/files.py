"""Where finished reports are kept: a local folder, or anything else that fsspec reaches."""

import hashlib
import os
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from billing.jobs.reports import ReportFile

_HALF = ".part"
#: After so many bytes more a local file is sent to the disk, while it is written on.
_SYNCED_BYTES = 8_388_608


class ReportFiles:
    """The files of reports, each under a name of its own; none is ever seen half-written under it."""

    def __init__(self, url: str, **options: Any) -> None:
        """`url`: `file:///folder`, `s3://bucket/folder`, ...; `options` are the file system's own."""
        self._system, self._root = fsspec.core.url_to_fs(url, **options)
        self._system.makedirs(self._root, exist_ok=True)

    def write(self, name: str, chunks: Iterable[bytes]) -> ReportFile:
        """Write a file whole, chunk by chunk; if `chunks` fails nothing of it stays."""
        half = f"{self._path(name)}.{uuid.uuid4().hex}{_HALF}"
        digest, size_bytes = hashlib.sha256(), 0
        try:
            with self._system.open(half, "wb") as file, self._to_disk(file) as written:
                for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size_bytes += len(chunk)
                    written(size_bytes)
            self._system.mv(half, self._path(name))
        except BaseException:
            self.delete(half.removeprefix(self._root + "/"))
            raise
        return ReportFile(name, digest.hexdigest(), size_bytes)

    def open(self, name: str) -> IO[bytes]:
        """A file for reading, at any place; FileNotFoundError if it is not there."""
        return cast("IO[bytes]", self._system.open(self._path(name), "rb"))

    def delete(self, name: str) -> None:
        """Remove a file; it may be gone already."""
        try:
            self._system.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def names(self) -> list[str]:
        """All files, half-written ones included."""
        return [path.removeprefix(self._root + "/") for path in self._system.ls(self._root, detail=False)]

    def sweep(self, kept: Collection[str], before_ms: int) -> list[str]:
        """Remove what belongs to no report and was last written before then: what killed jobs and deletions left."""
        swept = []
        for name in self.names():
            if name not in kept and self._written_ms(name) < before_ms:
                self.delete(name)
                swept.append(name)
        return swept

    @contextmanager
    def _to_disk(self, file: IO[bytes]) -> Iterator[Callable[[int], None]]:
        """Have a local file on the disk at the end: otherwise its name could survive a power cut and the bytes not.

        Who writes says how many bytes there are by now. The disk works while it writes: at the end of a large report
        it would be half a second to wait for.
        """
        if not isinstance(self._system, LocalFileSystem):
            yield lambda size_bytes: None
            return
        with ThreadPoolExecutor(1, thread_name_prefix="to-disk") as syncing:
            under_way: Future[None] | None = None
            synced_bytes = 0

            def written(size_bytes: int) -> None:
                nonlocal under_way, synced_bytes
                if size_bytes - synced_bytes >= _SYNCED_BYTES and (under_way is None or under_way.done()):
                    if under_way is not None:
                        under_way.result()  # a disk that failed
                    under_way, synced_bytes = syncing.submit(os.fdatasync, file.fileno()), size_bytes

            yield written
            if under_way is not None:
                under_way.result()
            file.flush()
            os.fsync(file.fileno())

    def _written_ms(self, name: str) -> int:
        return int(self._system.modified(self._path(name)).timestamp() * 1000)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"
