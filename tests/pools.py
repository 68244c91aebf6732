"""A pool of workers in this process, for tests of code that submits to one."""

from collections.abc import Callable
from typing import Any, Self

from pipeline.errors import TrainingDivergedError
from pipeline.stages.sweep import TrainingTask, do
from pipeline.support.workers import Event


class Inline:
    """A pool with one worker that does its task in this process, when ``events`` is called."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is left running."""

    @property
    def idle(self) -> int:
        return int(self._task is None)

    @property
    def running(self) -> int:
        return int(self._task is not None)

    def submit(self, task: Any) -> None:
        self._task = task

    def events(self, timeout_seconds: float) -> list[Event]:
        if self._task is None:
            return []
        task, self._task = self._task, None
        return self.done(task)

    def done(self, task: Any) -> list[Event]:
        """Do a task; returns its events."""
        return events_of(task)


def events_of(task: TrainingTask, report: Callable[[float], None] = lambda share: None) -> list[Event]:
    """Do a task; ``report`` gets the shares that are done, too, and may raise an exception in the training."""
    said: list[Event] = []

    def tell(share: float) -> None:
        said.append(Event("message", task, share))
        report(share)

    try:
        return [*said, Event("done", task, do(task, tell))]
    except TrainingDivergedError as error:
        return [*said, Event("failed", task, error)]


def pool_with(
    given: list[TrainingTask], ends: Callable[[TrainingTask], list[Event] | None] = lambda task: None
) -> Callable[[int], Inline]:
    """Pools that list the trainings submitted; ``ends`` returns the events of a training that is not to be done."""

    class Listing(Inline):
        def done(self, task: Any) -> list[Event]:
            given.append(task)
            events = ends(task)
            return super().done(task) if events is None else events

    return Listing


def diverges(task: TrainingTask) -> list[Event]:
    """The end of a training that diverges once its run has started."""

    def report(share: float) -> None:
        if share == 0:
            raise TrainingDivergedError("the loss is nan")

    return events_of(task, report)


def not_trained(task: TrainingTask) -> list[Event]:
    """The end of a training for which there is no time."""
    return [Event("failed", task, TrainingDivergedError("not trained here"))]
