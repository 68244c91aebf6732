"""Delete runs with all that belongs to them, and nothing else: ``mlflow gc`` purges what others have deleted, too.

Rows and servers may say anything: ``files_of`` decides which files go.
"""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import text

from pipeline import earlier
from pipeline.errors import InputError, without_secrets
from pipeline.support.files import megabytes
from pipeline.text.cache import cache_dir
from pipeline.text.corpus import prepared_dir
from pipeline.tracking import recorded, registry
from pipeline.tracking import store as stores
from pipeline.tracking.names import PARENT, STEP
from pipeline.tracking.queries import equals, has_tag, search_runs
from pipeline.tracking.recorded import RecordedRun
from pipeline.tracking.references import ORIGINS, describe_run
from pipeline.tracking.relocation import LOCK_SECONDS, local_path
from pipeline.tracking.store import client, setup, store_errors, tolerating
from pipeline.tracking.ui import views

ABOUT = ("evaluate", "sample", "resume")  # stages whose runs are about another run, and go with it
LINKED = "input_uuid IN (SELECT input_uuid FROM inputs WHERE source_id = :id OR destination_id = :id)"
RUN, MODEL = "run", "logged model"
IDS = {RUN: "[0-9a-f]{32}", MODEL: "m-[0-9a-f]{32}", "text": r"(?!\.{1,2}\Z)[^/\0]+"}  # that things with files have
ROWS = {  # queries of where the artifacts of a run or a model are, and of its run
    RUN: "SELECT artifact_uri, run_uuid FROM runs WHERE run_uuid = ?",
    MODEL: "SELECT artifact_location, source_run_id FROM logged_models WHERE model_id = ?",
}
NO_STORE = re.compile("no such (table|column)|file is not a database")  # errors of SQLite
BY_DOCTOR = re.compile(r"\.before-(repair|upgrade)-")  # in the name of a copy
MARKED = "runs are only marked as deleted, and their files stay"


def whole_of(run: RecordedRun) -> RecordedRun:
    """The run to delete for this one: the main job of a step, else itself.

    Raises InputError for a part of a search, an answer, a reproduction or seeds, and for a run of another experiment.
    """
    if client().get_run(run.id).info.experiment_id != setup().experiment_id:
        raise InputError(f"{describe_run(run)}, is of another experiment: set MLFLOW_EXPERIMENT_NAME to that")
    parent = recorded.find_run(run.parent) if run.parent else None
    if parent is None or parent.id == run.id or parent.is_deleted or not parent.stage:
        return run
    if parent.stage != "pipeline":
        name = parent.study or parent.id
        raise InputError(f"{describe_run(run)}, is only a part of {parent.name}; delete that: tmlm delete {name}")
    return parent


def going_with(wholes: Iterable[RecordedRun]) -> tuple[list[RecordedRun], list[dict[str, str]]]:
    """The runs to delete with these, parents first, and the steps that stay with a main job that has reused them.

    With a run go those nested in it, and evaluations and samples of them.
    """
    found, queue = dict[str, RecordedRun](), list(wholes)
    while queue:
        run = queue.pop()
        if run.id not in found:
            found[run.id] = run
            if not run.tag("role"):  # a training of a search, an answer or a reproduction has none
                queue += search_runs(has_tag(PARENT, run.id))
    jobs = [job for job in search_runs(has_tag("stage", "pipeline")) if job.id not in found]
    users = {run_id: [job.id for job in jobs if run_id in _steps(job)] for run_id in found}
    stayed = [
        {"name": found.pop(id).name, "id": id, "job": ids[0], "reason": f"reused by the main job {' and '.join(ids)}"}
        for id, ids in users.items()
        if ids
    ]
    for stage in ABOUT:
        about = search_runs(has_tag("stage", stage), has_tag(PARENT, None))
        found |= {run.id: run for run in about if any(run.tag(origin) in found for origin in ORIGINS)}
    return [*found.values()], stayed


def _steps(job: RecordedRun) -> list[str]:
    """The ids of the steps of a main job."""
    return [id for tag, id in job.tags.items() if tag.startswith(STEP)] or earlier.steps(
        f"{job.tag('trained_run')} {job.tag(stores.NOTE)}"
    )


