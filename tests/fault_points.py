"""Run a command with a fault at a chosen moment: python -m tests.fault_points MOMENT NUMBER ACTION COMMAND ...

When the command reaches MOMENT for the NUMBER-th time, ACTION is done: ``kill`` ends the process as kill -9 does,
``interrupt`` sends it Ctrl-C, and ``full`` simulates a full disk: from then on, no file may grow past a few bytes.
For a worker of a search, MOMENT is trial/MOMENT or confirmation/MOMENT; a NUMBER such as 1x2 is the first time in each
of two such tasks, and a number without x that in one task only.
"""

import os
import resource
import signal
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import click

PLACES = {  # the function that is called at each moment
    "step": "pipeline.training.experiment:Experiment.on_step",
    "figures": "pipeline.tracking.runs:TrackedRun.metrics",
    "model": "pipeline.tracking.runs:TrackedRun.model",
    "result": "pipeline.tracking.runs:TrackedRun.json",
    "half a checkpoint": "os.fsync",
    # in a command that has workers
    "submitted": "pipeline.support.workers:Workers.submit",
    "asked": "optuna:Trial.set_user_attr",
    "taken": "pipeline.search.study.trials:Search.take",
    "registered": "pipeline.tracking.registry.register",
}
WORK = "pipeline.stages.tasks.do"  # the function that a worker runs
IN_WORKER = "TMLM_TEST_FAULT"  # variable: role|moment|number|times|action|folder that counts


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_the_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


ACTIONS = {"kill": die, "interrupt": interrupt, "full": fill_the_disk}


def tear(file: int) -> None:
    """Truncate a file to its first half, as a machine that goes down may leave it."""
    if stat.S_ISREG(os.fstat(file).st_mode):  # folders are synced too
        os.ftruncate(file, os.fstat(file).st_size // 2)


def arm(owner: Any, name: str, number: int, action: Callable[[], None], before: Callable) -> None:
    """Do ``before``, with its arguments, and ``action`` before the ``number``-th call of ``owner.name``."""
    original, calls = getattr(owner, name), 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            before(*args)
            action()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def meet(moment: str, number: int, action: Callable[[], None]) -> None:
    """Do the action when the moment is reached for the ``number``-th time."""
    place, _, name = PLACES[moment].rpartition(".")
    owner = resolve_name(place)
    arm(owner, name, number, action, tear if moment == "half a checkpoint" else lambda *args: None)


def do(task: Any, report: Any) -> Any:
    """Replace pipeline.stages.tasks.do in a worker, which meets a fault while it works."""
    from pipeline.stages import tasks

    role, moment, number, times, action, folder = os.environ[IN_WORKER].split("|")

    def act() -> None:
        marks = len(list(Path(folder).iterdir()))
        if marks < int(times):
            Path(folder, str(marks)).touch(exist_ok=False)
            ACTIONS[action]()

    if getattr(task, "role", "") == role:
        meet(moment, int(number), act)
    return tasks.do(task, report)


def main(moment: str, number: str, action: str, *words: str) -> None:
    from pipeline.cli import main

    sys.argv = ["tmlm", *words]
    if "/" not in moment:
        meet(moment, int(number), ACTIONS[action])
        main.main()
        return
    from tests import fault_points

    number, _, times = number.partition("x")
    with tempfile.TemporaryDirectory(prefix="tmlm-fault-") as folder:
        os.environ[IN_WORKER] = "|".join([*moment.split("/"), number, times or "1", action, folder])
        owner, _, name = WORK.rpartition(".")
        getattr(resolve_name(owner), name)  # fails if it was renamed
        vars(resolve_name(owner))[name] = fault_points.do  # by a name that a worker can import
        try:
            main.main()
        finally:
            met = len(list(Path(folder).iterdir()))
            if met < int(times or "1"):
                sys.exit(f"{moment} {number} was met {met} times")  # else a test would pass without its fault


if __name__ == "__main__":
    if len(sys.argv) < 5:
        raise click.UsageError("MOMENT NUMBER ACTION COMMAND ...")
    main(*sys.argv[1:])
