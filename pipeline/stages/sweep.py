"""What search, reproduce and answer share: they train many models in worker processes, in a run that can be resumed.

A subclass of ``Sweep`` says what to train, what to do with each outcome and what to conclude; ``Sweep`` estimates the
duration, shows the progress and repeats lost trainings. The same command again reopens its run and trains what is
missing.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, Generic, TypeVar

from models.config import ModelConfig
from pipeline.config import CorpusConfig, PresetName, TrainConfig
from pipeline.stages.tasks import Role, TimingTask, TrainingTask, close_lost, time_all
from pipeline.support import machine
from pipeline.support.files import command_lock
from pipeline.support.progress import Progress
from pipeline.support.wording import UNKNOWN_DURATION, expected_duration
from pipeline.support.workers import KILLS_ALLOWED, WAIT_SECONDS, MakePool, Outcome, Pool
from pipeline.text.corpus import Corpus
from pipeline.tracking import recorded, store
from pipeline.tracking.liveness import close_the_dead
from pipeline.tracking.recorded import RecordedRun
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import corpus_tags, record_datasets
from pipeline.training.memory import check_can_train, worker_count
from pipeline.training.timing import Calibration, shapes_to_time

log = logging.getLogger(__name__)

Conclusion = TypeVar("Conclusion")


@contextmanager
def earlier_command(stage: str, tag: str, identity: str, refusal: str) -> Iterator[RecordedRun | None]:
    """Hold the lock of a command, and find the run of an earlier one, whose ``tag`` is the same ``identity``.

    Raises InputError(refusal) if another process runs the command, and InputError if the earlier run is still running.
    """
    with command_lock(store.root() / "mlruns" / f".{stage}-{identity}.lock", refusal):
        close_the_dead(store.setup())
        run_id = recorded.latest_run({"stage": stage, tag: identity})
        yield recorded.ended_run(run_id) if run_id else None


def workers_for(corpus: Corpus, configurations: Sequence[tuple[ModelConfig, TrainConfig]], workers: int | None) -> int:
    """--workers, or as many as cores and memory allow. Raises InputError for a configuration that can't be trained."""
    at_once = min(workers or 1, len(configurations))
    needed = (check_can_train(corpus, *each, at_once) for each in configurations)
    return worker_count(workers, max(needed, default=0))


