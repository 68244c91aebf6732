"""Read what is recorded: runs, trainings, their curves, results and other artifacts."""

import atexit
import json
import os
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, Literal

import yaml

from models.config import ConfigError, ModelConfig
from pipeline import earlier
from pipeline.config import NOT_COMPUTED, ON_REPORTS_TEXT, TrainConfig
from pipeline.errors import InputError, without_secrets
from pipeline.results import CONFIGURATION, ENVIRONMENT, FIGURES, METRICS, ROW, SAMPLES, SEARCH, STAGES, TRAIN, Stage
from pipeline.support.processes import is_gone, is_of_this_machine
from pipeline.support.records import has_form
from pipeline.support.wording import counted
from pipeline.tracking.names import PARENT, bare_tags, recorded_tag
from pipeline.tracking.relocation import local_path
from pipeline.tracking.store import client, own_experiment, setup, shown, store_errors
from pipeline.training.metrics import POOLED_CURVES, split_of

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

FORMAT = 2  # of records: raise it when tags, metrics or artifacts change so that earlier ones can't be read
NO_SUCH_RUN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow's error codes for an unknown run id
RESULT_FILE = "result.json"  # artifact with a step's result
SAMPLES_FILE = "samples/final.json"  # artifact with a training's sample texts
COSTS_FILE = "costs.json"  # artifact with a training's mean costs of blocks of the held-out texts
# of a search, which may change
LATEST_OPTIONS = ("trials", "sampler", "seed", "confirm_seeds", "budget_macs", "max_perplexity")
OWN_ROLES = ("", "seed")  # of trainings whose options a person has chosen
SHORT_ID = 8  # characters of a run id that lists show
LARGEST = 1e100  # of a metric: MLflow reads an infinite one as 1.8e308, and with the square of that nothing is computed
PAGE, LARGEST_PAGE = 10, 200  # runs in the first request, as most look for the latest one; each next has twice as many
FINISHED = "attributes.status = 'FINISHED'"
BEST_FIRST = "metrics.`result/val_perplexity` ASC"  # an order of trainings
NOT_FAILED = "attributes.status != 'FAILED' and attributes.status != 'KILLED'"  # finished or running
STOPPED = "attributes.status != 'FINISHED' and attributes.status != 'RUNNING'"

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
    metrics: Mapping[str, float] = field(repr=False)  # the last value of each, if it is below LARGEST
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
            values[name] = number(self.metrics, metric, int if FIGURES[name].section == "size" else float)
        return {name: values[name] if name in values else getattr(self, name) for name in ROW}


def _read(run: Run) -> RecordedRun:
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
        metrics={name: value for name, value in run.data.metrics.items() if abs(value) < LARGEST},
        started_ms=info.start_time,
        ended_ms=info.end_time,
        artifact_uri=info.artifact_uri,
        is_deleted=info.lifecycle_stage != "active",
        logged=frozenset(run.data.metrics),
    )


# --- one run ----------------------------------------------------------------------------------------------------------


def find_run(run_id: str) -> RecordedRun | None:
    """Read a run, deleted or not; None if the store has no such run. Raises as ``store_errors`` does."""
    with store_errors():
        try:
            return _read(client().get_run(run_id))
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
    return run


# --- many runs --------------------------------------------------------------------------------------------------------


def search_runs(
    *conditions: str, order: str = "end_time DESC", experiments: Sequence[str] = ()
) -> Iterator[RecordedRun]:
    """The runs that meet all conditions, page by page as they are needed; these and ``order`` are in MLflow's syntax.

    Searches the store's experiment unless others are given, and leaves out runs in another format.
    """
    experiments, token, query = experiments or [setup().experiment_id], None, " and ".join(conditions)
    size = PAGE
    while True:
        with store_errors():
            page = client().search_runs(list(experiments), query, 1, size, [order], token)
        for run in map(_read, page):
            if not run.stage or run.tag("format") == str(FORMAT):
                yield run
        if not (token := page.token):
            return
        size = min(2 * size, LARGEST_PAGE)


def has_tag(tag: str, value: str | None) -> str:
    """The condition that a tag, given by its bare name, has a value; None: that it is missing."""
    name = f"tags.`{recorded_tag(tag)}`"
    return f"{name} IS NULL" if value is None else equals(name, value)


def equals(name: str, value: str) -> str:
    """The condition that an attribute or a tag equals a value, which must not have both kinds of quotes."""
    quote = '"' if "'" in value else "'"
    return f"{name} = {quote}{value}{quote}"


