"""Atomic writes, databases that are created whole, and locks."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from filelock import FileLock, Timeout

from pipeline.errors import InputError

ROOT = Path(__file__).resolve().parents[2]  # the folder of the packages models and pipeline

UNCHANGED_SECONDS = 40  # after which no program is still creating a database
LOCK_SECONDS = 60  # to wait for a lock of a database, or for another program that creates it


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces ``path`` when the block ends; if the block raises, ``path`` is unchanged.

    The data goes to ``.<name>.<random>`` in the same folder and is synced before the rename. A killed process leaves
    that file behind; ``leftovers`` lists such files.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")  # tempfile's would be readable by the owner only
    try:
        with _naming(path), temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_file(path.parent)  # so that the rename survives a power failure
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Open a folder that replaces ``folder``, which must be empty or absent, when the block ends.

    It is called ``.<name>.unfinished`` until then, and removed if the block raises; one that a killed process has left
    is removed first.
    """
    folder = folder.resolve()
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        with _naming(folder):
            yield unfinished
            sync(unfinished)
        unfinished.replace(folder)
        sync_file(folder.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error of the system name a path, as that of a failed write names no file."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:
            error.filename = str(path)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file with ``atomic_write``."""
    with atomic_write(path) as file:
        file.write(data)


def sync(path: Path) -> None:
    """Bring a file, or a folder with all that is below it, to the disk: what others wrote survives a power failure."""
    for name in [path] if path.is_file() else [*path.rglob("*"), path]:
        sync_file(name)


def sync_file(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def megabytes(path: Path) -> float:
    """The size of a file, or of all files in a folder, in MB."""
    files = [path] if path.is_file() else [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    size = 0
    for file in files:
        with suppress(OSError):  # it was removed meanwhile
            size += file.lstat().st_size
    return size / 1e6


def opened(database: Path | str) -> closing[sqlite3.Connection]:
    """A context manager with a connection to an SQLite file or its URI, which waits LOCK_SECONDS for locks."""
    return closing(sqlite3.connect(database, timeout=LOCK_SECONDS, uri=True))


def copy_database(source: Path, target: Path) -> None:
    """Copy an SQLite database in one transaction; a target that is there is written to, as others may have it open."""
    with opened(source) as original, opened(target) as copy:
        original.backup(copy)


def leftovers(path: Path) -> list[Path]:
    """Temporary files that killed writers of ``path`` left behind; call it only when no process is writing ``path``."""
    return list(path.parent.glob(f".{path.name}.*"))


def create_database(file: Path, create: Callable[[Path], object], table: str) -> None:
    """Let ``create`` make an SQLite database, whose file it is given, unless ``file`` is one already.

    ``table`` has a row once such a database is complete; one that another program is creating is waited for. The new
    one is made in the folder ``.<name>.unfinished`` and gets its name by a hard link: a killed process or a full disk
    leaves no half of one, and no other program's file is replaced. Where that name is taken by an empty file, or links
    are not supported, the tables are copied in one transaction.
    """
    file = file.resolve()  # a symbolic link may point to a file that does not exist yet
    folder = file.with_name(f".{file.name}.unfinished")
    with FileLock(file.with_name(f".{file.name}.lock")):
        shutil.rmtree(folder, ignore_errors=True)
        _wait_for_creator(file, table)
        if file.exists() and file.stat().st_size:
            return
        folder.mkdir()
        try:
            create(folder / "made.db")
            with opened(folder / "made.db") as made:
                made.execute("VACUUM INTO ?", (str(folder / "whole.db"),))  # without its write-ahead log
            try:
                os.link(folder / "whole.db", file)
            except OSError:
                _wait_for_creator(file, table)
                _copy_tables(folder / "whole.db", file)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _wait_for_creator(file: Path, table: str) -> None:
    """Wait until a database has a row in ``table``, while its file exists and was changed within UNCHANGED_SECONDS."""
    deadline = time.monotonic() + LOCK_SECONDS
    while file.exists() and not has_row(file, table) and time.monotonic() < deadline:
        if abs(time.time() - file.stat().st_mtime) > UNCHANGED_SECONDS:
            return
        time.sleep(0.1)


def has_row(file: Path, tables: str) -> bool:
    """Whether an SQLite file, which is not created, has these tables, with rows for the WHERE clause, if any."""
    with opened(f"{file.as_uri()}?mode=rw") as connection:
        try:
            return connection.execute(f"SELECT 1 FROM {tables}").fetchone() is not None
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return False
            raise


def _copy_tables(source: Path, target: Path) -> None:
    """Copy all tables of a database in one transaction, unless the target has tables."""
    with opened(source) as whole, opened(target) as copy, copy:
        copy.execute("BEGIN IMMEDIATE")
        if copy.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
            for statement in list(whole.iterdump())[1:-1]:  # without BEGIN and COMMIT
                copy.execute(statement)


@contextmanager
def command_lock(path: Path, refusal: str) -> Iterator[None]:
    """Hold a lock file while a command runs; raises InputError(refusal) if another process of this machine holds it."""
    try:
        held = FileLock(path).acquire(timeout=0)
    except Timeout:
        raise InputError(refusal) from None
    with held:
        yield
