"""Record MLflow runs: start, resume and end them, and log to them."""

import json
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, TypeVar

import yaml
from filelock import FileLock

from pipeline.config import UNDER_MLFLOW
from pipeline.errors import ClusterError, InputError, RecordingError, TrainingDivergedError, without_secrets
from pipeline.results import RESUME, TRAIN
from pipeline.support import signals
from pipeline.support.files import LOCK_SECONDS
from pipeline.support.machine import git_tags
from pipeline.support.markdown import plain
from pipeline.support.processes import process_tags
from pipeline.support.signals import defer_signals
from pipeline.tracking import store as stores
from pipeline.tracking.artifacts import artifact_path, sync_artifacts
from pipeline.tracking.descriptions import ABOUT, NOTE, PAGE, describe
from pipeline.tracking.liveness import IDENTITY, close_the_dead
from pipeline.tracking.logged_model import log_model
from pipeline.tracking.names import FailureKind, failure_tags, recorded_tag, recorded_tags
from pipeline.tracking.program import command
from pipeline.tracking.recorded import FORMAT, RecordedRun, find_run
from pipeline.tracking.relocation import local_path
from pipeline.tracking.store import REFUSALS, Store, set_tags, shown, store_errors, store_reason, warn_if_silent
from pipeline.tracking.ui import views
from pipeline.training.files import LAST_CHECKPOINT

import mlflow
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient, fluent
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
FINAL = ("result/", "size/", "speed/")  # beginnings of the names of metrics that are not curves
SEND_SECONDS = 120.0  # between two uploads of a training's checkpoints
ENDED = {"failure", "failure.kind", "failure.message", "stopped", "stopped_by"}  # tags that say how a run has ended
UNDECIDED = (None, "auto", "")  # values of options that are empty or are resolved later


def dataset(name: str, digest: str, source: str, role: str) -> DatasetInput:
    """A dataset that runs read; ``digest`` has at most 36 characters (MLflow's limit), ``role`` names its split."""
    is_url = source.startswith("https://")
    where = json.dumps({"url": source} if is_url else {"tags": {"source": source}})  # as MLflow's sources do
    read = Dataset(name, digest, "http" if is_url else "code", where)
    return DatasetInput(read, [InputTag(MLFLOW_DATASET_CONTEXT, role)])


def round_metric(value: float) -> float:
    """Round to six significant digits, since the UI shows all digits; whole numbers (MACs, parameters) stay exact."""
    return float(value) if float(value).is_integer() else float(f"{value:.6g}")


