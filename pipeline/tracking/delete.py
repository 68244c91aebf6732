"""Delete runs with all that belongs to them, and nothing else: ``mlflow gc`` purges what others have deleted, too.

Rows, servers and journals may say anything: ``files_of`` decides which files go.
"""

import os
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import text

from pipeline.errors import InputError, without_secrets
from pipeline.support.files import erase, megabytes
from pipeline.text.corpus import prepared_dir
from pipeline.text.downloads import cache_dir
from pipeline.tracking import recorded
from pipeline.tracking import store as stores
from pipeline.tracking.names import STEP
from pipeline.tracking.recorded import RecordedRun, equals, has_tag, search_runs
from pipeline.tracking.references import ORIGINS, describe_run
from pipeline.tracking.relocation import LOCK_SECONDS, local_path
from pipeline.tracking.store import NOTE, client, setup, store_errors, tolerating
from pipeline.tracking.ui import views

ABOUT = ("evaluate", "sample", "resume")  # stages whose runs are about another run, and go with it
LINKED = "input_uuid IN (SELECT input_uuid FROM inputs WHERE source_id = :id OR destination_id = :id)"
RUN, MODEL = "run", "logged model"
IDS = {  # the ids that things of each kind have; of a text, the name of a file or a folder
    "model version": r"\d+",
    MODEL: "m-[0-9a-f]{32}",
    RUN: "[0-9a-f]{32}",
    "view": re.escape(views.TAG_PREFIX) + ".+",
    "study": ".+",
    "text": r"(?!\.{1,2}\Z)[^/\0]+",
}
ROWS = {  # queries of where the artifacts of a run or a model are, and of its run
    MODEL: "SELECT artifact_location, source_run_id FROM logged_models WHERE model_id = ?",
    RUN: "SELECT artifact_uri, run_uuid FROM runs WHERE run_uuid = ?",
}
SQLITE, WAL = b"SQLite format 3\0", b"\2"  # the first bytes of such a file, and the 19th of one with a log
COPY_BY_DOCTOR = re.compile(r"\.before-(repair|upgrade)-")  # in the name of a database
MARKED = "runs are only marked as deleted, and their files stay"


class Files(NamedTuple):
    """The files of a thing to delete: the paths that go, where others stay, and why they do."""

    paths: Sequence[Path] = ()
    left: str = ""
    reason: str = ""


def whole_of(run: RecordedRun) -> RecordedRun:
    """The run to delete for this one: the main job of a step, else itself.

    Raises InputError for a part of a search, an answer, a reproduction or seeds, and for a run of another experiment.
    """
    if client().get_run(run.id).info.experiment_id != setup().experiment_id:
        raise InputError(f"{describe_run(run)}, is of another experiment: set MLFLOW_EXPERIMENT_NAME to that")
    parent = recorded.find_run(run.tag("mlflow.parentRunId")) if run.tag("mlflow.parentRunId") else None
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
                queue += search_runs(has_tag("mlflow.parentRunId", run.id))
    jobs = {job.id: _steps(job) for job in search_runs(has_tag("stage", "pipeline")) if job.id not in found}
    users = {run_id: [job for job, steps in jobs.items() if run_id in steps] for run_id in found}
    stayed = [
        {"name": found.pop(id).name, "id": id, "job": ids[0], "reason": f"reused by the main job {' and '.join(ids)}"}
        for id, ids in users.items()
        if ids
    ]
    for stage in ABOUT:
        about = search_runs(has_tag("stage", stage), has_tag("mlflow.parentRunId", None))
        found |= {run.id: run for run in about if any(run.tag(origin) in found for origin in ORIGINS)}
    return [*found.values()], stayed


def _steps(job: RecordedRun) -> set[str]:
    """The ids of the steps of a main job; of one that an earlier version recorded, those in its description."""
    steps = {run_id for tag, run_id in job.tags.items() if tag.startswith(STEP)}
    return steps or {*re.findall("[0-9a-f]{32}", f"{job.tag('trained_run')} {job.tag(NOTE)}")}