def items_of(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    """Registered versions, logged models, runs and views of searches, in the order in which to delete them."""
    with store_errors():
        versions = [each for each in client().search_model_versions() if each.run_id in {run.id for run in runs}]
        things = [("model version", each.name, str(each.version), "") for each in versions]
        for run in reversed(runs):
            for model in client().search_logged_models([setup().experiment_id], equals("source_run_id", run.id)):
                things.append((MODEL, model.name, model.model_id, model.artifact_location))
            things.append((RUN, run.name, run.id, run.artifact_uri))
            if run.stage == "search":
                things.append(("view", run.study, views.TAG_PREFIX + views.key("search", run.id), ""))
    return [dict(zip(("kind", "name", "id", "location"), thing, strict=True)) for thing in things]


def has_own_id(thing: Mapping[str, Any]) -> bool:
    """Whether the id of a thing is such as a store or the cache gives it."""
    return bool(re.fullmatch(IDS.get(thing["kind"], "(?s).*"), thing["id"]))


def listed(things: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The things as ``deleted``, with path and MB of what goes, and the files that are ``left``; notes say why."""
    deleted, left, notes = [], [], dict[str, None]()
    for thing in things:
        about = {name: thing[name] for name in ("kind", "name", "id")}
        paths, location, reason = files_of(thing)
        there = [path for path in paths if os.path.lexists(path)]
        links = {os.path.realpath(path): path for path in there if path.is_symlink()}
        size = sum(megabytes(path) for path in there if path not in links.values())
        deleted.append({**about, "path": str(there[0]) if there else "", "megabytes": size})
        stay = {target: f"{path} is a link: {target} stays" for target, path in links.items()}
        stay |= {without_secrets(location): reason} if reason else {}
        left += [{**about, "path": path} for path in stay]
        notes |= dict.fromkeys(stay.values())
    size = sum(each["megabytes"] for each in deleted)
    return {"deleted": deleted, "left": left, "notes": [*notes], "megabytes": size}


@store_errors()
def files_of(thing: Mapping[str, Any]) -> tuple[list[Path], str, str]:
    """The paths that go with a thing, where its artifacts are, and why these stay, if they do.

    Those of a run or a model go from the folder of a local SQLite file, if no other one there has the same run.
    """
    kind, id, location, run = thing["kind"], thing["id"], thing.get("location", ""), None
    if kind == "text":
        return [folder / id for folder in (prepared_dir(), cache_dir() / "downloads")], "", ""
    if kind not in ROWS:
        return [], "", ""
    mlruns, waiting = (Path(os.path.realpath(stores.root() / "mlruns" / name)) for name in ("", "unsent"))
    unsent = [waiting / id] if mlruns in waiting.parents else []
    database = stores.sqlite_file(stores.address())
    if database is None:
        reason = f"{stores.shown(stores.address())} is no SQLite file of this machine"
        return unsent, location, f"{reason}: {MARKED} until whoever runs it calls `mlflow gc`"
    if row := _row(database, kind, id):
        location, run = str(row[0]), row[1]
    else:  # it was deleted, and its files may have been left
        experiment = client().get_experiment(setup().experiment_id).artifact_location
        location = f"{experiment}/{'models/' * (kind == MODEL)}{id}/artifacts"

    home, path = database.parent, local_path(location)
    if path is None or "\0" in str(path) or path.parts[-2:] != (id, "artifacts"):
        return unsent, location, f"{without_secrets(location)} is not {database}'s own: {MARKED}"
    folder = Path(os.path.realpath(path.parents[1]), id)
    experiment_folder = folder.parents[1 if kind == MODEL else 0]
    if home not in experiment_folder.parents or BY_DOCTOR.search(database.name):
        return unsent, location, f"What is in {folder.parent} is not {database}'s own: {MARKED}"
    for place in experiment_folder.parents[: len(experiment_folder.parts) - len(home.parts)]:
        for file in sorted(place.iterdir()):
            is_other = os.path.realpath(file) != str(database) and not BY_DOCTOR.search(file.name) and file.is_file()
            if is_other and (_row(file, RUN, run) or _row(file, kind, id)):
                return unsent, location, f"{file} has the same runs: {MARKED} as long as it is there"
    return [folder, *unsent], location, ""


def _row(file: Path, kind: str, id: str | None) -> tuple[Any, Any] | None:
    """The row of a run or a model in an SQLite file, which is only read; None if it has none, or is another file.

    The store's own is never opened but by SQLite, whose locks a process loses once it closes the file itself.
    """
    try:
        is_used = file == stores.sqlite_file(stores.address()) or Path(f"{file}-wal").exists()
        address = f"{file.as_uri()}?{'mode=ro' if is_used else 'immutable=1'}"  # else a reader may leave a log
        with closing(sqlite3.connect(address, LOCK_SECONDS, uri=True)) as connection:
            return connection.execute(ROWS[kind], (id,)).fetchone() or None
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, OSError) or NO_STORE.match(str(error)) or not os.access(file, os.R_OK):
            return None
        raise InputError(f"{file} may have the same runs, and can't be read: {error}; move it away") from error


def remove(thing: Mapping[str, Any]) -> None:
    """Delete a thing, or what an earlier call has left of it: its files, then its row.

    The row of a run or a model whose files stay is only marked as deleted.
    """
    id, (paths, _, reason) = thing["id"], files_of(thing)
    for path in filter(os.path.lexists, paths):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    with store_errors(), tolerating("RESOURCE_DOES_NOT_EXIST"):
        match thing["kind"], bool(reason):
            case "model version", _:
                with tolerating("RESOURCE_DOES_NOT_EXIST"):
                    client().delete_model_version(thing["name"], id)
                if thing["name"] == registry.REGISTERED_MODEL:
                    registry.describe_registered_model()
            case "view", _:
                client().delete_experiment_tag(setup().experiment_id, id)
            case "logged model", False:
                _store()._hard_delete_logged_model(id)
            case "logged model", True:
                client().delete_logged_model(id)
            case "run", False:
                with _store().engine.begin() as connection:  # links to datasets and models, which MLflow leaves
                    for table in ("input_tags", "inputs"):
                        connection.execute(text(f"DELETE FROM {table} WHERE {LINKED}"), {"id": id})
                _store()._hard_delete_run(id)
            case "run", True:
                client().delete_run(id)


def _store() -> Any:
    """The object by which MLflow uses its store."""
    return client()._tracking_client.store
