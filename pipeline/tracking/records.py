"""Read recorded runs: finished and nested trainings, results, artifacts, and the checkpoint that MODEL names."""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

# first: it sets the environment that MLflow reads when it is imported
from pipeline.tracking.store import setup, shown, store_errors, without_passwords

# isort: split

import mlflow
import yaml
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.errors import InputError, TrainingDivergedError
from pipeline.support.files import BEST_CHECKPOINT
from pipeline.support.processes import is_of_this_machine
from pipeline.tracking.names import HIDDEN, in_names_of_each_version, recorded_tag, with_bare_names, with_new_names
from pipeline.tracking.references import FORMS, NoSuchRunError, run_id_of
from pipeline.tracking.relocation import local_path

RecordedRun = Run  # the type's name for packages that must not import mlflow

NO_SUCH_RUN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow's error codes for an unknown run id

RESULT_FILE = "result.json"  # artifact with a step's result

COSTS_FILE = "costs.json"  # artifact with a training's mean costs of blocks of the held-out texts

CONFIG_TAG = f"{HIDDEN}config"  # a training's configuration, for --resume

TEXT_TAG = f"{HIDDEN}corpus.sha256"  # digest of the text

STEP_TAG = f"{HIDDEN}step_key"  # key by which a step's result is reused


def tags_of(run: Run) -> dict[str, str]:
    """The tags of a run, recorded by any version, by their bare names."""
    return with_bare_names(run.data.tags)


def tag(run: Run, name: str) -> str:
    """A tag of a run, recorded by any version, by its bare name; "" if it is missing."""
    return tags_of(run).get(name, "")


def figures(run: Run) -> dict[str, float]:
    """The last values of a run's metrics, recorded by any version, by this version's names."""
    return with_new_names(run.data.metrics)


def find_run(run_id: str) -> Run | None:
    """Get a run, deleted or not; None if the store has no such run. Raises as ``store_errors`` does."""
    with store_errors():
        try:
            return MlflowClient().get_run(run_id)
        except MlflowException as error:
            if error.error_code not in NO_SUCH_RUN:
                raise
            return None


def has_run(run_id: str) -> bool:
    """Whether the store has such a run, deleted or not. Raises as ``store_errors`` does."""
    return find_run(run_id) is not None


def ended_run(run_id: str) -> Run | None:
    """Get a run to reopen; None if it is missing or deleted. Raises InputError if it is RUNNING."""
    run = find_run(run_id)
    if run is None or run.info.lifecycle_stage != "active":
        return None
    if run.info.status == "RUNNING":
        where = f"pid {tag(run, 'process.pid')} on {tag(run, 'process.host')}"
        raise InputError(
            f"{run.info.run_name} ({run_id}) is still running ({where}); stop it there, or, if that machine or "
            f"container is gone: tmlm doctor --close {run_id}"
        )
    return run


def resumable_run(run_id: str) -> Run:
    """Get a training to resume.

    Raises InputError if the run is missing, deleted, RUNNING, or not a training.
    """
    run = find_run(run_id)
    if run is None:
        where = shown(mlflow.get_tracking_uri())
        raise InputError(f"--resume {run_id} is not a run of {where}; give a training's run id")
    tags, name = tags_of(run), run.info.run_name
    if run.info.lifecycle_stage != "active":
        raise InputError(f"--resume {run_id} ({name}) was deleted; restore it first: mlflow runs restore -r {run_id}")
    if tags.get("stage") != "train" or CONFIG_TAG not in tags:
        child = f"; its training is {tags['trained_run']}" if "trained_run" in tags else ""
        raise InputError(f"--resume {run_id} ({name}) is not a training that can be resumed{child}")
    if run.info.status == "RUNNING":
        where = f"pid {tags.get('process.pid')} on {tags.get('process.host')}"
        remedy = "stop it first"
        if not is_of_this_machine(tags):
            remedy = f"stop it there first, or, if that machine or container is gone: tmlm doctor --close {run_id}"
        raise InputError(f"--resume {run_id} ({name}) is still running ({where}); {remedy}")
    return run


