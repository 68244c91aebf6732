"""What the worker processes of search, reproduce and answer do: train a model in its own run, or time some steps."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal

from models.config import ModelConfig
from pipeline.config import CorpusConfig, TrainConfig
from pipeline.errors import InputError, RecordingError
from pipeline.stages.bar import Share
from pipeline.stages.train import Setting, resume, train
from pipeline.support.workers import WAIT_SECONDS, Event, Pool, Workers
from pipeline.text.corpus import Corpus, load_corpus, pinned
from pipeline.text.downloads import public
from pipeline.tracking import liveness, store
from pipeline.training.timing import Timing, time_training

log = logging.getLogger(__name__)


Role = Literal["trial", "confirmation", "report", "stream", "same-text", "answer"]


@dataclass(frozen=True)
class TrainingTask:
    """One training of a search (a trial, or a confirmation with another seed), a reproduction or an answer.

    A worker does it. ``number`` is that of the trial (for a confirmation, of the trial that it repeats), or of the row
    in the table or plan. ``resumed_run`` is the id of a run to resume, possibly with more epochs or seconds; if that
    fails, training starts over.
    """

    role: Role
    number: int
    corpus: CorpusConfig
    model: ModelConfig
    train: TrainConfig
    study: str = ""
    parent: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    resumed_run: str = ""

    @property
    def key(self) -> tuple[str, int, int]:
        """Identifies the task within its search, reproduction or answer."""
        return self.role, self.number, self.train.seed


@dataclass(frozen=True)
class TimingTask:
    """A configuration whose training steps a worker times."""

    corpus: CorpusConfig
    model: ModelConfig
    train: TrainConfig


_loaded = cache(load_corpus)


def _corpus_of_task(config: CorpusConfig) -> Corpus:
    """The text of a task: the one that a cluster's node has pinned for it, else it is loaded, once in a process."""
    corpus = pinned(config)
    return _loaded(config) if corpus is None else corpus


def do(task: TrainingTask | TimingTask, report: Callable[[float], None]) -> dict[str, Any] | Timing:
    """Do a task in a worker; return the result of a training, or the timing of some steps."""
    if isinstance(task, TimingTask):
        return time_training(_corpus_of_task(task.corpus), task.model, task.train)
    return _train_task(task, report)


def _train_task(task: TrainingTask, report: Callable[[float], None]) -> dict[str, Any]:
    """Train in a nested run, report the share of the steps that are done, and return the flat result.

    A stopped run of the same study is resumed, and the result of a finished one reused.
    """
    corpus = _corpus_of_task(task.corpus)
    expected_sha256 = task.tags.get("corpus.sha256", corpus.corpus_sha256)
    if corpus.corpus_sha256 != expected_sha256:  # the file was changed, or a download that failed now succeeds
        raise InputError(
            f"the text {public(task.corpus.corpus)} has changed since the training was started "
            f"(sha256 {corpus.corpus_sha256[:8]}..., then {expected_sha256[:8]}...); restore the earlier one"
        )

    setting = Setting(task.study, task.parent, task.tags, lambda name: nullcontext(Share(report)))
    if task.resumed_run:
        changes = {name: getattr(task.train, name) for name in ("epochs", "max_seconds")}
        try:
            return resume(task.resumed_run, changes, setting).result
        except InputError as error:  # its checkpoints are gone or damaged
            log.warning("%s: starting over", error)
    step = train(corpus, task.corpus, task.model, task.train, reuse=True, setting=setting)
    return step.result


def close_lost(event: Event) -> None:
    """End the run of a training that was lost, here or on a node. Raises RecordingError if the store refuses."""
    task, loss = event.task, event.value
    model, train = asdict(task.model), asdict(task.train)
    try:
        liveness.close_dead_runs()
        if event.node:
            liveness.close_nested(
                task.parent,
                lambda run: (run.configuration.get("model"), run.configuration.get("train")) == (model, train),
                loss.reason,
            )
    except store.REFUSALS as error:
        reason = store.store_reason(error)
        raise RecordingError(f"a training was lost ({loss.reason}), and its end can't be recorded: {reason}") from error


def train_in_processes(count: int) -> Workers:
    """Make a pool of ``count`` worker processes, which compute with one thread each."""
    return Workers(do, count)


def time_all(
    pool: Pool, tasks: Sequence[TimingTask], on_event: Callable[[int, int], None] = lambda done, of: None
) -> list[Timing]:
    """Time the tasks in all workers at once, as they will train; a task that kills its process twice is left out.

    ``on_event`` is called with the tasks done and their total number, at least every WAIT_SECONDS. Raises the exception
    of a task that fails.
    """
    waiting, timings = list(tasks), list[Timing]()
    lost: list[TimingTask] = []
    while waiting or pool.running:
        while waiting and pool.idle:
            pool.submit(waiting.pop(0))
        for event in pool.events(WAIT_SECONDS):
            if event.kind == "failed":
                raise event.value
            if event.kind == "lost" and event.task not in lost:
                lost.append(event.task)
                waiting.append(event.task)
            if event.kind == "done":
                timings.append(event.value)
        on_event(len(timings), len(tasks))
    return timings
