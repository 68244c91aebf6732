"""A pool of workers in this process, for tests of code that submits to one."""

from typing import Any, Self

from pipeline.stages.tasks import TrainingTask, do
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

    def events(self, timeout_seconds: float | None = None) -> list[Event]:
        if self._task is None:
            return []
        task, self._task = self._task, None
        return self.done(task)

    def done(self, task: Any) -> list[Event]:
        """Do a task; returns its events."""
        said: list[Event] = []
        value = do(task, lambda share: said.append(Event("message", task, share)))
        return [*said, Event("done", task, value)]


class Counting(Inline):
    """Counts the trainings that all pools of this kind are given."""

    given = 0

    def submit(self, task: Any) -> None:
        super().submit(task)
        Counting.given += isinstance(task, TrainingTask)