def latest_of_each_text(*conditions: str, by: str = "start_time") -> list[Run]:
    """The latest training on each text that meets all conditions, latest first.

    Makes one query per text, since there are few texts but possibly thousands of trainings.
    """
    query = " and ".join(["tags.stage = 'train'", f"tags.`{TEXT_TAG}` LIKE '%'", *conditions])
    found = [run for each in in_names_of_each_version(query) for run in _latest_of_each_text(each, by)]
    of_text: dict[str, Run] = {}
    for run in sorted(found, key=lambda run: getattr(run.info, by) or 0, reverse=True):
        of_text.setdefault(tag(run, "corpus.sha256"), run)
    return list(of_text.values())


def _latest_of_each_text(query: str, by: str) -> list[Run]:
    """The latest run on each text that matches a query in the names of one version."""
    store, client = setup(), MlflowClient()
    text_tag = TEXT_TAG if TEXT_TAG in query else "corpus.sha256"
    latest: list[Run] = []
    while True:
        others = [f"tags.`{text_tag}` != '{tag(run, 'corpus.sha256')}'" for run in latest]
        with store_errors():
            following = client.search_runs(
                [store.experiment_id],
                " and ".join([query, *others]),
                order_by=[f"attributes.{by} DESC"],
                max_results=1,
            )
        if not following:
            return latest
        latest += following


def every_run(experiment_id: str, query: str, is_latest_first: bool = True) -> list[Run]:
    """All runs of an experiment that match a query, recorded by any version, by start time.

    At most 100,000, MLflow's own limit.
    """
    found: dict[str, Run] = {
        run.info.run_id: run
        for each in in_names_of_each_version(query)
        for run in mlflow.search_runs([experiment_id], each, output_format="list")
    }
    return sorted(found.values(), key=lambda run: run.info.start_time, reverse=is_latest_first)


@dataclass(frozen=True)
class FinishedTraining:
    """The record of a training that has ended; metrics other than counts have six significant digits.

    Tags have their bare names, and metrics this version's names, whichever version recorded them.
    """

    run_id: str
    name: str
    ended_ms: int
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def config_id(self) -> str:
        """Digest of the configuration without the seed."""
        return self.tags.get("config_id", "")


FINISHED = "attributes.status = 'FINISHED'", "metrics.`result/val_perplexity` > 0"


def finished_trainings(corpus_sha256: str) -> list[FinishedTraining]:
    """All finished trainings on a text that have a result, latest first."""
    return _trainings(corpus_sha256, *FINISHED)


def latest_finished_trainings(other_than: Iterable[str]) -> list[FinishedTraining]:
    """The latest finished training on each text with a preset other than these, latest first."""
    others = [f"params.preset != '{preset}'" for preset in other_than]
    return list(map(_finished, latest_of_each_text(*FINISHED, *others, by="end_time")))


def diverged_trainings(corpus_sha256: str) -> list[FinishedTraining]:
    """All trainings on a text that diverged, latest first; they have no result."""
    failed = "attributes.status = 'FAILED'", f"tags.failure LIKE '{TrainingDivergedError.__name__}:%'"
    return _trainings(corpus_sha256, *failed)


def _trainings(corpus_sha256: str, *conditions: str) -> list[FinishedTraining]:
    store = setup()
    query = " and ".join(["tags.stage = 'train'", f"tags.`{TEXT_TAG}` = '{corpus_sha256}'", *conditions])
    with store_errors():
        return list(map(_finished, every_run(store.experiment_id, query)))


def _finished(run: Run) -> FinishedTraining:
    info = run.info
    return FinishedTraining(info.run_id, info.run_name, info.end_time, run.data.params, figures(run), tags_of(run))


@dataclass(frozen=True)
class NestedTraining:
    """A training nested in another run, finished or not; ``curves`` has one value per epoch for each metric.

    Tags have their bare names, whichever version recorded them.
    """

    run_id: str
    status: str
    tags: Mapping[str, str]
    configuration: Mapping[str, Any]
    curves: Mapping[str, tuple[float, ...]]
    result: Mapping[str, Any]  # empty unless it has finished


