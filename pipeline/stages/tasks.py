"""What the worker processes of the sweeps do: train a model in its own run."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, Literal

from models.config import ModelConfig
from pipeline.config import Alphabet, CorpusConfig, TrainConfig, model_identity, train_identity
from pipeline.errors import RecordingError
from pipeline.results import TrainingResult
from pipeline.stages.bar import Share
from pipeline.stages.train import TrainingContext, train
from pipeline.support.workers import Event, Workers
from pipeline.tracking import liveness, store
from pipeline.tracking.step import same_text

Role = Literal["trial", "confirmation", "report", "same-text", "answer", "seed"]
TaskKey = tuple[str, int, int]
"""Role, number and seed of a task, which identify it within its sweep."""


@dataclass(frozen=True)
class TrainingTask:
    """One training of a sweep: of a search, a trial, or a confirmation with another seed.

    ``number`` is that of the trial (for a confirmation, of the trial that it repeats), or of the row in the table or
    plan. ``same_text`` finds the text by ``text``. Only trainings of the same ``study`` are resumed or reused.
    """

    role: Role
    number: int
    corpus: CorpusConfig
    text: tuple[str, str, Alphabet, str]
    model: ModelConfig
    train: TrainConfig
    study: str = ""
    parent: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> TaskKey:
        return self.role, self.number, self.train.seed

    def is_of(self, configuration: Mapping[str, Any]) -> bool:
        """Whether a recorded training has the same model and options."""
        own = model_identity(self.model), train_identity(asdict(self.train))
        return own == (configuration.get("model"), train_identity(configuration.get("train", {})))


_text = cache(same_text)


def do(task: TrainingTask, report: Callable[[float], None]) -> TrainingResult:
    """Do a task in a worker: train in a nested run, and return the flat result.

    A training reports the share of its steps that are done. A stopped run of the same study is resumed, and the result
    of a finished one reused.
    """
    report(0.03)  # its process has started, which takes long for a short training; its steps follow from 0 on
    context = TrainingContext(task.study, task.parent, task.tags, lambda name: nullcontext(Share(report)))
    return train(_text(*task.text), task.corpus, task.model, task.train, reuse=True, context=context).result


def close_lost(event: Event) -> None:
    """End the run of a training that was lost, here or on a node. Raises RecordingError if the store refuses."""
    task, loss = event.task, event.value
    try:
        liveness.close_dead_runs()
        if event.node:
            liveness.close_nested(task.parent, lambda run: task.is_of(run.configuration), loss.reason)
    except store.REFUSALS as error:
        reason = store.store_reason(error)
        raise RecordingError(f"a training was lost ({loss.reason}), and its end can't be recorded: {reason}") from None


def train_in_processes(count: int) -> Workers:
    """Make a pool of ``count`` worker processes, which compute with one thread each."""
    return Workers(do, count)
