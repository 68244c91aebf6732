"""Train many models in worker processes, in a run that can be resumed: what search, reproduce, answer and seeds share.

Within ``sweep``, a command plans what earlier ones have not trained, begins its run or reopens theirs, starts workers,
loops over the trainings and their outcomes, stops the workers, and concludes. ``seeds.py`` is the shortest. A training
that is lost is repeated, as often as LOSSES_ALLOWED in ``support/workers.py`` says.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from typing import Any, Literal, cast

from models.complexity import closed_form
from models.config import ModelConfig
from models.language_model import LanguageModel
from pipeline.config import Alphabet, PresetName, TrainConfig, model_identity, train_identity
from pipeline.errors import InputError, RecordingError, TmlmError, without_secrets
from pipeline.results import TrainingResult
from pipeline.stages.bar import Share
from pipeline.stages.train import TrainingContext, train
from pipeline.support import files, machine, workers
from pipeline.support.progress import Progress
from pipeline.support.wording import counted
from pipeline.text.batches import data_of, number_of_epochs
from pipeline.text.corpus import Corpus
from pipeline.tracking import artifacts, liveness, queries, recorded, store
from pipeline.tracking.recorded import RecordedRun, RecordedTraining
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import parent_run
from pipeline.tracking.text_identity import corpus_tags, record_datasets, same_text
from pipeline.tracking.ui.links import link_to_run
from pipeline.training.files import BEST_CHECKPOINT
from pipeline.training.loading import load_model
from pipeline.training.memory import check_can_train, worker_count

log = logging.getLogger(__name__)

OTHER_MACS = 100_000  # MACs per character in whose time a training does all else; fits trainings*.csv of the sampler

Role = Literal["trial", "confirmation", "report", "same-text", "answer", "seed"]
TaskKey = tuple[str, int, int]
"""Role, number and seed of a task, which identify it within its sweep."""

Shares = Mapping[TaskKey, float]
"""The share of each task that is done, from 0 to 1."""


@dataclass(frozen=True)
class TextKey:
    """The facts by which a worker finds the text to train on."""

    name: str
    source: str
    alphabet: Alphabet
    corpus_sha256: str
    option: str


@dataclass(frozen=True)
class TrainingTask:
    """One training of a sweep: of a search, a trial, or a confirmation with another seed.

    ``number`` is that of the trial (for a confirmation, of the trial that it repeats), or of the row in the table or
    plan. Only trainings of the same ``study`` are resumed or reused.
    """

    role: Role
    number: int
    text: TextKey
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


# --- in a worker process ---------------------------------------------------------------------------------------------


@cache
def _text(key: TextKey) -> Corpus:
    return replace(same_text(key.name, key.source, key.alphabet, key.corpus_sha256), option=key.option)


def do(task: TrainingTask, report: Callable[[float], None]) -> TrainingResult:
    """Do a task in a worker: train in a nested run, and return the flat result.

    A training reports the share of its steps that are done. A stopped run of the same study is resumed, and the result
    of a finished one reused.
    """
    report(0.03)  # its process has started, which takes long for a short training; its steps follow from 0 on
    context = TrainingContext(task.study, task.parent, task.tags, lambda name: nullcontext(Share(report)))
    return train(_text(task.text), task.model, task.train, reuse=True, context=context).result


def train_in_processes(count: int) -> workers.Workers:
    """Make a pool of ``count`` worker processes, which compute with one thread each."""
    return workers.Workers(do, count)


# --- in the command --------------------------------------------------------------------------------------------------


@dataclass
class Sweep:
    """The trainings of one command, in one run. Made by ``sweep``, which ends the workers, the bar and the run.

    ``study`` is in the tags of its trainings. Only those of ``study_id`` ("": nested in the run) are resumed or reused.
    """

    study: str
    corpus: Corpus
    clock: Callable[[], float]
    stack: ExitStack
    study_id: str = ""

    run: TrackedRun = field(init=False)
    began: float = field(init=False)
    bar: Progress = field(init=False)
    pool: workers.Pool | None = field(init=False, default=None)
    _workers: ExitStack = field(init=False)
    _losses: Counter[tuple[TaskKey, workers.LossCause]] = field(init=False, default_factory=Counter)

    @property
    def seconds(self) -> float:
        """The duration of the command since its run was begun."""
        return self.clock() - self.began

    def task(self, role: Role, number: int, model: ModelConfig, config: TrainConfig, **tags: str) -> TrainingTask:
        """A training of this command."""
        text = self.corpus
        key = TextKey(text.name, text.source, text.vocabulary.alphabet, text.corpus_sha256, text.option)
        tags = {**corpus_tags(text), "study": self.study, "role": role, **tags}
        return TrainingTask(role, number, key, model, config, tags=tags)

    def workers_for(self, waiting: Sequence[TrainingTask], most: int | None) -> int:
        """The number of workers for these tasks, 0 for none; raises InputError for one that can't be trained."""
        at_once = min(most or 1, len(waiting))
        needed = [check_can_train(self.corpus, task.model, task.train, at_once) for task in waiting]
        return worker_count(most, max(needed)) if needed else 0

    def begin(self, stage: str, name: str, tags: Mapping[str, Any], earlier: RecordedRun | None) -> TrackedRun:
        """Start the run of the command, or reopen ``earlier``."""
        self.run = self.stack.enter_context(parent_run(stage, name, {**corpus_tags(self.corpus), **tags}, earlier))
        self.began = self.clock()
        return self.run

    def record(self, options: Mapping[str, Any], preset: PresetName) -> None:
        """Record the options, the machine, and the splits of ``preset``."""
        self.run.params(options)
        self.run.yaml("environment.yaml", machine.environment())
        record_datasets(self.run, self.corpus, preset)

    def start_workers(self, count: int, make_pool: workers.MakePool) -> None:
        """Show the bar, and make a pool of ``count`` workers; none is made for 0, when nothing is missing."""
        pool = make_pool(count) if count else None
        self.bar = self.stack.enter_context(Progress(self.run.name))
        self._workers = self.stack.enter_context(ExitStack())
        if pool is not None:
            self.run.params({"workers": pool.count})
            self.pool = self._workers.enter_context(pool)

    def stop_workers(self, phase: str) -> float:
        """End the workers, and show the phase that follows; returns ``seconds``."""
        self._workers.close()
        self.bar.phase(phase)
        return self.seconds

    # --- the trainings -----------------------------------------------------------------------------------------------

    def trained(
        self,
        tasks: Iterator[TrainingTask | None],
        show: Callable[[Shares], None],
        count_loss: Callable[[TrainingTask, workers.LossCause], bool] | None = None,
    ) -> Iterator[tuple[TrainingTask, workers.Outcome]]:
        """Train tasks; yield each with its result, the exception it raised, or the loss after which it is not repeated.

        The next of ``tasks`` is taken when a worker is idle and all outcomes so far are yielded; None stands for none
        now, and ends it only while no task is running. ``show`` is called every WAIT_SECONDS or sooner. ``count_loss``
        counts a loss, and says whether the task may be trained again; by default as often as LOSSES_ALLOWED allows in
        this command.
        """
        if self.pool is None:
            return
        lost, shares = list[TrainingTask](), dict[TaskKey, float]()
        while True:
            while self.pool.idle and (task := lost.pop(0) if lost else next(tasks, None)) is not None:
                self.pool.submit(replace(task, parent=self.run.id, study=self.study_id or self.run.id))
                shares[task.key] = 0.0
            if not self.pool.running:
                return
            show(shares)
            for event in self.pool.events(workers.WAIT_SECONDS):
                task, outcome = event.task, event.value
                if event.kind == "message":
                    shares[task.key] = outcome
                    continue
                if event.kind == "lost":
                    log.warning(
                        "The training %s (seed %d) is lost: %s", task.model.shape, task.train.seed, outcome.reason
                    )
                    close_lost(event)
                    if (count_loss or self.count_loss)(task, outcome.cause):
                        lost.append(task)
                        continue
                shares[task.key] = 1.0
                yield task, outcome

    def train_all(
        self, waiting: list[TrainingTask], done: int = 0, work_after: float = 0.0, phase: str = ""
    ) -> Iterator[tuple[TrainingTask, workers.Outcome]]:
        """Train a list of tasks, in order, as ``trained`` does; ``done`` are those that were trained before.

        ``work_after`` is the ``work`` that follows the trainings, which one process does.
        """
        if (pool := self.pool) is None:
            return iter(())
        work, total = {task.key: self.work(task) for task in waiting}, done + len(waiting)
        of_all = sum(work.values()) + pool.count * work_after

        def tasks() -> Iterator[TrainingTask | None]:
            while True:
                self.bar.show_values(trainings=f"{total - len(waiting) - pool.running}/{total}")
                yield waiting.pop(0) if waiting else None

        def show(shares: Shares) -> None:
            self.bar.show(sum(work[key] * share for key, share in shares.items()) / of_all)

        self.bar.phase(phase)
        return self.trained(tasks(), show)

    def work(self, task: TrainingTask) -> float:
        """The work of a training, to weight it by: characters to read x (MACs of each + OTHER_MACS)."""
        data, macs = data_of(self.corpus, task.train), closed_form(task.model, len(self.corpus.vocabulary))
        return number_of_epochs(task.train, data) * data.chars_per_epoch * (macs.macs_per_char + OTHER_MACS)

    def announce(self, say: Callable[[str], None], what: str, done: int = 0) -> None:
        """Say what is trained, if anything is, by how many workers and where; ``done`` were trained before."""
        if self.pool:
            are_done = f" ({done} are done)" if done else ""
            say(f"{what}{are_done}, with {counted(self.pool.count, 'worker')}\n{link_to_run(self.run.id)}")

    def count_loss(self, task: TrainingTask, cause: workers.LossCause) -> bool:
        """Count a loss of a training in this command; returns whether it may be repeated."""
        self._losses[task.key, cause] += 1
        return self._losses[task.key, cause] <= workers.LOSSES_ALLOWED[cause]