class Sweep(ABC, Generic[Conclusion]):
    """The trainings of one command, in one run: what is missing, and what follows from all of them."""

    preset: PresetName  # whose splits the run records as its datasets
    last_phase: ClassVar[str]  # the name of the phase after the last training, and its expected duration
    closing_seconds: ClassVar[float]

    run: TrackedRun
    bar: Progress
    pool: Pool

    def __init__(
        self,
        name: str,
        corpus: Corpus,
        corpus_config: CorpusConfig,
        options: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        """``name`` and ``options`` are recorded; ``say`` is called with messages for the user."""
        self.name, self.corpus, self.corpus_config, self.options, self.say = name, corpus, corpus_config, options, say
        self.minutes_expected: float | None = None
        self._calibration: Calibration | None = None
        self._kills: dict[tuple[str, int, int], float] = {}
        self._seconds_done = 0.0  # expected seconds of the trainings that have ended

    @abstractmethod
    def train(self) -> None:
        """Train what is missing, by ``estimate``, ``train_all`` and ``run_tasks``."""

    @abstractmethod
    def take(self, task: TrainingTask, outcome: Outcome) -> None:
        """Take the result of a training, the exception that it raised, or its loss, after which it is not repeated."""

    @abstractmethod
    def conclude(self, seconds: float) -> Conclusion:
        """Draw the conclusions and record them; ``seconds`` is the duration of the command until now."""

    def run_all(self, run: TrackedRun, workers: int, make_pool: MakePool) -> Conclusion:
        """Record the command, train in ``workers`` processes (0: nothing is missing), and conclude."""
        self.run, self.began = run, time.monotonic()
        run.params(self.options)
        run.yaml("environment.yaml", machine.environment())
        record_datasets(run, self.corpus, self.preset)
        pool = make_pool(workers) if workers else None
        with Progress(run.name) as self.bar:
            if pool is not None:
                run.params({"workers": pool.count})
                with pool as self.pool:
                    self.train()
            self.bar.phase(self.last_phase)
            return self.conclude(time.monotonic() - self.began)

    # --- the estimate ------------------------------------------------------------------------------------------------

    def estimate(
        self,
        configurations: Sequence[tuple[ModelConfig, TrainConfig]],
        minutes: Callable[[], float],
        wording: Callable[[str], str],
    ) -> None:
        """Time some steps of some configurations, in all workers at once; report the expected duration.

        ``minutes`` computes it from ``expected_seconds``; ``wording`` puts it into a message.
        """
        self.bar.phase("timing some steps")
        tasks = [TimingTask(self.corpus_config, *shape) for shape in shapes_to_time(configurations)]
        timings = time_all(self.pool, tasks, lambda done, of: self.bar.figures(timed=f"{done}/{of}"))
        duration = UNKNOWN_DURATION
        if timings:
            self._calibration = Calibration(self.corpus, timings)
            self.minutes_expected = minutes()
            duration = expected_duration(self.minutes_expected, self.pool.count)
        self.say(wording(duration))

    def expected_seconds(self, model: ModelConfig, train: TrainConfig) -> float:
        """The expected seconds of a complete training; 1 if no steps were timed."""
        return 1.0 if self._calibration is None else self._calibration.expected_seconds(model, train)

    # --- the trainings -----------------------------------------------------------------------------------------------

    def task(
        self,
        role: Role,
        number: int,
        model: ModelConfig,
        train: TrainConfig,
        tags: Mapping[str, str],
        study: str = "",
        resumed_run: str = "",
    ) -> TrainingTask:
        """A training of this command; without a ``study``, only trainings nested in its run are reused."""
        tags = {**corpus_tags(self.corpus), "study": self.name, "role": role, **tags}
        return TrainingTask(role, number, self.corpus_config, model, train, study, "", tags, resumed_run)

    def train_all(self, waiting: list[TrainingTask], done: int = 0, phase: str = "") -> None:
        """Train a list of tasks, in order; ``done`` are those that were trained before."""
        total = done + len(waiting)

        def next_task() -> TrainingTask | None:
            ended = total - len(waiting) - len(self.pool.running)
            self.bar.figures(trainings=f"{ended}/{total}")
            return waiting.pop(0) if waiting else None

        self.bar.phase(phase)
        self.run_tasks(next_task, lambda: sum(self.expected_seconds(task.model, task.train) for task in waiting))

    def run_tasks(self, next_task: Callable[[], TrainingTask | None], seconds_ahead: Callable[[], float]) -> None:
        """Train the tasks of ``next_task`` until it returns None while no task is running; repeat lost ones.

        ``seconds_ahead`` are the expected seconds of the tasks to come.
        """
        lost: list[TrainingTask] = []
        running: dict[tuple[str, int, int], tuple[float, float]] = {}  # expected seconds, and the share that is done
        while True:
            while self.pool.idle and (task := lost.pop(0) if lost else next_task()) is not None:
                self.pool.submit(replace(task, parent=self.run.id, study=task.study or self.run.id))
                running[task.key] = (self.expected_seconds(task.model, task.train), 0.0)
            if not self.pool.running:
                return
            done = self._seconds_done + sum(seconds * share for seconds, share in running.values())
            total = self._seconds_done + sum(seconds for seconds, _ in running.values()) + seconds_ahead()
            total += sum(self.expected_seconds(task.model, task.train) for task in lost) + self.closing_seconds
            self.bar.show(done / total, self.pool.count / total)
            for event in self.pool.events(WAIT_SECONDS):
                task, outcome = event.task, event.value
                if event.kind == "message":
                    running[task.key] = (running[task.key][0], outcome)
                    continue
                seconds, _ = running.pop(task.key)
                if event.kind == "lost":
                    log.warning(
                        "The training %s (seed %d) is lost: %s", task.model.shape, task.train.seed, outcome.reason
                    )
                    close_lost(event)
                    if self.count_kills(task, outcome.kills) <= KILLS_ALLOWED:
                        lost.extend(self.again(task))
                        continue
                else:
                    self._seconds_done += seconds
                self.take(task, outcome)

    def count_kills(self, task: TrainingTask, kills: float) -> float:
        """Add to the processes that a training has killed; returns their number."""
        self._kills[task.key] = self._kills.get(task.key, 0.0) + kills
        return self._kills[task.key]

    def again(self, task: TrainingTask) -> list[TrainingTask]:
        """The task that repeats a lost one, whose run it resumes; none if it had finished."""
        return [task]
