"""`rtmeter backup` and `rtmeter restore`: the embedded store, the register of reports, and the report files.

A backup, step by step, and what a crash after each step leaves:

1. Freeze the tables of the store (`sinks.backup`).             Hard links in the engine's folder, which cost space once
                                                                the parts are merged: the next backup removes them.
2. Copy them, the register, the report files, with checksums.   `<folder>.part`, which no restore takes.
3. Write the manifest; give the folder its name.                The backup.
4. Let go of the frozen parts.                                  As after 1, beside the backup.

A restore:

1. Hold every file to the manifest.                             Nothing.
2. Make the store from the parts beside the old one; count.     `chdb.restoring`, which the next restore removes.
3. Put the old store, the register and the report files aside.  No store, or not all: the next restore goes on.
4. Put the restored ones in their place.                        As after 3, or all is restored.
5. Remove what was put aside.                                   `*.replaced`, which the next restore removes.

Kafka is not in it: its topics are what refills the store from the positions of the backup on.
"""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct

from rtmeter.installation import Installation
from rtmeter.options import now_ms
from rtmeter.output import progress_bar, say
from sinks.backup.copied import BackupDamaged, CopiedFile, copy_file, copy_folder, verify
from sinks.backup.frozen import freeze, frozen_tables, thaw
from sinks.backup.store_copy import CopiedTable, copy_tables, make_store
from sinks.positions import stored_positions
from sinks.store import ReadableStore, Store, StoreUnavailable, embedded_engine, lock_embedded, open_embedded
from sinks.store_server import RemoteStore

_FORMAT = 1
_LOCK = "backup.lock"
_MANIFEST = "manifest.json"
_PART, _RESTORING, _REPLACED = ".part", ".restoring", ".replaced"
_REGISTER, _REPORTS, _KEYS = "billing.db", "reports", "keys"


class StoredPosition(Struct, frozen=True):
    """Up to where a partition of a topic is in the backup."""

    topic: str
    partition: int
    offset: int


class Manifest(Struct, frozen=True):
    """What a backup is. `positions` were read before the tables were frozen: all below them is in it."""

    format: int
    rtmeter: str
    engine: str
    created_ms: int
    tables: list[CopiedTable]
    positions: list[StoredPosition]
    files: list[CopiedFile]