@contextmanager
def sweep(
    study: str, corpus: Corpus, lock: AbstractContextManager[None], clock: Callable[[], float] = time.monotonic
) -> Iterator[Sweep]:
    """Hold the lock of a command while it trains; end its workers, its bar and its run, in that order, with the block.

    Runs whose process is dead are closed first.
    """
    with ExitStack() as stack:
        stack.enter_context(lock)
        liveness.close_the_dead()
        yield Sweep(study, corpus, clock, stack)


def lock_of(stage: str, identity: str, refusal: str) -> AbstractContextManager[None]:
    """The lock of the command with this identity; raises InputError(refusal) if another process has it."""
    return files.command_lock(store.root() / "mlruns" / f".{stage}-{identity}.lock", refusal)


def earlier_run(stage: str, tag: str, identity: str) -> tuple[RecordedRun | None, list[RecordedTraining]]:
    """The run of an earlier command, which has this tag, and its trainings; InputError if it is still running."""
    latest = queries.latest(queries.has_tag("stage", stage), queries.has_tag(tag, identity))
    earlier = recorded.ended_run(latest.id) if latest else None
    return earlier, queries.nested_trainings(earlier.id) if earlier else []


def result_of(task: TrainingTask, outcome: workers.Outcome) -> Mapping[str, Any]:
    """The result of a training. Raises its exception, and TmlmError for one that was lost again."""
    if isinstance(outcome, workers.Loss):
        raise TmlmError(
            f"the training of {task.model.shape} (seed {task.train.seed}) is lost: {outcome.reason}, "
            f"{workers.LOSSES_ALLOWED[outcome.cause] + 1} times; run the same command again to resume it"
        )
    if isinstance(outcome, Exception):
        raise outcome
    return cast(Mapping[str, Any], outcome)


def close_lost(event: workers.Event) -> None:
    """End the run of a training that was lost, here or on a node. Raises RecordingError if the store refuses."""
    task, loss = event.task, event.value
    try:
        liveness.close_dead_runs()
        if event.node:
            liveness.close_nested(task.parent, lambda run: task.is_of(run.configuration), loss.reason)
    except store.REFUSALS as error:
        reason = store.store_reason(error)
        raise RecordingError(f"a training was lost ({loss.reason}), and its end can't be recorded: {reason}") from None


# --- the models that were trained ------------------------------------------------------------------------------------


def model_loader(run_id: str) -> Callable[[], LanguageModel]:
    """A function that loads the model of a training; a remote one is downloaded once."""
    recorded.refuse_without_weights(recorded.run_of(run_id))
    path = artifacts.artifact_path(run_id, f"checkpoints/{BEST_CHECKPOINT}")
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
