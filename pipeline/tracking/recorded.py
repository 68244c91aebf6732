"""Runs and trainings as they were recorded, with their curves and results."""

import json
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePath
from typing import Any, Literal

from models.config import ConfigError, ModelConfig
from pipeline import earlier
from pipeline.config import ON_REPORTS_TEXT, TEXT_SYMBOLS, TrainConfig, chosen_options
from pipeline.errors import InputError
from pipeline.results import CONFIGURATION, FIGURES, METRICS, ROW, TRAIN
from pipeline.support.processes import is_gone, is_of_this_machine
from pipeline.tracking import program
from pipeline.tracking.artifacts import artifact_path, as_dict, read_result
from pipeline.tracking.descriptions import NOTE, one_line
from pipeline.tracking.names import PARENT, WEIGHTS, bare_tags
from pipeline.tracking.store import client, setup, shown, store_errors
from pipeline.training.files import BEST_CHECKPOINT
from pipeline.training.metrics import POOLED_CURVES, split_of

from mlflow.entities import Run
from mlflow.exceptions import MlflowException

FORMAT = 2  # of records: raise it when tags, metrics or artifacts change so that earlier ones can't be read
NO_SUCH_RUN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow's error codes for an unknown run id
# of a search, which may change
LATEST_OPTIONS = ("trials", "sampler", "seed", "confirm_seeds", "budget_macs", "max_perplexity")
OWN_ROLES = ("", "seed")  # of trainings whose options a person has chosen
SHORT_ID = 8  # characters of a run id that lists show
LARGEST = 1e100  # of a metric: MLflow reads an infinite one as 1.8e308, and with the square of that nothing is computed

REFUSED = {"failure", "mlflow.project.entryPoint"}  # tags of a run of `mlflow run` that failed before a command took it

RunState = Literal["running", "finished", "stopped", "failed"]

STATES: Mapping[str, RunState] = {"FINISHED": "finished", "RUNNING": "running", "KILLED": "stopped"}  # others: failed


@dataclass(frozen=True)
class RecordedRun:
    """A run as it was recorded; curves and artifacts are read when they are asked for. Tags have their bare names."""

    id: str
    name: str
    status: str = field(repr=False)  # MLflow's
    tags: Mapping[str, str] = field(repr=False)
    params: Mapping[str, str] = field(repr=False)
    metrics: Mapping[str, float] = field(repr=False)  # the last value of each that ``_is_possible``
    started_ms: int
    ended_ms: int | None
    artifact_uri: str = field(repr=False)
    is_deleted: bool = False
    logged: frozenset[str] = field(default=frozenset(), repr=False)  # names of metrics, finite or not
    curves: dict[str, Mapping[int, float]] = field(default_factory=dict, repr=False)  # that ``curve`` has read

    @property
    def state(self) -> RunState:
        """What became of the run: running only while its process may be alive."""
        if self.status == "RUNNING":
            return "failed" if is_of_this_machine(self.tags) and is_gone(self.tags) else "running"
        if self.facts.get("failure.kind") == "stopped":  # `mlflow run` changes KILLED to FAILED
            return "stopped"
        return STATES.get(self.status, "failed")

    def tag(self, name: str) -> str:
        """A tag by its bare name; "" if it is missing."""
        return self.tags.get(name, "")

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Its tags, with the facts that an earlier version recorded in sentences only."""
        return earlier.facts(self.tags)

    @property
    def stage(self) -> str:
        return self.tag("stage")

    @property
    def weights_deleted(self) -> bool:
        return bool(self.tag(WEIGHTS))

    @property
    def corpus(self) -> str:
        """The name of its text."""
        return self.tag("corpus")

    @property
    def corpus_sha256(self) -> str:
        return self.tag("corpus.sha256")

    @property
    def study(self) -> str:
        return self.tag("study")

    @property
    def note(self) -> str:
        """Why a person made it; "" if nobody has said."""
        return one_line(self.tag(NOTE))

    @property
    def like(self) -> str:
        """The training whose shape and recipe it was given, and what was chosen in place of them; "" for none."""
        return one_line(self.tag("like"))

    @property
    def parent(self) -> str:
        """The id of the run that it is nested in; "" for none."""
        return self.tag(PARENT)

    @property
    def on_reports_text(self) -> bool:
        """Whether it trained and validated on the report's windows."""
        return (self.tag("protocol") or self.params.get("preset")) in ON_REPORTS_TEXT

    def measured_on(self, perplexity: str) -> tuple[str, bool]:
        """Identify the characters that this perplexity was measured on: on the same ones, trainings can be compared.

        All presets have the same test split of a text; some validate on the report's windows.
        """
        return self.corpus_sha256, split_of(perplexity) == "val" and self.on_reports_text

    @property
    def options(self) -> dict[str, str]:
        """The options of its latest command: MLflow's parameters keep those of the first one."""
        latest = {name: value for name in LATEST_OPTIONS if (value := self.tag(f"latest.{name}"))}
        return {**self.params, **latest}

    @property
    def process(self) -> str:
        """The process that records it, for messages."""
        return f"pid {self.tag('process.pid') or '?'} on {self.tag('process.host') or 'an unknown machine'}"

    @cached_property
    def result(self) -> Mapping[str, Any]:
        """Its flat result, with its texts; {} unless it has finished."""
        return read_result(self.id, self.stage) if self.status == "FINISHED" else {}

    def curve(self, metric: str) -> Mapping[int, float]:
        """A curve, read when it is first asked for: step (epoch) -> value, {} for a metric that it has not recorded."""
        if metric not in self.curves:
            with store_errors():
                points = client().get_metric_history(self.id, metric) if metric in self.logged else []
            self.curves[metric] = {point.step: point.value for point in sorted(points, key=lambda point: point.step)}
        return self.curves[metric]

    def pooled(self, metric: str) -> Mapping[int, float]:
        """A perplexity's curve, pooled over the characters as an n-gram's, where its protocol has another mean."""
        pooled = POOLED_CURVES[metric]
        return self.curve(pooled if pooled in self.logged else metric)