def back_up(installation: Installation, folder: Path, *, with_keys: bool) -> None:
    """Copy the installation's store, register and reports to a folder that is not there yet, also while it runs.

    FileExistsError; StoreUnavailable if there is no store, or it is starting or stopping.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already: a backup is a folder of its own")
    engine = embedded_engine(installation.store_folder)
    if not engine.exists():
        raise StoreUnavailable(f"there is no store in {installation.store_folder}")
    unfinished = folder.with_name(folder.name + _PART)
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    data = installation.data_dir
    with _frozen_store(installation.store_folder) as (store, name, positions), progress_bar() as bar:
        tables = frozen_tables(store, engine, name)
        task = bar.add_task("tables copied", total=len(tables))
        ((engine_version,),) = store.query("SELECT version()")
        copied, files = copy_tables(tables, unfinished, lambda count: bar.advance(task, count))
    files += _copy_register(data / _REGISTER, unfinished)
    # After the register: a report that it calls completed has its file.
    files += copy_folder(data / _REPORTS, unfinished, _REPORTS)
    if with_keys:
        files += copy_folder(data / _KEYS, unfinished, _KEYS)
    manifest = Manifest(_FORMAT, version("rtmeter"), engine_version, now_ms(), copied, positions, files)
    (unfinished / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    os.sync()
    unfinished.rename(folder)
    size = sum(file.size for file in files)
    say(
        f"{folder}: {len(copied)} tables, {len(files)} files, {size} bytes"
        + ("" if with_keys else "; keys are not in it")
    )


def restore(installation: Installation, folder: Path, *, replace: bool) -> None:
    """Put a backup's store, register and reports into the data folder; keys if it has them. Nothing may run there.

    BackupDamaged, before anything is touched; FileExistsError without `replace` if there is a store or register;
    StoreUnavailable if a process has the store open.
    """
    manifest = _manifest_of(folder)
    data, engine = installation.data_dir, embedded_engine(installation.store_folder)
    names = [name for name in (_REGISTER, _REPORTS, _KEYS) if (folder / name).exists()]
    targets = [engine, *(data / name for name in names)]
    if not replace and any(target.exists() for target in targets):
        there = ", ".join(str(target) for target in targets if target.exists())
        raise FileExistsError(f"there already: {there}. To put the backup in their place, say --replace")
    if installation.running_api() is not None:
        raise StoreUnavailable(f"an API runs on {data}: stop it first")
    with progress_bar() as bar:
        task = bar.add_task("bytes checked", total=sum(file.size for file in manifest.files))
        verify(folder, manifest.files, lambda count: bar.advance(task, count))
    with _locked(installation.store_folder), progress_bar() as bar:
        task = bar.add_task("tables restored", total=sum(table.rows is not None for table in manifest.tables))
        for target in targets:
            _remove(_beside(target, _RESTORING))
        make_store(folder, manifest.tables, _beside(engine, _RESTORING), lambda count: bar.advance(task, count))
        for name in names:
            source, target = folder / name, _beside(data / name, _RESTORING)
            _ = shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
        os.sync()
        for target in targets:
            _put_aside(target)
            _beside(target, _RESTORING).rename(target)
        for target in targets:
            _remove(_beside(target, _REPLACED))
    behind = sum(position.offset for position in manifest.positions)
    say(f"restored: {len(manifest.tables)} tables; {behind} records of the topics are in them")
    if _KEYS not in names:
        say("keys are not in the backup: tokens and links of before are good if the folder `keys` is still there")


@contextlib.contextmanager
def _frozen_store(folder: Path) -> Iterator[tuple[ReadableStore, str, list[StoredPosition]]]:
    """The store, the name that its tables are frozen under, and the positions read before that.

    Through the process that has it open, or in this one. StoreUnavailable if another backup is under way.
    """
    engine = embedded_engine(folder)
    name = uuid.uuid4().hex
    with (folder / _LOCK).open("a") as lock, contextlib.ExitStack() as opened:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreUnavailable(f"another backup of {folder} is under way") from None
        for left in (engine / "shadow").glob("*/"):
            thaw(engine, left.name)
        store: Store | RemoteStore
        try:
            store = RemoteStore(folder)
        except OSError:
            store = opened.enter_context(open_embedded(folder))
        positions = [StoredPosition(*key, offset) for key, offset in sorted(stored_positions(store).items())]
        try:
            if isinstance(store, RemoteStore):
                store.freeze(name)
            else:
                freeze(store, name)
            yield store, name, positions
        finally:
            thaw(engine, name)


def _copy_register(file: Path, root: Path) -> list[CopiedFile]:
    """A consistent copy of the relational store, whoever writes to it meanwhile."""
    if not file.exists():
        return []
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / file.name
        with (
            contextlib.closing(sqlite3.connect(file)) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
        return [copy_file(copy, root, file.name)]


def _manifest_of(folder: Path) -> Manifest:
    try:
        manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError) as error:
        raise BackupDamaged(f"{folder} is no backup: {error}") from error
    if manifest.format != _FORMAT:
        raise BackupDamaged(f"{folder} has format {manifest.format}, and this rtmeter reads {_FORMAT}")
    return manifest


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        lock = lock_embedded(folder)
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{error}: stop `rtmeter up` first") from error
    try:
        yield
    finally:
        os.close(lock)


def _put_aside(target: Path) -> None:
    """Step 3 for one file or folder. Where it is gone already, what a broken-off restore put aside is still there."""
    if target.exists():
        _remove(_beside(target, _REPLACED))
        target.rename(_beside(target, _REPLACED))
    # What SQLite had not yet written to the old register is no part of the restored one.
    for suffix in ("-wal", "-shm"):
        target.with_name(target.name + suffix).unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
