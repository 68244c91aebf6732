"""Artifact locations in MLflow's database: absolute paths, which have to be rewritten after a checkout is moved.

After a checkout is moved or copied, its database still refers to the old folder. A file at the same relative path under
the present mlruns/ is the counterpart of the recorded one.
"""

import logging
import os
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

log = logging.getLogger(__name__)

LOCK_SECONDS = 60  # for which a writer waits for a lock
PATH_COLUMNS = {  # table -> columns with artifact locations
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
    "trace_tags": ("value",),
}
ONLY = {"trace_tags": "WHERE key = 'mlflow.artifactLocation'"}


def repair_database(database: Path) -> None:
    """Set the journal mode, and fix the artifact locations of experiments after a move or after ``mlflow ui``.

    ``mlflow ui`` creates experiment 0 with a location that only its server can write, which a run started by
    ``mlflow run`` inherits. The experiments of a moved or copied checkout still refer to the old folder.
    """
    folder = database.parent
    home = location_of(folder / "0")
    with closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")  # so that a writer does not block readers
        elsewhere = misplaced(connection, folder)
        (location,) = connection.execute("SELECT artifact_location FROM experiments WHERE experiment_id=0").fetchone()
        (runs,) = connection.execute("SELECT count(*) FROM runs WHERE experiment_id=0").fetchone()
        roots = [place.old.parent for place in elsewhere if place.table == "experiments" and place.row == 0]
        if location.startswith("mlflow-artifacts:") or (not runs and location != home):
            connection.execute("UPDATE experiments SET artifact_location=? WHERE experiment_id=0", (home,))
        for place in elsewhere:
            if place.table == "experiments" and place.old.parent in roots:
                here = location_of(folder / place.old.name)
                connection.execute("UPDATE experiments SET artifact_location=? WHERE rowid=?", (here, place.row))
        if run_id := os.environ.get("MLFLOW_RUN_ID"):
            _repair_begun_run(connection, run_id, roots)
    for sentence in left_behind(database, LOCK_SECONDS):
        log.warning("%s", sentence)


def _repair_begun_run(connection: sqlite3.Connection, run_id: str, old_roots: list[Path]) -> None:
    """Move the artifact location of a run that ``mlflow run`` has just started to that of its experiment."""
    rows = connection.execute(
        "SELECT artifact_uri, artifact_location FROM runs JOIN experiments USING (experiment_id) WHERE run_uuid=?",
        (run_id,),
    )
    for uri, location in rows.fetchall():
        path, folder = local_path(uri), local_path(location)
        if folder and (uri.startswith("mlflow-artifacts:") or (path and path.parents[2] in old_roots)):
            here = location_of(folder / run_id / "artifacts")
            connection.execute("UPDATE runs SET artifact_uri=? WHERE run_uuid=?", (here, run_id))


def local_path(uri: str) -> Path | None:
    """The local path of an artifact URI, as MLflow parses it; None if it is not local."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path if parts.scheme else uri))


def location_of(folder: Path) -> str:
    """The artifact location of a folder: its path, or a file: URI if MLflow would decode the path to another one."""
    return str(folder) if quote(str(folder)) == str(folder) else folder.as_uri()


@dataclass(frozen=True)
class Misplaced:
    """An artifact location in the database that lies under an mlruns/ other than the present one."""

    table: str
    column: str
    row: int
    root: Path  # the other mlruns/
    old: Path
    new: Path | None  # None if there is no counterpart here


def misplaced(connection: sqlite3.Connection, home: Path) -> list[Misplaced]:
    """Artifact locations in the database that lie in another folder with the same name as ``home``."""
    found = []
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, column in [
        (name, column) for name, columns in PATH_COLUMNS.items() if name in tables for column in columns
    ]:
        for row, uri in connection.execute(f"SELECT rowid, {column} FROM {table} {ONLY.get(table, '')}"):
            path = local_path(uri or "models:/")
            if path is not None and is_elsewhere(path, home):
                root, new = _counterpart(path, home)
                found.append(Misplaced(table, column, row, root, path, new))
    return found


def is_in(path: Path, home: Path) -> bool:
    """Whether a path is in a folder, as it is or with symbolic links resolved."""
    return path.is_relative_to(home) or path.resolve().is_relative_to(home.resolve())


def is_elsewhere(path: Path, home: Path) -> bool:
    """Whether a path lies in another folder with the same name as ``home``, such as that before a move."""
    return home.name in path.parts and not is_in(path, home)


def _counterpart(path: Path, home: Path) -> tuple[Path, Path | None]:
    """The folder with the same name as ``home`` that contains a path, and the path's counterpart in ``home``."""
    roots = [parent for parent in reversed((path, *path.parents)) if parent.name == home.name]
    candidates = [(root, home / path.relative_to(root)) for root in roots]
    return next(((root, new) for root, new in candidates if new.exists()), (roots[-1], None))


def left_behind(database: Path, lock_seconds: int) -> list[str]:
    """Messages about runs whose artifacts are here but recorded under the old folder of the checkout."""
    with closing(sqlite3.connect(database, timeout=lock_seconds)) as connection:
        moves = misplaced(connection, database.parent)
    counts = Counter(move.root for move in moves if move.table == "runs" and move.new is not None)
    return [
        f"Runs that were recorded under {root}: {count}; `tmlm doctor --repair` updates their location"
        for root, count in counts.items()
    ]


def mend(database: Path, lock_seconds: int) -> list[str]:
    """Back up the database, then rewrite every location that has a counterpart; returns messages."""
    home = database.parent
    with closing(sqlite3.connect(database, timeout=lock_seconds)) as connection:
        moves = misplaced(connection, home)
        done = [(move, move.new) for move in moves if move.new is not None]
        messages = []
        if done:
            messages.append(f"Kept a copy of the database as it was: {_copy(connection, database)}")
            with connection:
                for move, new in done:
                    connection.execute(
                        f"UPDATE {move.table} SET {move.column} = ? WHERE rowid = ?", (location_of(new), move.row)
                    )
    for (table, root), count in Counter((move.table, move.root) for move, _ in done).items():
        messages.append(f"{table}: {count} moved from {root} to {home}")
    for (table, root), count in Counter((move.table, move.root) for move in moves if move.new is None).items():
        messages.append(f"{table}: {count} under {root} have no counterpart under {home} and are unchanged")
    return messages


def _copy(connection: sqlite3.Connection, database: Path) -> Path:
    """Copy the database to a new file in its folder."""
    name = f"{database.name}.before-repair-{time.strftime('%Y%m%d-%H%M%S')}"
    copies = [database.with_name(name), *(database.with_name(f"{name}-{number}") for number in range(2, 100))]
    path = next(copy for copy in copies if not copy.exists())
    with closing(sqlite3.connect(path)) as copy:
        connection.backup(copy)
    return path