@dataclass(frozen=True)
class RecordedTraining(RecordedRun):
    """A training as it was recorded."""

    @cached_property
    def configuration(self) -> Mapping[str, Any]:
        """Its options under "corpus", "model" and "train", its text and RECIPE; {} if it has none (yet)."""
        found = as_dict(json.loads, self.tags.get("config", "{}"), CONFIGURATION)
        return {**found, "train": earlier.options(found["train"])} if found else {}

    @property
    def configs(self) -> tuple[ModelConfig, TrainConfig]:
        """Its configurations. Raises InputError for options that this version does not have."""
        try:
            return ModelConfig(**self.configuration["model"]), TrainConfig(**self.configuration["train"])
        except (TypeError, ConfigError) as error:
            raise InputError(f"{self.name} ({self.id}) was trained by another version ({error})") from error

    @property
    def symbols(self) -> int:
        """The number of symbols of its text, which earlier versions have in the checkpoint only; 0 without weights."""
        if (symbols := self.configuration["text"].get("symbols", 0)) or self.tag(WEIGHTS):
            return int(symbols)
        from pipeline.training.checkpoints import load_checkpoint  # imports torch

        path = artifact_path(self.id, f"checkpoints/{BEST_CHECKPOINT}")
        return len(load_checkpoint(path)[1]["vocabulary"]["symbols"])

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that a person chose: without what its preset gave by the recipe of that time."""
        text, recipe = self.configuration["text"], self.configuration["recipe"]
        symbols = text.get("symbols", TEXT_SYMBOLS)  # recipe 6, of whose runs not all have it, does without
        return chosen_options(*self.configs, text["train_chars"], symbols, recipe)

    @property
    def seed(self) -> int:
        return int(self.configuration["train"]["seed"])

    @property
    def preset(self) -> str:
        return str(self.configuration["train"]["preset"])

    @property
    def config_id(self) -> str:
        """Digest of the configuration without the seed."""
        return self.tag("config_id")

    @property
    def role(self) -> str:
        """The role of a training in a sweep; else ""."""
        return self.tag("role")

    @property
    def has_diverged(self) -> bool:
        return self.facts.get("failure.kind") == "diverged"

    def row(self) -> dict[str, Any]:
        """The training as plain values; None or "" for what it has not recorded (yet)."""

        def number(values: Mapping[str, Any], name: str, kind: Callable[[float], float] = int) -> float | None:
            with suppress(KeyError, ValueError, OverflowError):  # mlflow run records what was given, whatever it is
                return kind(float(values[name]))
            return None

        values = {"run_id": self.id, "learning_rate": number(self.params, "learning_rate", float)}
        values |= {name: self.params.get(name, "") for name in ("cell", "on_top_of", "preset")}
        for name in ("num_layers", "hidden_size", "seed", "epochs", "batch_size"):
            values[name] = number(self.params, name)
        for metric, name in METRICS.items():
            kind = int if FIGURES[name].section == "size" else float if FIGURES[name].form else bool
            values[name] = number(self.metrics, metric, kind)
        return {name: values[name] if name in values else getattr(self, name) for name in ROW}


def noted(training: RecordedTraining, note: str) -> RecordedTraining:
    """A training, which has this note, of what it is a part of, if it has none of its own."""
    return replace(training, tags={**training.tags, NOTE: note}) if note and not training.note else training


def _is_possible(name: str, value: float) -> bool:
    """Whether a metric can be computed with: a perplexity's logarithm is needed."""
    is_positive = value > 1 / LARGEST
    return abs(value) < LARGEST and (is_positive or "perplexity" not in name)


