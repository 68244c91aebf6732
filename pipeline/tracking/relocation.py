"""Artifact locations in MLflow's database: absolute paths, which have to be rewritten after a checkout is moved."""

import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pipeline.support.files import copy_database, opened

PATH_COLUMNS = (  # tables and columns with artifact locations
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def local_path(uri: str) -> Path | None:
    """The local path of an artifact URI, as MLflow parses it; None if it is not local."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path if parts.scheme else uri))


def location_of(folder: Path) -> str:
    """The artifact location of a folder: its path, or a file: URI if MLflow would decode the path to another one."""
    return str(folder) if quote(str(folder)) == str(folder) else folder.as_uri()


def prepare_database(database: Path) -> None:
    """Set the journal mode of a new database, and let experiment 0 keep its artifacts beside the database.

    A bare ``mlflow ui`` creates experiment 0 with a location that only its server can write, which the first run that
    ``mlflow run`` starts inherits.
    """
    here = location_of(database.parent / "0")
    with opened(database) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")  # so that a writer does not block readers
        connection.execute("UPDATE experiments SET artifact_location=? WHERE experiment_id=0", (here,))
        begun = "experiment_id=0 AND artifact_uri LIKE 'mlflow-artifacts:%'"
        connection.execute(f"UPDATE runs SET artifact_uri=?||'/'||run_uuid||'/artifacts' WHERE {begun}", (here,))


def old_folder(location: str, home: Path) -> Path | None:
    """The mlruns/ before a move, given the location of experiment 0 and the present one; None if they are the same."""
    path = local_path(location)
    return None if path is None or path.parent.resolve() == home.resolve() else path.parent


def repair(database: Path) -> list[str]:
    """Rewrite the locations of a moved checkout, after copying its database; returns one message for each table."""
    home = database.parent
    with opened(database) as connection:
        (location,) = connection.execute("SELECT artifact_location FROM experiments WHERE experiment_id=0").fetchone()
        old = old_folder(location, home)
        if old is None:
            return []
        copy = database.with_name(f"{database.name}.before-repair-{time.strftime('%Y%m%d-%H%M%S')}")
        copy_database(database, copy)
        moved = Counter[str]()
        with connection:
            for table, column in PATH_COLUMNS:
                for row, uri in connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall():
                    path = local_path(uri or "models:/")
                    if path is not None and path.is_relative_to(old):
                        moved[table] += 1
                        new = location_of(home / path.relative_to(old))
                        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, row))
    return [
        f"Kept a copy of the database as it was: {copy}",
        *(f"{table}: {count} moved from {old} to {home}" for table, count in moved.items()),
    ]