def begins(name: str, beginning: str) -> str:
    """The condition that an attribute begins so; in place of a quote or a sign, it may have any character."""
    pattern = re.sub(r"\W", "_", beginning)  # LIKE's wildcard for one character
    return f"{name} LIKE '{pattern}%'"


def trainings(
    *conditions: str, order: str = "end_time DESC", experiments: Sequence[str] = ()
) -> Iterator[RecordedTraining]:
    """The trainings that meet all conditions, by default the one that ended last first."""
    for run in search_runs(has_tag("stage", TRAIN), *conditions, order=order, experiments=experiments):
        if isinstance(run, RecordedTraining):
            yield run


def on_text(corpus: str) -> Callable[[RecordedTraining], bool]:
    """Whether a training is on a text: its recorded name, with or without alphabet, its path, address or sha256."""
    path = corpus if "\0" in corpus else os.path.realpath(os.path.expanduser(corpus))
    meant = {corpus, without_secrets(corpus), path}

    def is_on(run: RecordedTraining) -> bool:
        labels = {f"{name}-{run.params.get('alphabet', 'letters')}" for name in meant}
        return run.corpus in labels or not meant.isdisjoint((run.corpus, run.tag("corpus.source"), run.corpus_sha256))

    return is_on


def listed_trainings(search: str = "", corpus: str = "") -> Iterator[RecordedTraining]:
    """The trainings: the running ones, then the others by the time at which they ended, latest first.

    ``search`` keeps those with all its words in name, id, text or study, ignoring case; ``corpus`` those ``on_text``.
    """
    words, is_on_text = search.lower().split(), on_text(corpus) if corpus else lambda run: True

    def is_wanted(run: RecordedTraining) -> bool:
        texts = [text.lower() for text in (run.name, run.id, run.corpus, run.study)]
        return is_on_text(run) and all(any(word in text for text in texts) for word in words)

    running = trainings("attributes.status = 'RUNNING'", order="start_time DESC")
    return filter(is_wanted, chain(running, trainings("attributes.status != 'RUNNING'")))


def finished_trainings(corpus_sha256: str = "") -> list[RecordedTraining]:
    """The finished trainings with a result, of one text or of all, the latest first."""
    of_text = [has_tag("corpus.sha256", corpus_sha256)] if corpus_sha256 else []
    found = trainings(FINISHED, "metrics.`result/val_perplexity` > 0", *of_text)
    return [run for run in found if "result/val_perplexity" in run.metrics]


def diverged_trainings(corpus_sha256: str) -> list[RecordedTraining]:
    """The trainings on a text that diverged, latest first; they have no result."""
    failed = trainings(has_tag("corpus.sha256", corpus_sha256), "attributes.status = 'FAILED'")
    return [run for run in failed if run.has_diverged]


def nested_trainings(parent: str) -> list[RecordedTraining]:
    """The trainings nested in a run, in the order in which they started."""
    return list(trainings(has_tag(PARENT, parent), order="start_time ASC"))


def by_configuration(trainings: Iterable[RecordedTraining]) -> list[dict[int, RecordedTraining]]:
    """Group trainings that differ in their seed alone, and map each seed to the last training with it.

    Trainings that their time limit ended are apart from those of the same configuration.
    """
    groups: dict[tuple[str, bool], dict[int, RecordedTraining]] = {}
    for training in trainings:
        key = training.config_id, training.facts["stopped_by"] == "time"
        groups.setdefault(key, {})[training.seed] = training
    return list(groups.values())


def told_apart(names: Sequence[str], trainings: Sequence[RecordedTraining]) -> list[str]:
    """Add to equal names up to three options that differ among their trainings; the run's id if these are equal too."""
    options = [{**each.configuration["model"], **each.configuration["train"]} for each in trainings]
    values = defaultdict[tuple[str, str], set[str]](set)
    for name, own in zip(names, options, strict=True):
        for option in own.keys() - NOT_COMPUTED:
            values[name, option].add(str(own[option]))
    told = []
    for name, own in zip(names, options, strict=True):
        differing = [option for option in own if len(values[name, option]) > 1][:3]
        said = [f"{key} {own[key]:.3g}" if isinstance(own[key], float) else f"{key} {own[key]}" for key in differing]
        told.append(f"{name} ({', '.join(said)})" if said else name)
    often, given = Counter(told), zip(names, trainings, told, strict=True)
    return [f"{name} (run {run.id[:SHORT_ID]})" if often[full] > 1 else full for name, run, full in given]


