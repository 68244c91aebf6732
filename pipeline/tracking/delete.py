"""Delete runs with all that belongs to them, and nothing else: ``mlflow gc`` purges what others have deleted, too."""

import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# first: it sets the environment that MLflow reads when it is imported
from pipeline.tracking import store as stores
from pipeline.tracking.store import NOTE, client, setup, store_errors

# isort: split

from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy import text as sql

from pipeline.errors import InputError
from pipeline.support.files import megabytes
from pipeline.tracking import recorded, registry
from pipeline.tracking.recorded import RecordedRun, equals, has_tag, search_runs
from pipeline.tracking.references import ORIGINS, describe_run
from pipeline.tracking.relocation import local_path
from pipeline.tracking.ui import views

ABOUT = ("evaluate", "sample", "resume")  # stages whose runs are about another run, and go with it
LINKED = "input_uuid IN (SELECT input_uuid FROM inputs WHERE source_id = :id OR destination_id = :id)"
ID = re.compile("(m-)?[0-9a-f]{32}")  # of a run or a logged model


def own_store() -> SqlAlchemyStore | None:
    """MLflow's store, if this process opens its database; None for a server, which only marks what is deleted."""
    found = client()._tracking_client.store
    return found if isinstance(found, SqlAlchemyStore) else None


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


def going_with(wholes: Iterable[RecordedRun]) -> tuple[list[RecordedRun], list[tuple[RecordedRun, list[str]]]]:
    """The runs to delete with these, parents first, and the steps that stay, with the main jobs that have reused them.

    With a run go those nested in it, and evaluations and samples of them.
    """
    found = {run.id: run for whole in wholes for run in _with_nested(whole)}
    jobs = [job for job in search_runs(has_tag("stage", "pipeline")) if job.id not in found]
    used = {run_id: [job.id for job in jobs if run_id in job.tag("trained_run") + job.tag(NOTE)] for run_id in found}
    kept = [(found.pop(run_id), users) for run_id, users in used.items() if users]
    for stage in ABOUT:
        about = search_runs(has_tag("stage", stage), has_tag("mlflow.parentRunId", None))
        found |= {run.id: run for run in about if any(run.tag(origin) in found for origin in ORIGINS)}
    return [*found.values()], kept


def _with_nested(run: RecordedRun) -> Iterator[RecordedRun]:
    yield run
    if not run.tag("role"):  # a training of a search, an answer or a reproduction has none
        for nested in search_runs(has_tag("mlflow.parentRunId", run.id)):
            yield from _with_nested(nested)


def items_of(runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    """Registered versions, logged models and runs, in the order in which to delete them."""
    with store_errors():
        versions = [each for each in client().search_model_versions() if each.run_id in {run.id for run in runs}]
        items = [item("model version", each.name, str(each.version)) for each in versions]
        for run in reversed(runs):
            models = client().search_logged_models([setup().experiment_id], equals("source_run_id", run.id))
            items += [
                item("logged model", m.name, m.model_id, _folder(m.artifact_location, m.model_id)) for m in models
            ]
            items.append(item("run", run.name, run.id, _folder(run.artifact_uri, run.id)))
    return items


def _folder(location: str, id: str) -> Path | None:
    """The local folder of a run or a model; None unless it is named by the id, as MLflow does: it may name any."""
    path = local_path(location) if own_store() else None
    return path.parent if path and path.parent.name == id and path.name == "artifacts" and ID.fullmatch(id) else None


def remove(thing: Mapping[str, Any]) -> None:
    """Delete a thing, or what an earlier call has left of it."""
    id, path, ours = thing["id"], Path(thing["path"]), own_store()
    unsent = stores.root() / "mlruns" / "unsent" / id
    with store_errors(), _unless_gone():
        match thing["kind"]:
            case "model version":
                client().delete_model_version(thing["name"], id)
            case "logged model":
                ours._hard_delete_logged_model(id) if ours else client().delete_logged_model(id)
            case "run" if ours:
                with ours.engine.begin() as connection:  # links to datasets and models, which MLflow leaves
                    for table in ("input_tags", "inputs"):
                        connection.execute(sql(f"DELETE FROM {table} WHERE {LINKED}"), {"id": id})
                ours._hard_delete_run(id)
            case "run":
                client().delete_run(id)
    for left in (path, unsent):
        if left.name == id and left.exists():
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def tidy(run_ids: Collection[str]) -> None:
    """Remove the UI's views of deleted searches, and describe the registered model without deleted versions."""
    with store_errors(), _unless_gone():
        experiment = client().get_experiment(setup().experiment_id)
        for tag in experiment.tags.keys() & {views.TAG_PREFIX + views.key("search", run_id) for run_id in run_ids}:
            client().delete_experiment_tag(experiment.experiment_id, tag)
        registry.describe_registered_model(client())


@contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
