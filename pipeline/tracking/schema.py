"""Upgrade the tables of MLflow's or Optuna's database, which takes several transactions, with a backup.

It is called NAME.before-upgrade-unfinished until the end: if an upgrade is cut off, the next one first copies it back.
"""

import time
from collections.abc import Callable, Collection
from pathlib import Path

from filelock import FileLock

from pipeline.errors import InputError, RecordingError
from pipeline.support.files import LOCK_SECONDS, atomic_write, copy_database, leftovers, opened
from pipeline.support.processes import users_of


def upgrade(file: Path, newest: str, migrate: Callable[[], object], tables: Collection[str]) -> list[str]:
    """Upgrade a database by ``migrate``, unless it has the newest revision, and check it; returns messages.

    Commands that open it wait meanwhile. Raises InputError while it is in use, or if it was used since an upgrade was
    cut off, and RecordingError if it can't be upgraded: then it is as it was before.
    """
    backup = file.with_name(f"{file.name}.before-upgrade-unfinished")
    if not file.exists():
        return [f"{file} is not there yet"]
    with FileLock(file.with_name(f".{file.name}.lock"), timeout=LOCK_SECONDS):
        original = backup if backup.exists() else file
        _, old, counts = _state(original, tables)
        if original == file and old == newest:
            return [f"{file} is up to date"]
        if users := users_of(file):  # such as a command that records a run: MLflow keeps its connections
            raise InputError(f"{file} is in use by {', '.join(users)}; stop it first")
        if original == backup:
            if not _state(file, tables)[2].items() <= counts.items():  # a table may be missing
                raise InputError(f"{file} was used since its upgrade was cut off: move {backup} away to keep it so")
            copy_database(backup, file)
        else:
            for path in leftovers(backup):
                path.unlink()
            with atomic_write(backup) as part:
                copy_database(file, Path(part.name))
        has = ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in counts.items())
        try:
            migrate()
            if _state(file, counts) != ("ok", newest, counts):
                raise RecordingError("its rows or its revision would be others")
        except Exception as error:
            copy_database(backup, file)
            backup.unlink()
            raise RecordingError(f"{file} can't be upgraded, and is as it was, with {has}: {error}") from error
        kept = backup.rename(file.with_name(f"{file.name}.before-upgrade-{time.strftime('%Y%m%d-%H%M%S')}"))
    return [f"{file}: upgraded from {old} to {newest}; has {has}, as before", f"Kept a copy of it as it was: {kept}"]


def _state(file: Path, tables: Collection[str]) -> tuple[str, str, dict[str, int]]:
    """The integrity of a database ("ok"), its revision, and the numbers of rows of those ``tables`` that it has."""
    with opened(file) as connection:
        read = connection.execute
        there = [name for (name,) in read("SELECT name FROM sqlite_master") if name in tables]
        integrity, revision = read("SELECT * FROM pragma_integrity_check, alembic_version").fetchone()
        return integrity, revision, {name: read(f"SELECT count(*) FROM {name}").fetchone()[0] for name in there}