def unread_runs() -> str:
    """A sentence about the runs of version 0.1.0, which recorded no format; "" if there are none."""
    with store_errors():
        experiments = [experiment.experiment_id for experiment in client().search_experiments()]
        found = client().search_runs(experiments, f"tags.stage != '' and {has_tag('format', None)}")
    count = sum(bool(_read(run).stage) for run in found)
    are = "is" if count == 1 else "are"
    return f"{counted(count, 'run')} of version 0.1.0 {are} here, which this version does not read" if count else ""


def refused_runs() -> list[RecordedRun]:
    """The runs in this experiment that `mlflow run` began, and that ended before a command recorded anything."""
    with store_errors():
        experiment = own_experiment()
        conditions = "attributes.status = 'FAILED'", "tags.failure != ''", has_tag("format", None)
        runs = search_runs(*conditions, experiments=[experiment.experiment_id]) if experiment else ()
        return [run for run in runs if run.tags.keys() >= REFUSED and not run.logged and not artifacts_of(run)]


def latest(*conditions: str) -> RecordedRun | None:
    """The most recently started run that meets all conditions; None if there is none."""
    return next(search_runs(*conditions, order="start_time DESC"), None)


# --- artifacts --------------------------------------------------------------------------------------------------------


def read_result(run_id: str, stage: str) -> dict[str, Any]:
    """The result of a stage; {} if it is missing, damaged or not in the form that its stage declares."""
    found = read_json(run_id, RESULT_FILE, STAGES.get(stage, Stage()).result)
    if stage == SEARCH and found.get("compared"):
        return {**found, "compared": [*map(earlier.compared, found["compared"])]}
    return earlier.facts(found) if stage == TRAIN and found else found


def read_samples(run_id: str) -> list[dict[str, Any]]:
    """The sample texts of a training, the longest last; [] if they are missing or damaged."""
    found: list[dict[str, Any]] = read_json(run_id, SAMPLES_FILE, SAMPLES).get("samples", [])
    return found


def read_environment(run_id: str) -> dict[str, Any]:
    """The machine and the versions that a run has recorded; {} if they are missing or damaged."""
    found = as_dict(yaml.safe_load, read_text(run_id, "environment.yaml"), ENVIRONMENT)
    return {name: value for name, value in found.items() if value is not None}


def read_json(run_id: str, path: str, form: Any = dict) -> dict[str, Any]:
    """A JSON artifact as a dict; {} if it is missing, damaged or not of this form."""
    return as_dict(json.loads, read_text(run_id, path), form)


def read_text(run_id: str, path: str) -> str:
    """A text artifact; "" if it is missing or no text."""
    with suppress(MlflowException, OSError, ValueError):
        return artifact_path(run_id, path).read_text(encoding="utf-8")
    return ""


def as_dict(parse: Callable[[Any], Any], text: str | bytes, form: Any) -> dict[str, Any]:
    """What a recorded text says; {} if it does not parse or is no dict of this form."""
    try:
        value = parse(text)
        json.dumps(value, ensure_ascii=False, skipkeys=True, default=str).encode()  # half of a surrogate pair fails
    except (ValueError, RecursionError, yaml.YAMLError):
        return {}
    return value if isinstance(value, dict) and has_form(value, form) else {}


def artifact_path(run_id: str, path: str) -> Path:
    """Path of a run's artifact: the local file itself, or a download that is removed at exit."""
    setup()
    local = local_path(client().get_run(run_id).info.artifact_uri)
    return local / path if local else download_artifact(f"runs:/{run_id}/{path}")


def download_artifact(uri: str) -> Path:
    """Download an artifact or a logged model to a folder that is removed at exit."""
    folder = tempfile.mkdtemp(prefix="tmlm-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))


def artifacts_of(run: RecordedRun, folder: str = "") -> list[str]:
    """The names of the artifacts in a folder of a run; none if they are at an address that MLflow can't read."""
    with suppress(ValueError):
        return [PurePath(file.path).name for file in client().list_artifacts(run.id, folder or None)]
    return []


def fetch_checkpoints(run: RecordedRun) -> Path | None:
    """Download a run's checkpoints to a folder that is removed at exit; None if they are local, or there are none."""
    if local_path(run.artifact_uri) is not None:
        return None
    return download_artifact(f"runs:/{run.id}/checkpoints") if artifacts_of(run, "checkpoints") else None