def records(method: Callable[Concatenate["TrackedRun", P], T]) -> Callable[Concatenate["TrackedRun", P], T]:
    """Decorate a method that records: it is not interrupted, and errors of the store or its disk are RecordingError."""

    def wrapper(self: "TrackedRun", /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.check_is_recorded()
        try:
            with defer_signals(), warn_if_silent(self.store.uri):
                return method(self, *args, **kwargs)
        except REFUSALS as error:
            raise RecordingError(
                f"{self.name} can't be recorded in {shown(self.store.uri)}: {store_reason(error)}"
            ) from None

    return wrapper


class TrackedRun:
    """An MLflow run that this process records. Methods that record raise RecordingError if the store refuses."""

    def __init__(self, store: Store, run: Run, name: str, is_resumed: bool = False) -> None:
        self.store = store
        self.id: str = run.info.run_id
        self.name = name
        self.artifact_uri: str = run.info.artifact_uri
        self.checkpoint_dir = stores.checkpoint_folder(self.id, self.artifact_uri)
        self.has_remote_artifacts = local_path(self.artifact_uri) is None  # outside of this machine's file system
        self.client = MlflowClient()
        self._params = dict(run.data.params)
        self._is_resumed = is_resumed
        self._sent_at = time.monotonic()
        self._steps: dict[str, set[int]] = {}  # for a resumed run: the recorded steps of each metric

    def check_is_recorded(self) -> None:
        """Raise RecordingError if the database file was moved or deleted: SQLite would keep writing to it unseen."""
        if (file := stores.sqlite_file(self.store.uri)) is not None and not file.exists():
            raise RecordingError(
                f"the store {file} was moved or deleted while {self.name} was being recorded; put it back, or if the "
                "checkout was moved, run `tmlm doctor --repair` in its new place"
            )

    @records
    def send_checkpoints(self) -> None:
        """Upload the checkpoints to an artifact store that is not a folder of this machine."""
        if self.has_remote_artifacts and self.checkpoint_dir.is_dir():
            self.client.log_artifacts(self.id, str(self.checkpoint_dir), "checkpoints")

    def send_checkpoints_if_due(self) -> None:
        """Call ``send_checkpoints`` if the last upload is SEND_SECONDS old: another machine may have to resume."""
        if time.monotonic() - self._sent_at >= SEND_SECONDS:
            self.send_checkpoints()
            self._sent_at = time.monotonic()

    def send_what_is_kept(self, error: BaseException) -> None:
        """Upload the checkpoints of a training that ``error`` ended; a failure is logged, not raised."""
        try:
            with stores.impatient() if is_in_a_hurry(error) else nullcontext():
                self.send_checkpoints()
        except RecordingError as failure:
            log.warning("The checkpoints of %s stay in %s: %s", self.name, self.checkpoint_dir, failure)
        else:
            self.forget_checkpoints()

    def forget_checkpoints(self) -> None:
        """Remove the local copy of uploaded checkpoints; a resumed training downloads them."""
        if self.has_remote_artifacts:
            shutil.rmtree(self.checkpoint_dir.parent, ignore_errors=True)

    def drop_last_checkpoint(self) -> None:
        """Remove the last checkpoint of a training that has finished and can't go on; a failure is logged, not raised.

        It is kept if another process has resumed the run meanwhile.
        """
        try:
            if self.client.get_run(self.id).info.status == "FINISHED":
                artifacts = get_artifact_repository(self.artifact_uri, self.store.uri)
                artifacts.delete_artifacts(f"checkpoints/{LAST_CHECKPOINT}")
        except Exception as error:  # of any kind: MLflow's artifact stores have their own
            log.warning("%s keeps the checkpoint %s: %s", self.name, LAST_CHECKPOINT, without_secrets(str(error)))

    @records
    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters that are decided, but those already logged, as by ``mlflow run``: they can't be changed."""
        new = {key: str(each) for key, each in values.items() if each not in UNDECIDED and key not in self._params}
        self._params |= new
        self.client.log_batch(self.id, params=[Param(key, value) for key, value in new.items()])

    @records
    def tags(self, values: Mapping[str, Any]) -> None:
        """Set tags by their bare names."""
        set_tags(self.id, values)

    @records
    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log one step of curves in one synchronous call, unless a resumed run has recorded it already."""
        now, metrics = int(1000 * time.time()), []
        for key, value in values.items():
            if self._is_resumed and key not in self._steps:
                self._steps[key] = {metric.step for metric in self.client.get_metric_history(self.id, key)}
            if step not in self._steps.get(key, ()):
                metrics.append(Metric(key, round_metric(value), now, step))
        self.client.log_batch(self.id, metrics=metrics)

    @records
    def curve(self, key: str, values: Mapping[int, float]) -> None:
        """Log a whole curve: step -> value."""
        now = int(1000 * time.time())
        self.client.log_batch(self.id, metrics=[Metric(key, value, now, step) for step, value in values.items()])

    @records
    def constants(
        self,
        values: Mapping[str, float],
        model_id: str | None = None,
        datasets: Mapping[str, DatasetInput] = MappingProxyType({}),
    ) -> None:
        """Log metrics that have one value, at step 0; the UI shows them as bars.

        ``model_id`` is a logged model to which the metrics are linked; ``datasets`` maps metrics to the datasets that
        they were measured on. Without a model, a resumed run logs only metrics that differ: the last value counts.
        """
        before = self.client.get_run(self.id).data.metrics if self._is_resumed and model_id is None else {}
        now, metrics = int(1000 * time.time()), []
        for key, value in values.items():
            if before.get(key) != round_metric(value):
                measured_on = (datasets[key].dataset.name, datasets[key].dataset.digest) if key in datasets else ()
                metrics.append(Metric(key, round_metric(value), now, 0, model_id, *measured_on))
        self.client.log_batch(self.id, metrics=metrics)

    @records
    def text(self, path: str, text: str) -> None:
        """Log a text as an artifact."""
        self.client.log_text(self.id, text, path)

    def yaml(self, path: str, values: Mapping[str, Any]) -> None:
        """Log values as a YAML artifact."""
        self.text(path, yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True))

    def json(self, path: str, values: Mapping[str, Any]) -> None:
        """Log values as a JSON artifact."""
        self.text(path, json.dumps(values, indent=1, ensure_ascii=False))

    @records
    def file(self, file: Path, folder: str) -> None:
        """Log a file as an artifact in a folder of the run's artifacts."""
        self.client.log_artifact(self.id, str(file), folder)

    @records
    def picture(self, path: str, png: bytes, section: str = "") -> None:
        """Log a PNG as an artifact and, with a section, also as an image among the charts of the run's page.

        The sections of that page are sorted by name, "summary" after the curves. They are below the parameters, so that
        they are useful only for runs with few of these. Of several images with one name, the page shows the last.
        """
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(path).name
            file.write_bytes(png)
            self.client.log_artifact(self.id, str(file), str(Path(path).parent))
            if section:  # all have step 0, as the page shows no image before its slider is moved to another step
                image = mlflow.Image(str(file))
                self.client.log_image(self.id, image, key=f"{section}/{file.stem}", step=0, synchronous=True)

    @records
    def describe(self, markdown: str) -> None:
        """Describe the run anew on its page in the UI, below its note; the link of a page that was made before goes."""
        describe(self.id, {ABOUT: markdown, PAGE: ""})

    @records
    def datasets(self, datasets: Iterable[DatasetInput]) -> None:
        """Log datasets that the run read."""
        self.client.log_inputs(self.id, list(datasets))

    @records
    def keep_copies(self, paths: Iterable[str], folder: str) -> None:
        """Copy those of the run's artifacts that exist into another folder of its artifacts, before an overwrite."""
        for path in filter(self.has, paths):
            self.client.log_artifact(self.id, str(artifact_path(self.id, path)), str(Path(folder) / Path(path).parent))

    @records
    def has(self, path: str) -> bool:
        """Whether the run has this artifact."""
        if local := local_path(self.artifact_uri):
            return (local / path).exists()
        folder = str(Path(path).parent)
        return path in {file.path for file in self.client.list_artifacts(self.id, "" if folder == "." else folder)}

    @records
    def sync(self) -> None:
        """Bring the artifacts to the disk, as ``sync_artifacts`` does."""
        sync_artifacts(self.client, self.id)

    @records
    def model(self, name: str, checkpoint: Path, example: str, epoch: int, tags: Mapping[str, str]) -> str:
        """Log the model of a checkpoint that was written after ``epoch``; returns the model's id."""
        with warnings.catch_warnings(action="ignore"):  # MLflow's
            return log_model(self.id, name, checkpoint, example, epoch, tags)


def tag_failure(run_id: str, reason: str) -> None:
    """Tag a run that ``mlflow run`` started with the reason why its command failed before recording."""
    stores.look()
    begun_run(run_id)
    with store_errors():
        set_tags(run_id, failure_tags(reason))


def begun_run(run_id: str) -> RecordedRun:
    """Read the run that MLFLOW_RUN_ID names. Raises InputError if it is missing or has ended."""
    run = find_run(run_id)
    if run is None:
        where = shown(mlflow.get_tracking_uri())
        raise InputError(f"MLFLOW_RUN_ID {run_id} is not a run of {where}; unset it")
    if run.status != "RUNNING":
        raise InputError(f"MLFLOW_RUN_ID names {run.name}, which has ended ({run.status}); unset it")
    return run


@contextmanager
def tracked_run(
    stage: str, name: str, tags: Mapping[str, Any], resumed: RecordedRun | None = None, parent: str | None = None
) -> Iterator[TrackedRun]:
    """Record a run: the one that ``mlflow run`` has started, a child of this process's open run, or a new one.

    ``resumed`` is an ended run to reopen instead; one that ``mlflow run`` has started then refers to it, and has the
    same final metrics. ``parent`` is the id of another process's run in which a new run is nested. The run ends
    FINISHED, FAILED with the reason as a tag, or KILLED after Ctrl-C or SIGTERM; exceptions are re-raised. Raises
    InputError if ``resumed`` has changed since it was read.
    """
    if resumed and UNDER_MLFLOW in os.environ:
        reference = {"trained_run" if stage == TRAIN else "resumed_run": resumed.id}
        with tracked_run(RESUME, f"{RESUME}-{name}", reference) as begun:
            with tracked_run(stage, name, tags, resumed) as reopened:
                yield reopened
            with store_errors():
                metrics = begun.client.get_run(resumed.id).data.metrics
            begun.constants({key: value for key, value in metrics.items() if key.startswith(FINAL)})
            begun.describe(f"Resumed {plain(name)} ({resumed.id}).")
        return
    store = stores.setup()
    run: TrackedRun | None = None
    before = mlflow.active_run()
    status, failure, in_a_hurry = "FAILED", dict[str, str](), False
    try:
        with defer_signals(), store_errors(), warnings.catch_warnings(action="ignore"):  # MLflow's
            if not open_runs:  # whose own start has done that
                close_the_dead()
            if digest := tags.get("corpus.sha256"):
                stores.tag_experiment(store.experiment_id, dict([views.models(tags["corpus"], digest).tag]))
            all_tags = {"stage": stage, "format": FORMAT, **process_tags(), **git_tags(), **tags}
            run = _reopened(store, resumed, all_tags) if resumed else _started(store, name, all_tags, parent)
            open_runs.append(run)
            if NOTE in tags:
                describe(run.id, {NOTE: tags[NOTE]})
        yield run
        run.sync()
        status = "FINISHED"
    except BaseException as error:
        kind: FailureKind = "diverged" if isinstance(error, TrainingDivergedError) else "error"
        failure = failure_tags(without_secrets(f"{type(error).__name__}: {error}"), kind, without_secrets(str(error)))
        in_a_hurry = is_in_a_hurry(error)
        if signum := signals.signal_of(error):
            status, failure = "KILLED", failure_tags(f"stopped by {signals.name_of(signum)}", "stopped")
        elif run and stage == TRAIN and "study" not in tags and isinstance(error, OSError | RecordingError):
            error.add_note(f"then resume it with: {command()} train --resume {run.id}")
        raise
    finally:
        with defer_signals():
            if run is not None:
                try:
                    _end(run, status, failure, in_a_hurry)
                finally:
                    open_runs.remove(run)
            elif mlflow.active_run() is not before:  # otherwise MLflow would end it FINISHED at exit
                mlflow.end_run(status)


def is_in_a_hurry(error: BaseException) -> bool:
    """Whether not to wait for a server after this error: the process must exit soon, or a wait has just failed.

    The latter includes ClusterError, since the scheduler and the tracking server of a cluster are on one machine.
    """
    return isinstance(error, KeyboardInterrupt | SystemExit | RecordingError | ClusterError)


open_runs: list[TrackedRun] = []  # of this process, parents first


def _started(store: Store, name: str, tags: Mapping[str, Any], parent: str | None) -> TrackedRun:
    if adopted := os.environ.get(UNDER_MLFLOW):  # start_run reads and clears the variable
        begun_run(adopted)
    active = mlflow.start_run(
        run_name=name,
        nested=mlflow.active_run() is not None,
        experiment_id=None if adopted else store.experiment_id,
        parent_run_id=parent,
        tags=recorded_tags(tags),
    )
    run = TrackedRun(store, active, name)
    if adopted:
        run.client.update_run(run.id, name=name)
    return run


def _reopened(store: Store, seen: RecordedRun, tags: Mapping[str, Any]) -> TrackedRun:
    """Reopen an ended run for this process. The reason why it ended moves to the tag "resumed"."""
    with FileLock(stores.root() / "mlruns" / ".resume.lock", timeout=LOCK_SECONDS):  # a second command is refused
        before = find_run(seen.id)
        if before is None or before.ended_ms != seen.ended_ms or before.status == "RUNNING":
            raise InputError(f"{seen.id} ({seen.name}) has just been resumed by another command; try again")
        set_tags(seen.id, process_tags())  # first, so that others see which process records the run
        active = mlflow.start_run(run_id=seen.id, nested=mlflow.active_run() is not None)
    ends = [before.tag(name) for name in ("resumed", "failure", "stopped")]
    set_tags(seen.id, {**tags, "resumed": ("; ".join(filter(None, ends)) or before.status)[-4000:]})
    for outdated in before.tags.keys() & ENDED:
        MlflowClient().delete_tag(seen.id, recorded_tag(outdated))
    return TrackedRun(store, active, seen.name, is_resumed=True)


def _end(run: TrackedRun, status: str, failure: Mapping[str, str], in_a_hurry: bool) -> None:
    """End the active run with its status and the reason. Raises RecordingError if FINISHED can't be recorded."""
    try:
        with stores.impatient() if in_a_hurry else warn_if_silent(run.store.uri):
            is_elsewhere = False
            try:
                is_elsewhere = _is_resumed_elsewhere(run)
                if failure and not is_elsewhere:
                    set_tags(run.id, failure)
            finally:
                if not is_elsewhere:
                    mlflow.end_run(status)
                else:  # the other process ends it, or has; MLflow has no public call that only forgets the active run
                    fluent._active_run_stack.get().pop()
    except REFUSALS as error:
        reason = f"the end of {run.name} can't be recorded in {shown(run.store.uri)}: {store_reason(error)}"
        reason += ". If it stays RUNNING, the next command that records closes it"
        if status == "FINISHED":
            raise RecordingError(reason) from None
        log.warning("%s", reason)  # the error that ended the run is re-raised


def _is_resumed_elsewhere(run: TrackedRun) -> bool:
    """Whether another process has resumed the run, because this one's machine was cut off and assumed to be gone."""
    now, own = find_run(run.id), process_tags()
    return now is not None and any(now.tags.get(name, own.get(name)) != own.get(name) for name in IDENTITY)


def _close_by_force(signal: str) -> None:
    """End all open runs as KILLED, from another thread while the main thread is busy."""
    for run in reversed(open_runs):
        has_ended = run.client.get_run(run.id).info.status != "RUNNING"  # by the main thread in the meantime
        if not has_ended and not _is_resumed_elsewhere(run):
            set_tags(run.id, failure_tags(f"stopped by {signal}", "stopped"))
            run.client.set_terminated(run.id, "KILLED")


signals.on_forced_exit(_close_by_force)
