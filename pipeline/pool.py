"""Who trains: worker processes, or whatever takes their place in a test; and the timing that estimates rest on."""

from collections.abc import Callable, Hashable, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from pipeline.errors import RemoteError
from pipeline.estimate import Timing
from pipeline.machine import usable_cores
from pipeline.memory import most_workers
from pipeline.progress import SearchProgress
from pipeline.trial import TimingTask, TrainingTask, do
from pipeline.workers import Event, Workers

WAIT_SECONDS = 1.0  # between two looks at the clock


class Pool(Protocol):
    """``Workers``, or whatever takes their place in a test."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def idle(self) -> int: ...

    @property
    def running(self) -> list[tuple[int, Any]]: ...

    def submit(self, task: Any) -> None: ...

    def events(self, timeout_seconds: float | None = None) -> list[Event]: ...


MakePool = Callable[[int], Pool]


def train_in_processes(count: int) -> Workers:
    """Worker processes of one thread each."""
    return Workers(do, count)


def worker_count(workers: int | None, largest_training: int = 0) -> int:
    """--workers; with auto one for each core that this process may use, if the memory holds so many trainings.

    ``largest_training``: the bytes that the largest of them takes.
    """
    return workers if workers is not None else min(usable_cores(), most_workers(largest_training))


def time_all(pool: Pool, tasks: Sequence[TimingTask]) -> list[Timing]:
    """Time some steps of each in all workers at once, as they will train; what takes its process down twice is left."""
    waiting, timings = list(tasks), []
    lost: list[TimingTask] = []
    while waiting or pool.running:
        while waiting and pool.idle:
            pool.submit(waiting.pop(0))
        for event in pool.events(WAIT_SECONDS):
            if event.kind == "failed":
                raise raised(event)
            if event.kind == "lost" and event.task not in lost:
                lost.append(event.task)
                waiting.append(event.task)
            if event.kind == "done":
                timings.append(event.value)
    return timings


def raised(event: Event) -> Exception:
    """What a task raised; RemoteError where that could not be brought here."""
    return event.value if isinstance(event.value, Exception) else RemoteError(str(event.value))


def run_tasks(
    pool: Pool,
    next_task: Callable[[], TrainingTask | None],
    on_end: Callable[[Event], None],
    bar: SearchProgress,
    expected_seconds: Callable[[TrainingTask], float],
    seconds_ahead: Callable[[], float],
) -> None:
    """Train what ``next_task`` gives, until it gives None while nothing is running.

    It is asked for a task whenever a worker is idle. ``on_end`` hears how each task ended: done, failed or lost. The
    bar shows the shares done of the ``expected_seconds`` of the tasks, and the ``seconds_ahead`` of those to come.
    """
    seconds: dict[Hashable, float] = {}
    while True:
        while pool.idle and (task := next_task()) is not None:
            pool.submit(task)
            seconds[task.key] = expected_seconds(task)
            bar.advance(task.key, seconds[task.key], 0.0)
        if not pool.running:
            return
        bar.plan(seconds_ahead())
        for event in pool.events(WAIT_SECONDS):
            key = event.task.key
            if event.kind == "message":
                bar.advance(key, seconds[key], event.value)
                continue
            if event.kind == "lost":
                bar.lose(key)
            else:
                bar.end(key)
            on_end(event)