def read_run(run: Run) -> RecordedRun:
    info, tags = run.info, bare_tags(run.data.tags)
    if info.status == "FAILED" and tags.keys() >= REFUSED and "format" not in tags:
        tags.pop("stage", None)  # which 0.2.0 set, though no command had taken the run over
    kind = RecordedTraining if tags.get("stage") == TRAIN else RecordedRun
    return kind(
        id=info.run_id,
        name=info.run_name,
        status=info.status,
        tags=tags,
        params=earlier.options(run.data.params),
        metrics={name: value for name, value in run.data.metrics.items() if _is_possible(name, value)},
        started_ms=info.start_time,
        ended_ms=info.end_time,
        artifact_uri=info.artifact_uri,
        is_deleted=info.lifecycle_stage != "active",
        logged=frozenset(run.data.metrics),
    )


def find_run(run_id: str) -> RecordedRun | None:
    """Read a run, deleted or not; None if the store has no such run. Raises as ``store_errors`` does."""
    with store_errors():
        try:
            return read_run(client().get_run(run_id))
        except MlflowException as error:
            if error.error_code not in NO_SUCH_RUN:
                raise
            return None


def run_of(run_id: str) -> RecordedRun:
    """Read a run. Raises InputError if there is none with this id, or if it is recorded in another format."""
    store = setup()
    run = find_run(run_id)
    if run is None:
        raise InputError(f"{run_id} is not a run of {shown(store.uri)}; give a run id")
    return readable(run)


def readable(run: RecordedRun) -> RecordedRun:
    """The run itself. Raises InputError if it is recorded in another format."""
    if run.stage and run.tag("format") != str(FORMAT):
        raise InputError(
            f"{run.name} ({run.id}) is recorded in format {run.tag('format') or 1}, but this version reads format "
            f"{FORMAT}: use the version that recorded it, or train again"
        )
    return run


def ended_run(run_id: str) -> RecordedRun | None:
    """Read a run to reopen; None if it is missing or deleted. Raises InputError if it is RUNNING."""
    run = find_run(run_id)
    if run is None or run.is_deleted:
        return None
    refuse_running(run, f"{run.name} ({run_id})")
    return run


def refuse_running(run: RecordedRun, what: str) -> None:
    """Raise InputError for a run that is RUNNING, which messages call ``what``."""
    if run.status == "RUNNING":
        remedy = "stop it first"
        if not is_of_this_machine(run.tags):
            remedy = f"stop it there first, or, if that machine or container is gone: tmlm doctor --close {run.id}"
        raise InputError(f"{what} is still running ({run.process}); {remedy}")


def resumable(run: RecordedRun) -> RecordedTraining:
    """The run itself, to resume it. Raises InputError if it is deleted, RUNNING, or not a training."""
    what = f"--resume {run.id} ({run.name})"
    if run.is_deleted:
        raise InputError(f"{what} was deleted; restore it first: mlflow runs restore -r {run.id}")
    if not isinstance(run, RecordedTraining) or not run.configuration:
        child = f"; its training is {run.tag('trained_run')}" if run.tag("trained_run") else ""
        raise InputError(f"{what} is not a training that can be resumed{child}")
    refuse_running(run, what)
    refuse_without_weights(run)
    return run


def refuse_without_weights(run: RecordedRun, anew: str = "") -> None:
    """Raise InputError for a training whose weights were deleted; ``anew`` is the command that trains it again."""
    if run.tag(WEIGHTS):
        own = (f" --{name} {shlex.quote(run.params.get(name, ''))}" for name in ("corpus", "alphabet", "seed"))
        anew = anew or f"{program.command()} train --like {run.id}{''.join(own)}"
        raise InputError(f"the weights of {run.name} ({run.id}) were deleted; to train it anew: {anew}")


def artifacts_of(run: RecordedRun, folder: str = "") -> list[str]:
    """The names of the artifacts in a folder of a run; none if they are at an address that MLflow can't read."""
    with suppress(ValueError):
        return [PurePath(file.path).name for file in client().list_artifacts(run.id, folder or None)]
    return []
