"""The loop of all sweeps: when it asks for the next task, and which tasks it repeats."""

from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

from models.config import ModelConfig
from pipeline.config import TrainConfig
from pipeline.stages.sweep import Sweep, TextKey, TrainingTask
from pipeline.support.workers import Event, Loss


class TwoAtOnce:
    """A pool of two workers, whose tasks all end at the next poll: number 0 is lost once, the others are done."""

    def __init__(self, said: list[Any]) -> None:
        self.said, self.tasks, self.count = said, list[TrainingTask](), 2

    @property
    def running(self) -> int:
        return len(self.tasks)

    @property
    def idle(self) -> int:
        return self.count - len(self.tasks)

    def submit(self, task: TrainingTask) -> None:
        self.said.append(("submit", task.number, task.study))
        self.tasks.append(task)

    def events(self, seconds: float) -> list[Event]:
        ended, self.tasks = self.tasks, []
        is_first = self.said.count(("submit", 0, "run")) == 1
        loss = Loss("it died")
        return [Event("lost", t, loss) if t.number == 0 and is_first else Event("done", t, t.number) for t in ended]


def test_all_outcomes_of_a_poll_are_yielded_before_the_next_task_is_asked_for_and_none_now_is_not_the_end(store):
    said: list[Any] = []
    sweep: Any = Sweep("study", SimpleNamespace(), lambda: 0.0, ExitStack())  # type: ignore[arg-type]
    sweep.run, sweep.pool = SimpleNamespace(id="run"), TwoAtOnce(said)
    text = TextKey("", "", "letters", "", "")

    def tasks() -> Any:
        for number in (0, 1, None, 2, 3):
            said.append(("ask", number))
            yield None if number is None else TrainingTask("trial", number, text, ModelConfig(), TrainConfig())

    for task, outcome in sweep.trained(tasks(), lambda shares: said.append("show")):
        said.append((task.number, outcome))
    submit = [("submit", number, "run") for number in range(4)]
    assert said == [
        *(("ask", 0), submit[0], ("ask", 1), submit[1], "show", (1, 1)),
        *(submit[0], ("ask", None), "show", (0, 0)),
        *(("ask", 2), submit[2], ("ask", 3), submit[3], "show", (2, 2), (3, 3)),
    ]
