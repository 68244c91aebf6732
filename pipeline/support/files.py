"""Atomic writes, databases that are created whole, and locks."""

import errno
import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from filelock import FileLock, Timeout

from pipeline.errors import InputError

ROOT = Path(__file__).resolve().parents[2]  # the folder of the packages models and pipeline

UNCHANGED_SECONDS = 40  # after which no program is still creating a database
LOCK_SECONDS = 60  # to wait for a lock of a database, or for another program that creates it

MARKER, LOCK, CONTENTS = "unfinished-by-tmlm", "lock", "contents"  # in a hidden folder


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

    It has the mode, the owner and the group of ``folder``, as far as this process may set them. It is hidden beside
    ``folder`` until then, and removed if the block raises; those that killed processes have left are removed first.
    Raises InputError if another process writes the same ``folder``, or if it is a mount point.
    """
    folder = folder.resolve()
    if _living_writers(folder):
        raise InputError(f"another command is writing {folder}: wait for its end, or give another --output")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _naming(folder), _hidden_folder(folder) as unfinished:
        if folder.exists():
            _copy_access(folder, unfinished)
        yield unfinished
        sync(unfinished)
        try:
            unfinished.replace(folder)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise InputError(f"{folder} has got files meanwhile: give another --output") from error
            if error.errno == errno.EBUSY:
                raise InputError(f"{folder} is a mount point: give a new folder in it as --output") from error
            raise
        sync_file(folder.parent)


def _copy_access(source: Path, target: Path) -> None:
    """Give a folder the owner and the group of another, where permitted, and its mode."""
    status = source.stat()
    with suppress(OSError):
        os.chown(target, -1, status.st_gid)
    with suppress(OSError):
        os.chown(target, status.st_uid, -1)
    target.chmod(stat.S_IMODE(status.st_mode))  # at last: a new owner takes the setgid bit away


@contextmanager
def _hidden_folder(path: Path) -> Iterator[Path]:
    """A new folder CONTENTS in a hidden one beside ``path``, which is removed when the block ends.

    The hidden one has MARKER only while or after its LOCK was held: so it is left by a killed process if it has MARKER
    and nobody holds LOCK.
    """
    hidden = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    hidden.mkdir()
    try:
        with FileLock(hidden / LOCK):
            (hidden / MARKER).touch()
            (hidden / CONTENTS).mkdir()
            yield hidden / CONTENTS
    finally:
        _remove_hidden(hidden)


def _living_writers(path: Path) -> list[Path]:
    """The hidden folders in which processes write ``path`` now; those of killed processes are removed."""
    living = []
    for marker in path.parent.glob(f".{escape(path.name)}.{'[0-9a-f]' * 8}/{MARKER}"):
        try:
            with FileLock(marker.with_name(LOCK), timeout=0):
                pass
            _remove_hidden(marker.parent)
        except Timeout:
            living.append(marker.parent)
        except OSError:  # another user's, or removed meanwhile
            continue
    return living


def _remove_hidden(hidden: Path) -> None:
    shutil.rmtree(hidden / CONTENTS, ignore_errors=True)  # before MARKER, as this process may be killed
    shutil.rmtree(hidden, ignore_errors=True)


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
    return list(path.parent.glob(f".{escape(path.name)}.*"))


def create_database(file: Path, create: Callable[[Path], object], table: str) -> None:
    """Let ``create`` make an SQLite database, whose file it is given, unless ``file`` is one already.

    ``table`` has a row once such a database is complete; one that another program is creating is waited for. The new
    one is made in a hidden folder beside ``file`` and gets its name by a hard link: a killed process or a full disk
    leaves no half of one, and no other program's file is replaced. Where that name is taken by an empty file, or links
    are not supported, the tables are copied in one transaction.
    """
    file = file.resolve()  # a symbolic link may point to a file that does not exist yet
    with FileLock(file.with_name(f".{file.name}.lock")):
        _living_writers(file)  # there is none: it removes what killed ones left
        _wait_for_creator(file, table)
        if file.exists() and file.stat().st_size:
            return
        with _hidden_folder(file) as folder:
            create(folder / "made.db")
            with opened(folder / "made.db") as made:
                made.execute("VACUUM INTO ?", (str(folder / "whole.db"),))  # without its write-ahead log
            try:
                os.link(folder / "whole.db", file)
            except OSError:
                _wait_for_creator(file, table)
                _copy_tables(folder / "whole.db", file)


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
