"""Train many models in worker processes, in a run that can be resumed: what search, reproduce, answer and seeds share.

A subclass of ``Sweep`` says what to train, what to do with each outcome and what to conclude; ``Sweep`` shows the
progress and repeats lost trainings. The same command again reopens its run and trains what is missing.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, TypeVar

from models.complexity import closed_form
from models.config import ModelConfig
from models.language_model import LanguageModel
from pipeline.config import CorpusConfig, PresetName, TrainConfig
from pipeline.errors import InputError, TmlmError, without_secrets
from pipeline.stages.tasks import Role, TaskKey, TrainingTask, close_lost
from pipeline.support import machine
from pipeline.support.files import command_lock
from pipeline.support.progress import Progress
from pipeline.support.wording import counted
from pipeline.support.workers import LOSSES_ALLOWED, WAIT_SECONDS, Loss, LossCause, MakePool, Outcome, Pool
from pipeline.text.batches import data_of, number_of_epochs
from pipeline.text.corpus import Corpus
from pipeline.tracking import recorded, store
from pipeline.tracking.liveness import close_the_dead
from pipeline.tracking.recorded import RecordedTraining
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import corpus_tags, parent_run, record_datasets
from pipeline.tracking.ui.links import link_to_run
from pipeline.training.files import BEST_CHECKPOINT
from pipeline.training.loading import load_model
from pipeline.training.memory import check_can_train, worker_count

log = logging.getLogger(__name__)

OTHER_MACS = 100_000  # MACs per character in whose time a training does all else; fits tests/benchmarks/data/trainings*

Conclusion = TypeVar("Conclusion")


def model_loader(run_id: str) -> Callable[[], LanguageModel]:
    """A function that loads the model of a training; a remote one is downloaded once."""
    path = recorded.artifact_path(run_id, f"checkpoints/{BEST_CHECKPOINT}")
    return lambda: load_model(path)[0]


def models_of(run_ids: Iterable[str]) -> dict[str, Callable[[], LanguageModel]]:
    """Functions that load the models of trainings, by run id; warns of those that are deleted or damaged."""
    loads: dict[str, Callable[[], LanguageModel]] = {}
    for run_id in run_ids:
        try:
            load = model_loader(run_id)
            load()
        except (InputError, *store.REFUSALS) as error:
            log.warning("The model of run %s can't be loaded: %s", run_id, without_secrets(str(error)))
        else:
            loads[run_id] = load
    return loads


@dataclass
class Sweep(ABC, Generic[Conclusion]):
    """The trainings of one command, in one run: what is missing, and what follows from all of them.

    ``name`` and ``options`` are those of its run, whose datasets are the splits of ``preset``; ``say`` gets messages.
    """

    name: str
    corpus: Corpus
    corpus_config: CorpusConfig
    preset: PresetName
    options: Mapping[str, Any]
    say: Callable[[str], None]

    stage: ClassVar[str]  # of its run
    last_phase: ClassVar[str]  # the name of the phase after the last training
    study_id = ""  # only trainings of this study are resumed or reused; "": only those nested in the run

    run: TrackedRun = field(init=False)
    bar: Progress = field(init=False)
    pool: Pool = field(init=False)
    waiting: list[TrainingTask] = field(init=False, default_factory=list)  # known before the first training is done
    work_after: float = field(init=False, default=0.0)  # of what follows the trainings, as ``work`` measures it
    _losses: Counter[tuple[TaskKey, LossCause]] = field(init=False, default_factory=Counter)

    def take_over(self, trained: Sequence[RecordedTraining]) -> None:
        """Plan the trainings in ``waiting``: those that earlier commands, which have ``trained`` these, lack."""

    @abstractmethod
    def train(self) -> None:
        """Train what is missing, by ``train_waiting`` or ``run_tasks``."""

    @abstractmethod
    def record_outcome(self, task: TrainingTask, outcome: Outcome) -> None:
        """Record the result of a training, the exception it raised, or its loss, after which it is not repeated."""

    @abstractmethod
    def conclude(self, seconds: float) -> Conclusion:
        """Draw the conclusions and record them; ``seconds`` is the duration of the command until now."""

    def resume_or_run(
        self, identity: tuple[str, str], refusal: str, workers: int | None, make_pool: MakePool, **tags: str
    ) -> Conclusion:
        """Run the command, in the run of an earlier one if there is one with the same ``identity``.

        That is a tag and its value; ``tags`` are further ones of the run. Raises InputError(refusal) if another process
        runs the command, InputError if the earlier run is still running, and for a configuration that can't be trained.
        """
        tag, value = identity
        with command_lock(store.root() / "mlruns" / f".{self.stage}-{value}.lock", refusal):
            close_the_dead()
            earlier = recorded.latest(recorded.has_tag("stage", self.stage), recorded.has_tag(tag, value))
            earlier = recorded.ended_run(earlier.id) if earlier else None
            self.take_over(recorded.nested_trainings(earlier.id) if earlier else [])
            at_once = min(workers or 1, len(self.waiting))
            needed = [check_can_train(self.corpus, task.model, task.train, at_once) for task in self.waiting]
            count = worker_count(workers, max(needed)) if needed else 0
            with parent_run(self.stage, self.name, {**corpus_tags(self.corpus), tag: value, **tags}, earlier) as run:
                return self.run_all(run, count, make_pool)

    def run_all(self, run: TrackedRun, workers: int, make_pool: MakePool) -> Conclusion:
        """Record the command, train in ``workers`` processes (0: nothing is missing), and conclude."""
        self.run, self.began = run, time.monotonic()
        self.record_command()
        pool = make_pool(workers) if workers else None
        with Progress(run.name) as self.bar:
            if pool is not None:
                run.params({"workers": pool.count})
                with pool as self.pool:
                    self.train()
            self.bar.phase(self.last_phase)
            return self.conclude(time.monotonic() - self.began)

    def record_command(self) -> None:
        """Record the options, the machine and the text."""
        self.run.params(self.options)
        self.run.yaml("environment.yaml", machine.environment())
        record_datasets(self.run, self.corpus, self.preset)

    # --- the trainings -----------------------------------------------------------------------------------------------

    def task(
        self, role: Role, number: int, model: ModelConfig, train: TrainConfig, tags: Mapping[str, str]
    ) -> TrainingTask:
        """A training of this command."""
        tags = {**corpus_tags(self.corpus), "study": self.name, "role": role, **tags}
        corpus, alphabet = self.corpus, self.corpus.vocabulary.alphabet
        text, config = (corpus.name, corpus.source, alphabet, corpus.corpus_sha256), self.corpus_config
        return TrainingTask(role, number, replace(config, alphabet=alphabet), text, model, train, tags=tags)

    def work(self, task: TrainingTask) -> float:
        """The work of a training, to weight it by: characters to read x (MACs of each + OTHER_MACS)."""
        data, macs = data_of(self.corpus, task.train), closed_form(task.model, len(self.corpus.vocabulary))
        return number_of_epochs(task.train, data) * data.chars_per_epoch * (macs.macs_per_char + OTHER_MACS)

    def train_waiting(self, what: str, done: int = 0) -> None:
        """Announce and train the tasks in ``waiting``; ``done`` are those that were trained before."""
        are_done = f" ({done} are done)" if done else ""
        self.say(f"{what}{are_done}, with {counted(self.pool.count, 'worker')}\n{link_to_run(self.run.id)}")
        self.train_all(self.waiting, done)

    def train_all(self, waiting: list[TrainingTask], done: int = 0, phase: str = "") -> None:
        """Train a list of tasks, in order; ``done`` are those that were trained before."""
        work, total = {task.key: self.work(task) for task in waiting}, done + len(waiting)
        of_all = sum(work.values()) + self.pool.count * self.work_after  # which one process does

        def next_task() -> TrainingTask | None:
            ended = total - len(waiting) - self.pool.running
            self.bar.figures(trainings=f"{ended}/{total}")
            return waiting.pop(0) if waiting else None

        def show(shares: Mapping[TaskKey, float]) -> None:
            self.bar.show(sum(work[key] * share for key, share in shares.items()) / of_all)

        self.bar.phase(phase)
        self.run_tasks(next_task, show)

    def run_tasks(
        self, next_task: Callable[[], TrainingTask | None], show: Callable[[Mapping[TaskKey, float]], None]
    ) -> None:
        """Train the tasks of ``next_task`` until it returns None while no task is running; repeat lost ones.

        ``show`` is called every WAIT_SECONDS or sooner with the share of each task that is done, from 0 to 1.
        """
        lost, shares = list[TrainingTask](), dict[TaskKey, float]()
        while True:
            while self.pool.idle and (task := lost.pop(0) if lost else next_task()) is not None:
                self.pool.submit(replace(task, parent=self.run.id, study=self.study_id or self.run.id))
                shares[task.key] = 0.0
            if not self.pool.running:
                return
            show(shares)
            for event in self.pool.events(WAIT_SECONDS):
                task, outcome = event.task, event.value
                if event.kind == "message":
                    shares[task.key] = outcome
                    continue
                if event.kind == "lost":
                    log.warning(
                        "The training %s (seed %d) is lost: %s", task.model.shape, task.train.seed, outcome.reason
                    )
                    close_lost(event)
                    if self.count_loss(task, outcome.cause):
                        lost.append(task)
                        continue
                shares[task.key] = 1.0
                self.record_outcome(task, outcome)

    def result_of(self, task: TrainingTask, outcome: Outcome) -> Mapping[str, Any]:
        """The result of a training. Raises its exception, and TmlmError for one that was lost again."""
        if isinstance(outcome, Loss):
            raise TmlmError(
                f"the training of {task.model.shape} (seed {task.train.seed}) is lost: {outcome.reason}, "
                f"{LOSSES_ALLOWED[outcome.cause] + 1} times; run the same command again to resume it"
            )
        if isinstance(outcome, Exception):
            raise outcome
        result: Mapping[str, Any] = outcome
        return result

    def count_loss(self, task: TrainingTask, cause: LossCause) -> bool:
        """Count a loss of a training; returns whether it may be trained again."""
        self._losses[task.key, cause] += 1
        return self._losses[task.key, cause] <= LOSSES_ALLOWED[cause]