def nested_trainings(parent: str, curves: Iterable[str]) -> list[NestedTraining]:
    """The trainings nested in a run, in the order in which they started."""
    setup()
    client = MlflowClient()
    with store_errors():
        experiment = client.get_run(parent).info.experiment_id
        query = f"tags.stage = 'train' and tags.`mlflow.parentRunId` = '{parent}'"
        return [_nested(client, run, curves) for run in every_run(experiment, query, is_latest_first=False)]


def _nested(client: MlflowClient, run: Run, curves: Iterable[str]) -> NestedTraining:
    histories = {}
    for key in curves:
        points = client.get_metric_history(run.info.run_id, key) if key in run.data.metrics else []
        histories[key] = tuple(point.value for point in sorted(points, key=lambda point: point.step))
    return NestedTraining(
        run_id=run.info.run_id,
        status=run.info.status,
        tags=tags_of(run),
        configuration=json.loads(run.data.tags.get(CONFIG_TAG, "{}")),
        curves=histories,
        result=read_json(run.info.run_id, RESULT_FILE) if run.info.status == "FINISHED" else {},
    )


def finished_in_run(parent: str) -> list[Run]:
    """The FINISHED trainings nested in a run, in the order in which they started."""
    store = setup()
    query = f"tags.stage = 'train' and tags.`mlflow.parentRunId` = '{parent}' and attributes.status = 'FINISHED'"
    with store_errors():
        return every_run(store.experiment_id, query, is_latest_first=False)


def curve(run_id: str, metric: str) -> dict[int, float]:
    """The values of a run's metric by step; {} if it has none."""
    setup()
    with store_errors():
        return {point.step: point.value for point in MlflowClient().get_metric_history(run_id, metric)}


def latest_run(tags: Mapping[str, str]) -> str | None:
    """Id of the most recently started run with these tags, given by their bare names; None if there is none."""
    return _latest(*(f"tags.`{recorded_tag(name)}` = '{value}'" for name, value in tags.items()))


def _latest(*conditions: str) -> str | None:
    """Id of the most recently started run that meets all conditions (MLflow's search syntax); None if there is none."""
    store, client, order = setup(), MlflowClient(), ["attributes.start_time DESC"]
    with store_errors():
        runs = [
            run
            for query in in_names_of_each_version(" and ".join(conditions))
            for run in client.search_runs([store.experiment_id], query, order_by=order, max_results=1)
        ]
    return str(max(runs, key=lambda run: run.info.start_time).info.run_id) if runs else None


def run_of(run_id: str) -> Run:
    """Get a run. Raises InputError if there is none with this id."""
    setup()
    run = find_run(run_id)
    if run is None:
        raise InputError(f"{run_id} is not a run of {shown(mlflow.get_tracking_uri())}; give a run id")
    return run


def training_of(reference: str) -> Run:
    """The training that a run is or refers to; ``reference`` is as ``run_id_of`` takes it.

    Raises InputError if there is no such run, or if it is not of a training.
    """
    run = run_of(run_id_of(reference))
    if run.data.tags.get("stage") == "train":
        return run
    if trained := tag(run, "trained_run"):
        return run_of(trained)
    raise InputError(f"{reference} ({run.info.run_name}) is not a training; `tmlm runs` lists them")


def finished_step(step_key: str) -> tuple[str, dict[str, Any]] | None:
    """Run id and result of the latest finished run of a step; None if there is none or its result is gone."""
    run_id = _latest(f"tags.`{STEP_TAG}` = '{step_key}'", "attributes.status = 'FINISHED'")
    if run_id is None:
        return None
    try:
        return run_id, json.loads(read_text(run_id, RESULT_FILE))
    except (MlflowException, OSError, ValueError):  # its artifacts are gone or damaged
        return None