def items_of(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    """Registered versions, logged models, runs and views of searches, in the order in which to delete them."""
    with store_errors():
        versions = [each for each in client().search_model_versions() if each.run_id in {run.id for run in runs}]
        things = [("model version", each.name, str(each.version)) for each in versions]
        for run in reversed(runs):
            models = client().search_logged_models([setup().experiment_id], equals("source_run_id", run.id))
            things += [(MODEL, model.name, model.model_id) for model in models]
            things.append((RUN, run.name, run.id))
            if run.stage == "search":
                things.append(("view", run.study, views.TAG_PREFIX + views.key("search", run.id)))
    return [dict(zip(("kind", "name", "id"), thing, strict=True)) for thing in things]


def has_own_id(thing: Mapping[str, Any]) -> bool:
    """Whether a thing is of a kind that can be deleted, and has an id as such things have."""
    return bool(re.fullmatch(IDS.get(thing["kind"], r"\b\B"), thing["id"], re.DOTALL))


def listed(things: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The things as ``deleted``, with path and MB of what goes, and the files that are ``left``; notes say why."""
    deleted, left, notes = [], [], dict[str, None]()
    for thing in things:
        about = {name: thing[name] for name in ("kind", "name", "id")}
        files = files_of(thing)
        there = [path for path in files.paths if os.path.lexists(path)]
        links = {path: os.path.realpath(path) for path in there if path.is_symlink()}
        size = sum(megabytes(path) for path in there if path not in links)
        deleted.append({**about, "path": str(there[0]) if there else "", "megabytes": size})
        stay = {files.left: files.reason} if files.reason else {}
        stay |= {target: f"{path} is a link: {target} stays" for path, target in links.items()}
        left += [{**about, "path": path} for path in stay]
        notes |= dict.fromkeys(stay.values())
    return {"deleted": deleted, "left": left, "notes": [*notes], "megabytes": sum(e["megabytes"] for e in deleted)}


@store_errors()
def files_of(thing: Mapping[str, Any]) -> Files:
    """The files of a thing: those of a run or a model go only from the folder of a local SQLite file that alone has it.

    Their last part may be a link, which goes then; what it refers to stays.
    """
    kind, id = thing["kind"], thing["id"]
    if kind == "text":
        return Files([folder / id for folder in (prepared_dir(), cache_dir() / "downloads")])
    if kind not in ROWS:
        return Files()
    records = stores.root() / "mlruns"
    unsent = [records / "unsent" / id] if records.resolve() in (records / "unsent").resolve().parents else []
    database = stores.sqlite_file(stores.address())
    if database is None:
        why = f"{stores.shown(stores.address())} is no SQLite file of this machine"
        return Files(unsent, _shown(_location(kind, id)), f"{why}: {MARKED} until whoever runs it calls `mlflow gc`")

    home, row = database.parent, _row(database, kind, id)
    if row is None:  # it was deleted, and its files may have been left
        experiment = client().get_experiment(setup().experiment_id).artifact_location
        row = f"{experiment}/{'models/' * (kind == MODEL)}{id}/artifacts", id
    path = local_path(str(row[0]))
    if path is None or "\0" in str(path) or path.parts[-2:] != (id, "artifacts"):
        return Files(unsent, _shown(str(row[0])), f"{_shown(str(row[0]))} is not below {home}: {MARKED}")
    folder = Path(os.path.realpath(path.parents[1]), id)
    experiment_folder = folder.parents[1 if kind == MODEL else 0]
    if home not in experiment_folder.parents:
        return Files(unsent, str(folder), f"{folder.parent} is not below {home}: {MARKED}")
    if COPY_BY_DOCTOR.search(database.name):
        return Files(unsent, str(folder), f"{database} is a copy that `tmlm doctor` has made: {MARKED}")
    for place in experiment_folder.parents[: len(experiment_folder.parts) - len(home.parts)]:
        for file in sorted(place.iterdir()):
            is_other = file.is_file() and not file.samefile(database) and not COPY_BY_DOCTOR.search(file.name)
            if is_other and (_row(file, RUN, row[1]) or _row(file, kind, id)):
                return Files(unsent, str(folder), f"{file} has the same runs: {MARKED} as long as it is there")
    return Files([folder, *unsent])


def _row(file: Path, kind: str, id: str | None) -> tuple[str, str | None] | None:
    """The row of a run or a model in an SQLite file, which is only read; None if it has none, or is another file."""
    header = b""
    with suppress(OSError), file.open("rb") as opened:
        header = opened.read(len(SQLITE) + 3)
    if not header.startswith(SQLITE):
        return None
    is_whole = header.endswith(WAL) and not Path(f"{file}-wal").exists()  # else a reader would leave such a log
    address = f"{file.as_uri()}?{'immutable=1' if is_whole else 'mode=ro'}"
    with closing(sqlite3.connect(address, LOCK_SECONDS, uri=True)) as connection:
        try:
            row: tuple[str, str | None] | None = connection.execute(ROWS[kind], (id,)).fetchone()
        except sqlite3.Error as error:
            if re.match("no such (table|column)", str(error)):
                return None
            raise InputError(f"{file} may have the same runs, and can't be read: {error}; move it away") from error
    return row


def _location(kind: str, id: str) -> str:
    """Where a store that is no SQLite file has the artifacts of a run or a model; "" if it was deleted."""
    with tolerating("RESOURCE_DOES_NOT_EXIST"):
        if kind == MODEL:
            return str(client().get_logged_model(id).artifact_location)
    run = recorded.find_run(id) if kind == RUN else None
    return run.artifact_uri if run else ""


def _shown(location: str) -> str:
    """The folder of artifacts at a location, or its address, for display."""
    path = local_path(location)
    return without_secrets(location) if path is None else str(path.parent if path.name == "artifacts" else path)


def remove(thing: Mapping[str, Any]) -> None:
    """Delete a thing, or what an earlier call has left of it: its files, then its row.

    The row of a run or a model whose files stay is only marked as deleted.
    """
    id, files = thing["id"], files_of(thing)
    for path in files.paths:
        erase(path)
    with store_errors(), tolerating("RESOURCE_DOES_NOT_EXIST"):
        match thing["kind"], bool(files.reason):
            case "model version", _:
                client().delete_model_version(thing["name"], id)
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
