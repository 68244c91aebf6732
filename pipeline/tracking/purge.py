"""Remove what a deletion names, rows and files, and nothing else: ``mlflow gc`` purges what others have deleted, too.

Rows and servers may say anything: ``files_of`` decides which files go.
"""

import os
import re
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import text

from pipeline.errors import InputError, without_secrets
from pipeline.results import SEARCH, Kind
from pipeline.support.files import opened
from pipeline.text.cache import cache_dir
from pipeline.text.corpus import prepared_dir
from pipeline.tracking import artifacts, registry, schema
from pipeline.tracking import store as stores
from pipeline.tracking.names import WEIGHTS
from pipeline.tracking.queries import equals
from pipeline.tracking.recorded import RecordedRun
from pipeline.tracking.relocation import local_path
from pipeline.tracking.store import client, setup, store_errors, tolerating
from pipeline.tracking.ui import views

LINKED = "input_uuid IN (SELECT input_uuid FROM inputs WHERE source_id = :id OR destination_id = :id)"
OF_RUN = {"run": (), "weights": ("checkpoints", "earlier/*/checkpoints"), "page": (artifacts.PAGE_FILE,)}  # what goes
OWN_IDS = {**dict.fromkeys(OF_RUN, "[0-9a-f]{32}"), "logged model": "m-[0-9a-f]{32}", "text": r"(?!\.{1,2}\Z)[^/\0]+"}
ROWS = {  # queries of where the artifacts of a run or a model are, and of its run
    **dict.fromkeys(OF_RUN, "SELECT artifact_uri, run_uuid FROM runs WHERE run_uuid = ?"),
    "logged model": "SELECT artifact_location, source_run_id FROM logged_models WHERE model_id = ?",
}
NO_STORE = re.compile("no such (table|column)|file is not a database")  # errors of SQLite
BY_DOCTOR = re.compile(r"\.before-(repair|upgrade)-")  # in the name of a copy
MARKED = "runs and weights are only marked as deleted, and their files stay"


@dataclass(frozen=True)
class Thing:
    """One thing to delete; ``location`` is where a run or a model says that its artifacts are."""

    kind: Kind
    name: str
    id: str
    location: str = ""

    @property
    def has_own_id(self) -> bool:
        """Whether its id is such as a store or the cache gives it."""
        return bool(re.fullmatch(OWN_IDS.get(self.kind, "(?s).*"), self.id))


@store_errors()
def things_of(runs: Sequence[RecordedRun]) -> list[Thing]:
    """Registered versions, logged models, runs and views of searches, in the order in which to delete them."""
    versions = [version for version in client().search_model_versions() if version.run_id in {run.id for run in runs}]
    things = [Thing("model version", version.name, str(version.version)) for version in versions]
    for run in reversed(runs):
        for model in client().search_logged_models([setup().experiment_id], equals("source_run_id", run.id)):
            things.append(Thing("logged model", model.name, model.model_id, model.artifact_location))
        things.append(Thing("run", run.name, run.id, run.artifact_uri))
        if run.stage == SEARCH:
            things.append(Thing("view", run.study, views.TAG_PREFIX + views.key("search", run.id)))
    return things


