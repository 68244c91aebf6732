"""Upgrade the tables of MLflow's or Optuna's database to a newer revision, with a backup.

That is more than one transaction. Until it ends, the backup is called NAME.before-upgrade-unfinished: if it is cut off,
the next one first copies that back.
"""

import sqlite3
import time
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from pipeline.errors import InputError, RecordingError
from pipeline.support.files import atomic_write, copy_database, leftovers
from pipeline.support.processes import users_of
from pipeline.tracking.relocation import LOCK_SECONDS


def upgrade(
    file: Path,
    newest: str,
    migrate: Callable[[], object],
    tables: Collection[str],
    running: Callable[[Path], list[str]] = lambda database: [],
) -> list[str]:
    """Upgrade a database by ``migrate``, unless it has the newest revision, and check it; returns messages.

    Commands that open it wait meanwhile. Raises InputError if a process has it open, a run is ``running``, or it was
    used since an upgrade was cut off, and RecordingError if it can't be upgraded: then it is as it was before.
    """
    backup = file.with_name(f"{file.name}.before-upgrade-unfinished")
    if not file.exists():
        return [f"{file} is not there yet"]
    with FileLock(file.with_name(f".{file.name}.lock"), timeout=LOCK_SECONDS):
        original = backup if backup.exists() else file
        old, counts = _state(original, tables)
        if original == file and old == newest:
            return [f"{file} is up to date"]
        if users := [*running(original), *users_of(file)]:
            raise InputError(f"{file} is in use by {', '.join(users)}, such as a run or a UI; stop it first")
        if original == file:
            for path in leftovers(backup):
                path.unlink()
            with atomic_write(backup) as part:
                copy_database(file, Path(part.name))
        elif not _state(file, tables)[1].items() <= counts.items():  # of which a table may be missing
            raise InputError(f"{file} was used since its upgrade was cut off: move {backup} away to keep it as it is")
        else:
            copy_database(backup, file)
        try:
            migrate()
            if (now := _state(file, counts)) != (newest, counts):
                raise RecordingError(f"{(newest, counts)} was expected, and {now} came out")
        except Exception as error:
            copy_database(backup, file)
            backup.unlink()
            reason = str(error).partition("\n")[0]
            raise RecordingError(f"{file} can't be upgraded, and is as it was: {reason}") from error
        kept = backup.rename(file.with_name(f"{file.name}.before-upgrade-{time.strftime('%Y%m%d-%H%M%S')}"))
    return [f"{file}: upgraded from {old} to {newest}; still has {counts}", f"Kept a copy of it as it was: {kept}"]


def _state(file: Path, tables: Collection[str]) -> tuple[str, dict[str, int]]:
    """The revision of a database, and the rows of those ``tables`` that it has. Raises an error if it is damaged."""
    with closing(sqlite3.connect(file, timeout=LOCK_SECONDS)) as connection:
        for (state,) in connection.execute("PRAGMA integrity_check(1)"):
            if state != "ok":
                raise sqlite3.DatabaseError(f"malformed: {state}")
        there = [name for (name,) in connection.execute("SELECT name FROM sqlite_master") if name in tables]
        counts = {name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in there}
        return connection.execute("SELECT version_num FROM alembic_version").fetchone()[0], counts
