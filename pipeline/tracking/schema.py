"""Upgrade the tables of MLflow's or Optuna's database, and refuse a file whose tables are not plain ones.

Migrations take several transactions. They are of a copy, which takes the place of the database's contents in one
transaction: a database that has the newest revision was upgraded whole, and any other one is as it was.
"""

import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path
from sqlite3 import Connection

from filelock import FileLock

from pipeline.errors import InputError, RecordingError
from pipeline.support.files import LOCK_SECONDS, atomic_write, opened
from pipeline.support.processes import users_of


def refuse_views(file: Path, names: Collection[str], options: str = "mode=rw") -> None:
    """Raise InputError if one of these tables of an SQLite file is a view or virtual: reading it may take for ever.

    The file, which need not be there, is opened with these ``options`` of SQLite's addresses.
    """
    if not file.exists():
        return
    # a table's text begins as SQLite writes it; %s ends a name at a NUL, as SQLite does when it reads the schema
    odd = f"""
        SELECT lower(printf('%s', tbl_name)) AS table_name FROM sqlite_master
        WHERE type NOT IN ('index', 'trigger') AND NOT (type = 'table' AND sql LIKE 'CREATE TABLE %')
        AND table_name IN ({", ".join("?" * len(names))}) LIMIT 1
    """
    with opened(f"{file.as_uri()}?{options}") as connection:
        found = connection.execute(odd, [*names]).fetchone()
    if found:
        raise InputError(
            f"{file} has a view or virtual table {found[0]} where a table should be, which may never end: it is not "
            "read; move it away, or restore a backup"
        )


def upgrade(
    file: Path, newest: str, migrate: Callable[[Path], object], counted: Collection[str], names: Collection[str]
) -> list[str]:
    """Upgrade a database, unless it has the newest revision, by ``migrate``, which is given a copy; returns messages.

    The tables with these ``names`` are read, and the rows of ``counted`` have to be as many as before. Nobody else can
    open the database meanwhile. Raises InputError while it is in use, and RecordingError if it can't be upgraded.
    """
    if not file.exists():
        return [f"{file} is not there yet"]
    kept = file.with_name(f"{file.name}.before-upgrade-{time.strftime('%Y%m%d-%H%M%S')}")
    with FileLock(file.with_name(f".{file.name}.lock"), timeout=LOCK_SECONDS), opened(file) as original:
        refuse_views(file, names)
        integrity, old, _ = _state(original, counted)
        if old is None:
            raise InputError(f"{file} has no revision in its table alembic_version: restore a backup, or move it away")
        unfinished = file.with_name(f"{file.name}.before-upgrade-unfinished")  # of a version that migrated the file
        if unfinished.exists():
            if (integrity, old) != ("ok", newest):
                raise InputError(
                    f"an upgrade of {file} was cut off, and {unfinished} is a copy of it as it was before; if nothing "
                    f"was recorded since, move {file.name} with its -wal and -shm away and rename the copy to "
                    f"{file.name}; else move the copy away; then upgrade again"
                )
            unfinished.rename(kept)
            return [f"{file} is up to date", f"Kept a copy of it as it was: {kept}"]
        if old == newest:
            return [f"{file} is up to date"]
        if users := users_of(file):  # such as a command that records a run: MLflow keeps its connections
            raise InputError(f"{file} is in use by {', '.join(users)}; stop it first")
        for leftover in file.parent.glob(f".{file.name}.before-upgrade-*"):  # of a killed upgrade
            leftover.unlink()

        original.execute("PRAGMA locking_mode = EXCLUSIVE")  # the next transaction's lock is kept after its end
        original.execute("BEGIN EXCLUSIVE")
        original.commit()
        _, old, counts = _state(original, counted)
        has = ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in counts.items())
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "copy.db")
            try:
                with opened(copy) as connection:
                    original.backup(connection)
                migrate(copy)
                with opened(copy) as connection:
                    if _state(connection, counts) != ("ok", newest, counts):
                        raise RecordingError("its rows or its revision would be others")
                    with atomic_write(kept) as part, opened(part.name) as backup:
                        original.backup(backup)
                    connection.backup(original)
            except Exception as error:
                kept.unlink(missing_ok=True)
                raise RecordingError(f"{file} can't be upgraded, and is as it was, with {has}: {error}") from error
    return [f"{file}: upgraded from {old} to {newest}; has {has}, as before", f"Kept a copy of it as it was: {kept}"]


def _state(connection: Connection, tables: Collection[str]) -> tuple[str, str | None, dict[str, int]]:
    """A database's integrity ("ok"), its revision (None without one), and the rows of those ``tables`` that it has."""
    read = connection.execute
    (integrity,) = read("PRAGMA integrity_check(1)").fetchone()
    (revision,) = read("SELECT group_concat(version_num) FROM alembic_version").fetchone()
    there = [name for (name,) in read("SELECT name FROM sqlite_master WHERE type = 'table'") if name in tables]
    return integrity, revision, {name: read(f"SELECT count(*) FROM {name}").fetchone()[0] for name in there}
