"""run_tasks: what is asked of whom, and what the bar shows meanwhile."""

from typing import Any

from models.config import ModelConfig
from pipeline.config import CorpusConfig, TrainConfig
from pipeline.errors import RemoteError
from pipeline.stages.train import TrainingTask
from pipeline.support.progress import SearchProgress
from pipeline.support.workers import Event, raised, run_tasks
from tests.pools import Inline

MODEL, TRAIN = ModelConfig("gru", 1, 4), TrainConfig(epochs=1)


class Bar(SearchProgress):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def plan(self, seconds: float) -> None:
        self.told.append(("plan", seconds))

    def advance(self, key: Any, seconds: float, share: float) -> None:
        self.told.append(("advance", key[1], seconds, share))

    def end(self, key: Any) -> None:
        self.told.append(("end", key[1]))

    def lose(self, key: Any) -> None:
        self.told.append(("lose", key[1]))


class Scripted(Inline):
    """Loses the first task, and is halfway with each other one before it ends."""

    def done(self, task: TrainingTask) -> list[Event]:
        if task.number == 0:
            return [Event("lost", task, -9, 1)]
        return [Event("message", task, 0.5, 1), Event("done", task, {"number": task.number}, 1)]


def task(number: int) -> TrainingTask:
    return TrainingTask("trial", number, CorpusConfig(), MODEL, TRAIN, "study", "parent")


def test_all_tasks_are_run_and_each_end_is_told_and_shown():
    waiting, ended, bar = [task(0), task(1)], [], Bar()

    def on_end(event: Event) -> None:
        ended.append((event.kind, event.task.number))
        if event.kind == "lost":
            waiting.append(task(2))  # also what is put in line by an end is run

    run_tasks(
        Scripted(1),
        lambda: waiting.pop(0) if waiting else None,
        on_end,
        bar,
        lambda task: 10.0 + task.number,
        lambda: 100.0 * len(waiting),
    )
    assert ended == [("lost", 0), ("done", 1), ("done", 2)]
    assert bar.told == [
        ("advance", 0, 10.0, 0.0), ("plan", 100.0), ("lose", 0),
        ("advance", 1, 11.0, 0.0), ("plan", 100.0), ("advance", 1, 11.0, 0.5), ("end", 1),
        ("advance", 2, 12.0, 0.0), ("plan", 0.0), ("advance", 2, 12.0, 0.5), ("end", 2),
    ]  # fmt: skip


def test_without_a_task_nothing_is_waited_for():
    run_tasks(Scripted(1), lambda: None, lambda event: None, Bar(), lambda task: 1.0, lambda: 0.0)


def test_what_a_task_raised_is_raised_and_what_could_not_be_pickled_is_told():
    error = ValueError("no")
    assert raised(Event("failed", task(0), error, 1)) is error
    remote = raised(Event("failed", task(0), "OddError: 7", 1))
    assert (type(remote), str(remote)) == (RemoteError, "OddError: 7")
