"""Delete runs with all that belongs to them, and nothing else: ``mlflow gc`` purges what others have deleted, too."""

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import text

from pipeline.errors import InputError
from pipeline.support.files import megabytes
from pipeline.tracking import recorded
from pipeline.tracking import store as stores
from pipeline.tracking.recorded import RecordedRun, equals, has_tag, search_runs
from pipeline.tracking.references import ORIGINS, describe_run
from pipeline.tracking.relocation import local_path
from pipeline.tracking.store import NOTE, client, setup, store_errors, tolerating
from pipeline.tracking.ui import views

from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

ABOUT = ("evaluate", "sample", "resume")  # stages whose runs are about another run, and go with it
LINKED = "input_uuid IN (SELECT input_uuid FROM inputs WHERE source_id = :id OR destination_id = :id)"


def item(kind: str, name: str, id: str, path: Path | None = None) -> dict[str, Any]:
    """A thing to delete, with its local file or folder."""
    size = megabytes(path) if path else 0.0
    return {"kind": kind, "name": name, "id": id, "path": str(path or ""), "megabytes": size}


def whole_of(run: RecordedRun) -> RecordedRun:
    """The run to delete for this one: the main job of a step, else itself.

    Raises InputError for a part of a search, an answer, a reproduction or seeds, and for a run of another experiment.
    """
    if client().get_run(run.id).info.experiment_id != setup().experiment_id:
        raise InputError(f"{describe_run(run)}, is of another experiment: set MLFLOW_EXPERIMENT_NAME to that")
    parent = recorded.find_run(run.tag("mlflow.parentRunId")) if run.tag("mlflow.parentRunId") else None
    if parent is None or parent.is_deleted or not parent.stage:
        return run
    if parent.stage != "pipeline":
        name = parent.study or parent.id
        raise InputError(f"{describe_run(run)}, is only a part of {parent.name}; delete that: tmlm delete {name}")
    return parent


def going_with(wholes: Iterable[RecordedRun]) -> tuple[list[RecordedRun], list[dict[str, str]]]:
    """The runs to delete with these, parents first, and the steps that stay with a main job that has reused them.

    With a run go those nested in it, and evaluations and samples of them.
    """
    found = {run.id: run for whole in wholes for run in _with_nested(whole)}
    jobs = [job for job in search_runs(has_tag("stage", "pipeline")) if job.id not in found]
    users = {run_id: [job.id for job in jobs if run_id in job.tag("trained_run") + job.tag(NOTE)] for run_id in found}
    stayed = [
        {"name": found.pop(id).name, "id": id, "job": ids[0], "reason": f"reused by the main job {' and '.join(ids)}"}
        for id, ids in users.items()
        if ids
    ]
    for stage in ABOUT:
        about = search_runs(has_tag("stage", stage), has_tag("mlflow.parentRunId", None))
        found |= {run.id: run for run in about if any(run.tag(origin) in found for origin in ORIGINS)}
    return [*found.values()], stayed


def _with_nested(run: RecordedRun) -> Iterator[RecordedRun]:
    yield run
    if not run.tag("role"):  # a training of a search, an answer or a reproduction has none
        for nested in search_runs(has_tag("mlflow.parentRunId", run.id)):
            yield from _with_nested(nested)


def items_of(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    """Registered versions, logged models, runs and views of searches, in the order in which to delete them."""
    with store_errors():
        versions = [each for each in client().search_model_versions() if each.run_id in {run.id for run in runs}]
        items = [item("model version", each.name, str(each.version)) for each in versions]
        for run in reversed(runs):
            for model in client().search_logged_models([setup().experiment_id], equals("source_run_id", run.id)):
                folder = _folder(model.artifact_location, model.model_id)
                items.append(item("logged model", model.name, model.model_id, folder))
            items.append(item("run", run.name, run.id, _folder(run.artifact_uri, run.id)))
            if run.stage == "search":
                items.append(item("view", run.study, views.TAG_PREFIX + views.key("search", run.id)))
    return items


def _folder(location: str, id: str) -> Path | None:
    """The folder of a run or a model; None if only a server may delete it, or if it is not MLflow's: it may be any."""
    path = local_path(location)
    is_own = path and path.parts[-2:] == (id, "artifacts") and re.fullmatch("(m-)?[0-9a-f]{32}", id)
    return path.parent if path and is_own and isinstance(_store(), SqlAlchemyStore) else None


def _store() -> Any:
    """The object by which MLflow uses its store."""
    return client()._tracking_client.store


def remove(thing: Mapping[str, Any]) -> None:
    """Delete a thing, or what an earlier call has left of it; mark a run or a model as deleted if it has no folder."""
    id, path = thing["id"], Path(thing["path"])
    with store_errors(), tolerating("RESOURCE_DOES_NOT_EXIST"):
        match thing["kind"], bool(thing["path"]):
            case "model version", _:
                client().delete_model_version(thing["name"], id)
            case "view", _:
                client().delete_experiment_tag(setup().experiment_id, id)
            case "logged model", True:
                _store()._hard_delete_logged_model(id)
            case "logged model", False:
                client().delete_logged_model(id)
            case "run", True:
                with _store().engine.begin() as connection:  # links to datasets and models, which MLflow leaves
                    for table in ("input_tags", "inputs"):
                        connection.execute(text(f"DELETE FROM {table} WHERE {LINKED}"), {"id": id})
                _store()._hard_delete_run(id)
            case "run", False:
                client().delete_run(id)
    for left in (path, stores.root() / "mlruns" / "unsent" / id):
        if left.name == id and left.exists():
            shutil.rmtree(left) if left.is_dir() else left.unlink()