@store_errors()
def files_of(thing: Thing) -> tuple[list[Path], str, str]:
    """The paths that go with a thing, where its artifacts are, and why these stay, if they do.

    Those of a run or a model go from the folder of a local SQLite file, if no other one there has the same run.
    """
    kind, id, location, run = thing.kind, thing.id, thing.location, None
    if kind == "text":
        return [folder / id for folder in (prepared_dir(), cache_dir() / "downloads")], "", ""
    if kind not in ROWS:
        return [], "", ""
    mlruns = Path(os.path.realpath(stores.root() / "mlruns"))
    names = {stores.PAGES: f"{id}.html"} | ({stores.UNSENT: id} if kind != "page" else {})
    beside = [Path(os.path.realpath(stores.beside_store(folder)), name) for folder, name in names.items()]
    beside = [path for path in beside if mlruns in path.parent.parents]
    database = stores.sqlite_file(stores.address())
    if database is None:
        reason = f"{stores.shown(stores.address())} is no SQLite file of this machine"
        return beside, location, f"{reason}: {MARKED} until whoever runs it calls `mlflow gc`"
    if row := _row(database, kind, id):
        location, run = str(row[0]), row[1]
    else:  # it was deleted, and its files may have been left
        experiment = client().get_experiment(setup().experiment_id).artifact_location
        location = f"{experiment}/{'models/' * (kind == 'logged model')}{id}/artifacts"

    home, path = database.parent, local_path(location)
    if path is None or "\0" in str(path) or path.parts[-2:] != (id, "artifacts"):
        return beside, location, f"{without_secrets(location)} is not {database}'s own: {MARKED}"
    folder = Path(os.path.realpath(path.parents[1]), id)
    experiment_folder = folder.parents[1 if kind == "logged model" else 0]
    if home not in experiment_folder.parents or BY_DOCTOR.search(database.name):
        return beside, location, f"What is in {folder.parent} is not {database}'s own: {MARKED}"
    for place in experiment_folder.parents[: len(experiment_folder.parts) - len(home.parts)]:
        for file in sorted(place.iterdir()):
            is_other = os.path.realpath(file) != str(database) and not BY_DOCTOR.search(file.name) and file.is_file()
            if is_other and (_row(file, "run", run) or _row(file, kind, id)):
                return beside, location, f"{file} has the same runs: {MARKED} as long as it is there"
    parts = [part for pattern in OF_RUN.get(kind, ()) for part in (folder / "artifacts").glob(pattern)]
    if linked := [part for part in parts if os.path.realpath(part.parent) != str(part.parent)]:
        return beside, location, f"{linked[0]} is where a link leads: {MARKED}"
    return [*(parts if OF_RUN.get(kind) else [folder]), *beside], location, ""


def _row(file: Path, kind: Kind, id: str | None) -> tuple[Any, Any] | None:
    """The row of a run or a model in an SQLite file, which is only read; None if it has none, or is another file.

    The store's own is never opened but by SQLite, whose locks a process loses once it closes the file itself.
    """
    try:
        if not file.stat().st_size:  # a lock
            return None
        is_used = file == stores.sqlite_file(stores.address()) or Path(f"{file}-wal").exists()
        options = "mode=ro" if is_used else "immutable=1"  # else a reader may leave a log
        schema.refuse_views(file, ("runs", "logged_models"), options)
        with opened(f"{file.as_uri()}?{options}") as connection:
            return connection.execute(ROWS[kind], (id,)).fetchone() or None
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, OSError) or NO_STORE.match(str(error)) or not os.access(file, os.R_OK):
            return None
        raise InputError(f"{file} may have the same runs, and can't be read: {error}; move it away") from error


def remove(thing: Thing) -> None:
    """Delete a thing, or what an earlier call has left of it: its files, then its row.

    The row of a run or a model whose files stay is only marked as deleted.
    """
    id, (paths, _, reason) = thing.id, files_of(thing)
    if thing.kind == "weights":  # first, as a training that has lost them is repeated without this tag
        with store_errors(), tolerating("RESOURCE_DOES_NOT_EXIST"):
            stores.set_tags(id, {WEIGHTS: "deleted"})
    for path in filter(os.path.lexists, paths):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    with store_errors(), tolerating("RESOURCE_DOES_NOT_EXIST"):
        match thing.kind, bool(reason):
            case "model version", _:
                with tolerating("RESOURCE_DOES_NOT_EXIST"):
                    for alias in client().get_model_version(thing.name, id).aliases:  # which MLflow 3.15 leaves
                        client().delete_registered_model_alias(thing.name, alias)
                    client().delete_model_version(thing.name, id)
                if thing.name == registry.REGISTERED_MODEL:
                    registry.describe_registered_model()
            case "view", _:
                client().delete_experiment_tag(setup().experiment_id, id)
            case "logged model", True:
                client().delete_logged_model(id)
            case ("logged model" | "run") as kind, False:
                with _store().engine.begin() as connection:  # links to datasets and models, which MLflow leaves
                    for table in ("input_tags", "inputs"):
                        connection.execute(text(f"DELETE FROM {table} WHERE {LINKED}"), {"id": id})
                (_store()._hard_delete_run if kind == "run" else _store()._hard_delete_logged_model)(id)
            case "run", True:
                client().delete_run(id)


def _store() -> Any:
    """The object by which MLflow uses its store."""
    return client()._tracking_client.store
