"""What a worker of a search or a reproduction does: trainings, and before them the timing of some steps."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from models.config import ModelConfig
from pipeline.config import CorpusConfig, TrainConfig
from pipeline.corpus import Corpus, load_corpus
from pipeline.downloads import public
from pipeline.errors import InputError
from pipeline.estimate import Timing, time_training
from pipeline.progress import Progress
from pipeline.training import Training
from pipeline.trainings import Setting, resume, train

log = logging.getLogger(__name__)

Role = Literal["trial", "confirmation", "report", "stream"]


@dataclass(frozen=True)
class TrainingTask:
    """One training: a trial of a search, another seed of a configuration that is on its front, or of a reproduction.

    ``number`` is the trial's, of a confirmation that of the trial which it repeats, else the row's in its table.
    ``stop``, which has to pickle, is asked after each epoch with the validation curve and the number of epochs, and
    gives a reason to stop or "". ``going_on`` is the id of a run to resume, which may have been begun with fewer epochs
    or seconds; where that can't be, it is trained anew.
    """

    role: Role
    number: int
    corpus: CorpusConfig
    model: ModelConfig
    train: TrainConfig
    study: str
    parent: str
    tags: Mapping[str, str] = field(default_factory=dict)
    stop: Callable[[Sequence[float], int], str] | None = None
    going_on: str = ""

    @property
    def key(self) -> tuple[str, int, int]:
        """What tells it from the other tasks of its search."""
        return self.role, self.number, self.train.seed


@dataclass(frozen=True)
class TimingTask:
    """Some steps of a training, to be timed and thrown away."""

    corpus: CorpusConfig
    model: ModelConfig
    train: TrainConfig


class Shares(Progress):
    """Tells which share of the training is done."""

    def __init__(self, tell: Callable[[float], None]) -> None:
        self._tell = tell
        self._total, self._done = 1, 0

    def start(self, total_steps: int, done_steps: int = 0) -> None:
        self._total, self._done = total_steps, done_steps
        self.advance(0)

    def advance(self, steps: int) -> None:
        self._done += steps
        self._tell(min(1.0, self._done / self._total))


@cache
def _corpus(config: CorpusConfig) -> Corpus:
    return load_corpus(config)


def do(task: TrainingTask | TimingTask, report: Callable[[float], None]) -> dict[str, Any] | Timing:
    """A training's result, or how long its steps take."""
    if isinstance(task, TimingTask):
        return time_training(_corpus(task.corpus), task.model, task.train)
    return _train(task, report)


def _train(task: TrainingTask, report: Callable[[float], None]) -> dict[str, Any]:
    """Train in a run that is nested in another; tells the share that is done, returns the training's result.

    A run of the same study that was stopped is gone on with, the result of a finished one is reused.
    """

    @contextmanager
    def bar(name: str) -> Iterator[Progress]:
        yield Shares(report)

    def reason_to_stop(training: Training) -> str:
        if task.stop is None:
            return ""
        return task.stop([point.val_perplexity for point in training.history], training.epochs)

    corpus = _corpus(task.corpus)
    begun_on = task.tags.get("corpus.sha256", corpus.corpus_sha256)
    if corpus.corpus_sha256 != begun_on:  # the file was changed, or what could not be downloaded now can
        raise InputError(
            f"the text {public(task.corpus.corpus)} is no longer the one that was begun on "
            f"(sha256 {corpus.corpus_sha256[:8]}..., then {begun_on[:8]}...); put that one back"
        )
    setting = Setting(task.study, task.parent, task.tags, bar, reason_to_stop)
    if task.going_on:
        changes = {name: getattr(task.train, name) for name in ("epochs", "max_seconds")}
        try:
            return resume(task.going_on, changes, setting).result
        except InputError as error:  # its checkpoints are gone, or damaged
            log.warning("%s: it is trained anew", error)
    step = train(corpus, task.corpus, task.model, task.train, reuse=True, setting=setting)
    return step.result
