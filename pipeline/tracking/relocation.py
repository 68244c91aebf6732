"""Artifact locations: MLflow's database stores absolute paths, which are read and, after a move, rewritten here.

A checkout that was moved or copied has a database whose places are those of the old folder. What lies under the
present mlruns/ at the same place as under the old one is the same thing: its counterpart.
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


def mend_database(database: Path) -> None:
    """Fix journal mode and artifact locations after `mlflow ui` created the database or the folder moved.

    ``mlflow ui`` makes experiment 0 with a location that only its server can write, and a run that ``mlflow run``
    has begun inherits it. The experiments of a checkout that was moved or copied still point at the old one.
    """
    folder = database.parent
    home = location_of(folder / "0")
    with closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")  # one writer does not stop the readers
        elsewhere = misplaced(connection, folder)
        (location,) = connection.execute("SELECT artifact_location FROM experiments WHERE experiment_id=0").fetchone()
        (runs,) = connection.execute("SELECT count(*) FROM runs WHERE experiment_id=0").fetchone()
        roots = [each.old.parent for each in elsewhere if each.table == "experiments" and each.row == 0]
        if location.startswith("mlflow-artifacts:") or (not runs and location != home):
            connection.execute("UPDATE experiments SET artifact_location=? WHERE experiment_id=0", (home,))
        for each in elsewhere:
            if each.table == "experiments" and each.old.parent in roots:
                here = location_of(folder / each.old.name)
                connection.execute("UPDATE experiments SET artifact_location=? WHERE rowid=?", (here, each.row))
        if run_id := os.environ.get("MLFLOW_RUN_ID"):
            _mend_begun_run(connection, run_id, roots)
    for sentence in left_behind(database, LOCK_SECONDS):
        log.warning("%s", sentence)


def _mend_begun_run(connection: sqlite3.Connection, run_id: str, old_roots: list[Path]) -> None:
    """Let a run that ``mlflow run`` has begun, and that has no artifacts yet, record where its experiment now does."""
    found = connection.execute(
        "SELECT artifact_uri, artifact_location FROM runs JOIN experiments USING (experiment_id) WHERE run_uuid=?",
        (run_id,),
    )
    for uri, location in found.fetchall():
        path, folder = local_path(uri), local_path(location)
        if folder and (uri.startswith("mlflow-artifacts:") or (path and path.parents[2] in old_roots)):
            place = location_of(folder / run_id / "artifacts")
            connection.execute("UPDATE runs SET artifact_uri=? WHERE run_uuid=?", (place, run_id))


LOCK_SECONDS = 60  # that a writer waits for another one
PATH_COLUMNS = {  # table -> columns with places
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
    "trace_tags": ("value",),
}

ONLY = {"trace_tags": "WHERE key = 'mlflow.artifactLocation'"}


def local_path(uri: str) -> Path | None:
    """The folder that an artifact address means to MLflow, or None if it is not one of this machine."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path if parts.scheme else uri))


def location_of(folder: Path) -> str:
    """The address of a folder: its path, or a file: address where MLflow would read the path as another one."""
    return str(folder) if quote(str(folder)) == str(folder) else folder.as_uri()


@dataclass(frozen=True)
class Misplaced:
    """A place in the database that is not under the present mlruns/ but under another one."""

    table: str
    column: str
    row: int
    root: Path  # that other mlruns/
    old: Path
    new: Path | None  # None if there is no counterpart here


def misplaced(connection: sqlite3.Connection, home: Path) -> list[Misplaced]:
    """What the database, whose artifacts belong into ``home``, has under a folder of the same name elsewhere."""
    found = []
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    for table, column in [
        (name, column) for name, columns in PATH_COLUMNS.items() if name in there for column in columns
    ]:
        for row, uri in connection.execute(f"SELECT rowid, {column} FROM {table} {ONLY.get(table, '')}"):
            path = local_path(uri or "models:/")
            if path is not None and is_elsewhere(path, home):
                root, new = _counterpart(path, home)
                found.append(Misplaced(table, column, row, root, path, new))
    return found


def is_in(path: Path, home: Path) -> bool:
    return path.is_relative_to(home) or path.resolve().is_relative_to(home.resolve())


def is_elsewhere(path: Path, home: Path) -> bool:
    """Whether a place lies in a folder named like ``home`` that is another one: that of a checkout before its move."""
    return home.name in path.parts and not is_in(path, home)


def _counterpart(path: Path, home: Path) -> tuple[Path, Path | None]:
    """The folder named like ``home`` that a path lies in, and what lies at the same place in ``home``, if anything."""
    roots = [parent for parent in reversed((path, *path.parents)) if parent.name == home.name]
    there = [(root, home / path.relative_to(root)) for root in roots]
    return next(((root, new) for root, new in there if new.exists()), (roots[-1], None))


def left_behind(database: Path, lock_seconds: int) -> list[str]:
    """The runs of a moved checkout whose artifacts lie here and are sought elsewhere, in words."""
    with closing(sqlite3.connect(database, timeout=lock_seconds)) as connection:
        moves = misplaced(connection, database.parent)
    found = Counter(move.root for move in moves if move.table == "runs" and move.new is not None)
    return [
        f"Runs that were recorded under {root}: {count}; `tmlm doctor --repair` makes them found here"
        for root, count in found.items()
    ]


def mend(database: Path, lock_seconds: int) -> list[str]:
    """Rewrite every place that has a counterpart, after a copy of the database; returns what was done, in words."""
    home = database.parent
    with closing(sqlite3.connect(database, timeout=lock_seconds)) as connection:
        moves = misplaced(connection, home)
        done = [(move, move.new) for move in moves if move.new is not None]
        said = []
        if done:
            said.append(f"Kept a copy of the database as it was: {_copy(connection, database)}")
            with connection:
                for move, new in done:
                    connection.execute(
                        f"UPDATE {move.table} SET {move.column} = ? WHERE rowid = ?", (location_of(new), move.row)
                    )
    for (table, root), count in Counter((move.table, move.root) for move, _ in done).items():
        said.append(f"{table}: {count} from {root} are found under {home} again")
    for (table, root), count in Counter((move.table, move.root) for move in moves if move.new is None).items():
        said.append(f"{table}: {count} of {root} have nothing under {home}, and are left as they were")
    return said


def _copy(connection: sqlite3.Connection, database: Path) -> Path:
    """Copy the database to a new file in its folder."""
    name = f"{database.name}.before-repair-{time.strftime('%Y%m%d-%H%M%S')}"
    copies = [database.with_name(name), *(database.with_name(f"{name}-{number}") for number in range(2, 100))]
    path = next(copy for copy in copies if not copy.exists())
    with closing(sqlite3.connect(path)) as copy:
        connection.backup(copy)
    return path