def stopped_step(step_key: str) -> str | None:
    """Id of the latest interrupted training with this step key; None if there is none."""
    ended = "attributes.status != 'FINISHED'", "attributes.status != 'RUNNING'"
    return _latest(f"tags.`{STEP_TAG}` = '{step_key}'", "tags.stage = 'train'", *ended)


def fetch_checkpoints(run: Run) -> Path | None:
    """Download a run's checkpoints to a folder that is removed at exit; None if they are local, or there are none."""
    if local_path(run.info.artifact_uri) is not None:
        return None
    kept = MlflowClient().list_artifacts(run.info.run_id, "checkpoints")
    return download_artifact(f"runs:/{run.info.run_id}/checkpoints") if kept else None


def read_yaml(run_id: str, path: str) -> dict[str, Any]:
    """A YAML artifact as a dict; {} if it is missing."""
    try:
        return dict(yaml.safe_load(read_text(run_id, path)))
    except (MlflowException, OSError):
        return {}


def read_json(run_id: str, path: str) -> dict[str, Any]:
    """A JSON artifact as a dict; {} if it is missing or truncated."""
    try:
        return dict(json.loads(read_text(run_id, path)))
    except (MlflowException, OSError, json.JSONDecodeError):
        return {}


def read_text(run_id: str, path: str) -> str:
    return artifact_path(run_id, path).read_text()


def artifact_path(run_id: str, path: str) -> Path:
    """Path of a run's artifact: the local file itself, or a download that is removed at exit."""
    local = local_path(MlflowClient().get_run(run_id).info.artifact_uri)
    return local / path if local else download_artifact(f"runs:/{run_id}/{path}")


@cache
def _downloads() -> tempfile.TemporaryDirectory[str]:
    """A temporary folder that is removed when this process exits."""
    return tempfile.TemporaryDirectory(prefix="tmlm-")


def download_artifact(uri: str) -> Path:
    """Download an artifact or a logged model to a folder that is removed at exit."""
    folder = tempfile.mkdtemp(dir=_downloads().name)
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))


def checkpoint_of(model: str) -> tuple[Path, str | None]:
    """The best checkpoint of a MODEL, and its run id if MODEL is a run or a ``runs:/`` address.

    MODEL is a run as ``run_id_of`` takes it, the path of a checkpoint, or a ``models:/`` or ``runs:/`` address of a
    logged model. Raises InputError for anything else.
    """
    if os.path.isfile(model):  # also False for an invalid file name
        return Path(model), None
    setup()
    if urlsplit(model).scheme in ("models", "runs"):
        try:
            run_id = model.split("/")[1] if model.startswith("runs:/") else None
            return download_artifact(model) / "artifacts" / BEST_CHECKPOINT, run_id
        except (MlflowException, OSError) as error:
            raise InputError(
                f"cannot load MODEL {model}: {without_passwords(str(error))}; give a run id, a file or a models:/ "
                "address"
            ) from None
    run = _run_of_model(model)
    kept = MlflowClient().list_artifacts(run.info.run_id, "checkpoints")
    if f"checkpoints/{BEST_CHECKPOINT}" not in [file.path for file in kept]:
        trained = tag(run, "trained_run")  # a pipeline, an evaluation or a sample refers to its training
        if trained and trained != run.info.run_id:
            return checkpoint_of(trained)
        raise InputError(f"MODEL {model} ({run.info.run_name}) is a run without a model; give the run id of a training")
    return artifact_path(run.info.run_id, f"checkpoints/{BEST_CHECKPOINT}"), run.info.run_id


def _run_of_model(model: str) -> Run:
    """The run that MODEL names. Raises InputError if there is none."""
    run = None
    with suppress(NoSuchRunError):
        run = find_run(run_id_of(model, "MODEL "))
    if run is None:
        raise InputError(
            f"MODEL {model} is neither a run of {shown(mlflow.get_tracking_uri())} nor a file; "
            f"give {FORMS}, the path of a checkpoint, or a models:/ address"
        )
    return run
