"""A command that meets a fault at a chosen moment: python -m tests.fault_points MOMENT NUMBER ACTION COMMAND ...

At the NUMBER-th time that the command comes to MOMENT, ACTION is done: ``kill`` ends the process as kill -9 does;
``interrupt`` sends it Ctrl-C; ``full`` lets no file grow past a few bytes from then on, as on a full disk.
A MOMENT of a search's worker is written trial/MOMENT or confirmation/MOMENT, its NUMBER 1x2 for the first time in each
of two such tasks; without x it is met in one alone.
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
    "step": "pipeline.training.experiment:CheckpointManager.keep_if_due",
    "checkpoint": "pipeline.training.experiment:CheckpointManager.keep",
    "best checkpoint": "pipeline.training.experiment:CheckpointManager._write_best",
    "figures": "pipeline.tracking.runs:TrackedRun.metrics",
    "texts": "pipeline.tracking.runs:TrackedRun.text",
    "picture": "pipeline.tracking.runs:TrackedRun.picture",
    "model": "pipeline.tracking.runs:TrackedRun.model",
    "result": "pipeline.tracking.runs:TrackedRun.json",
    "half a checkpoint": "os.fsync",
    # of a search
    "asked": "optuna:Trial.set_user_attr",
    "taken": "pipeline.search.study.trials:Search.take",
    "told": "optuna:Study.tell",
    "put in line": "optuna:Study.add_trial",
    "judged": "pipeline.stages.search.evaluate_front",
    "registered": "pipeline.tracking.registry.register",
}
WORK = "pipeline.stages.train.do"  # what a worker is started with
IN_WORKER = "TMLM_TEST_FAULT"  # role, moment, number, how often, action, and the folder that counts


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_the_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


ACTIONS = {"kill": die, "interrupt": interrupt, "full": fill_the_disk}


def tear(file: int) -> None:
    """What a machine that goes down may leave of a file: its first half."""
    if stat.S_ISREG(os.fstat(file).st_mode):  # folders are synced too
        os.ftruncate(file, os.fstat(file).st_size // 2)


def arm(owner: Any, name: str, number: int, action: Callable[[], None], before: Callable = lambda *args: None) -> None:
    """Have the action done before the call of this number of owner.name."""
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
    place, _, name = PLACES[moment].rpartition(".")
    owner = resolve_name(place)
    arm(owner, name, number, action, tear if moment == "half a checkpoint" else lambda *args: None)


def do(task: Any, report: Any) -> Any:
    """What a worker does in place of pipeline.stages.train.do, when it is to meet a fault."""
    from pipeline.stages import train

    role, moment, number, times, action, folder = os.environ[IN_WORKER].split("|")

    def act() -> None:
        marks = len(list(Path(folder).iterdir()))
        if marks < int(times):
            Path(folder, str(marks)).touch(exist_ok=False)
            ACTIONS[action]()

    if getattr(task, "role", "") == role:
        meet(moment, int(number), act)
    return train.do(task, report)


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
        getattr(resolve_name(owner), name)  # what is not there any more would be replaced in vain
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
