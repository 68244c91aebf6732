"""Read complete trainings and searches, with options, curves and results, for export without MLflow."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.tracking.store import setup, shown, store_errors

# isort: split

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.errors import InputError
from pipeline.tracking.records import CONFIG_TAG, RESULT_FILE, every_run, read_json, run_of, tag
from pipeline.training.metrics import TRAIN_CURVE, VAL_CURVE

CURVES = (TRAIN_CURVE, VAL_CURVE, "perplexity_pooled/train", "perplexity_pooled/val")


@dataclass(frozen=True)
class WholeTraining:
    """A training as it was recorded.

    configuration: its options under "corpus", "model" and "train", and its text. curves: metric -> epoch -> value.
    result: its flat result, empty unless it has finished. role: "trial" or "confirmation" for a search's training,
    else "".
    """

    run_id: str
    name: str
    status: str
    corpus: str
    corpus_sha256: str
    configuration: Mapping[str, Any]
    curves: Mapping[str, Mapping[int, float]]
    result: Mapping[str, Any]
    config_id: str = ""
    study: str = ""
    role: str = ""
    commit: str = ""
    is_dirty: bool = False

    @property
    def is_finished(self) -> bool:
        return bool(self.result)

    @property
    def seed(self) -> int:
        return int(self.configuration["train"]["seed"])

    @property
    def preset(self) -> str:
        return str(self.configuration["train"]["preset"])


@dataclass(frozen=True)
class WholeSearch:
    """A search as it was recorded: its options, its result (empty unless it has finished), and its trainings."""

    run_id: str
    study: str
    options: Mapping[str, str]
    result: Mapping[str, Any]
    trainings: tuple[WholeTraining, ...] = field(default=())


def whole_training(run_id: str) -> WholeTraining:
    """Read a training. Raises InputError if the run is missing or not a training."""
    run = run_of(run_id)
    if run.data.tags.get("stage") != "train" or CONFIG_TAG not in run.data.tags:
        raise InputError(f"{run_id} ({run.info.run_name}) is not a training; give a training's run id")
    return _whole(MlflowClient(), run)


def whole_search(run_id: str) -> WholeSearch:
    """Read a search from its parent run, and its trials and confirmations in the order in which they started."""
    run = run_of(run_id)
    query = f"tags.stage = 'train' and tags.`mlflow.parentRunId` = '{run_id}'"
    latest = {name: tag(run, f"latest.{name}") for name in LATEST}  # parameters keep the first command's values
    return WholeSearch(
        run_id=run_id,
        study=run.data.tags.get("study", ""),
        options={**run.data.params, **{name: value for name, value in latest.items() if value}},
        result=read_json(run_id, RESULT_FILE),
        trainings=_trainings(run.info.experiment_id, query),
    )


LATEST = ("trials", "sampler", "seed", "confirm_seeds", "budget_macs")  # options that a later command may change


def searches() -> dict[str, str]:
    """The studies of the store: name -> id of the study's latest run."""
    store = setup()
    found: dict[str, str] = {}
    with store_errors():
        for run in every_run(store.experiment_id, "tags.stage = 'search'"):  # latest first
            found.setdefault(run.data.tags.get("study", ""), run.info.run_id)
    return found


def experiment_of(reference: str) -> tuple[str, str] | None:
    """Id and name of an MLflow experiment, given either; None if there is none."""
    setup()
    client = MlflowClient()
    with store_errors():
        experiment = client.get_experiment_by_name(reference)
        if experiment is None and reference.isascii() and reference.isdigit():
            try:
                experiment = client.get_experiment(reference)
            except MlflowException:
                return None
    return None if experiment is None else (str(experiment.experiment_id), str(experiment.name))


def finished_in(experiment_id: str) -> tuple[WholeTraining, ...]:
    """The finished trainings of an experiment that have a result, in the order in which they started."""
    query = "tags.stage = 'train' and attributes.status = 'FINISHED'"
    return tuple(training for training in _trainings(experiment_id, query) if training.is_finished)


def where() -> str:
    """The store as messages show it."""
    return shown(setup().uri)


def _trainings(experiment_id: str, query: str) -> tuple[WholeTraining, ...]:
    client = MlflowClient()
    with store_errors():
        runs = every_run(experiment_id, query, is_latest_first=False)
        return tuple(_whole(client, run) for run in runs if CONFIG_TAG in run.data.tags)


def _whole(client: MlflowClient, run: Run) -> WholeTraining:
    tags, run_id = run.data.tags, run.info.run_id
    histories = {key: client.get_metric_history(run_id, key) for key in CURVES if key in run.data.metrics}
    return WholeTraining(
        run_id=run_id,
        name=run.info.run_name,
        status=run.info.status,
        corpus=tags.get("corpus", ""),
        corpus_sha256=tag(run, "corpus.sha256"),
        configuration=json.loads(tags[CONFIG_TAG]),
        curves={key: {point.step: point.value for point in points} for key, points in histories.items()},
        result=read_json(run_id, RESULT_FILE) if run.info.status == "FINISHED" else {},
        config_id=tags.get("config_id", ""),
        study=tags.get("study", ""),
        role=tag(run, "role"),
        commit=tag(run, "git.commit"),
        is_dirty=tag(run, "git.dirty") == "true",
    )
