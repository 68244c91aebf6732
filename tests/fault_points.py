"""Run a command whose process is killed at a chosen moment: python -m tests.fault_points MOMENT NUMBER COMMAND ...

When the command reaches MOMENT for the NUMBER-th time, it ends as by kill -9. For a worker of a search, MOMENT is
trial/MOMENT or confirmation/MOMENT: the worker of one such task ends so.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import click

PLACES = {  # the function that is called at each moment
    "figures": "pipeline.tracking.runs:TrackedRun.metrics",
    "asked": "optuna:Trial.set_user_attr",
    "told": "pipeline.search.study.trials:SearchStudy.tell",
    "registered": "pipeline.tracking.registry.register",
}
WORK = "pipeline.stages.sweep.do"  # the function that a worker runs
IN_WORKER = "TMLM_TEST_FAULT"  # variable: role|moment|number|a file that is there once the moment was met


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def meet(moment: str, number: int, action: Callable[[], None]) -> None:
    """Do the action when the moment is reached for the ``number``-th time."""
    place, _, name = PLACES[moment].rpartition(".")
    owner, calls = resolve_name(place), 0
    original = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            action()
        return original(*args, **kwargs)

    setattr(owner, name, wrapped)


def do(task: Any, report: Any) -> Any:
    """Replace pipeline.stages.sweep.do in a worker, which meets a fault while it works."""
    from pipeline.stages import sweep

    role, moment, number, mark = os.environ[IN_WORKER].split("|")

    def act() -> None:
        if not Path(mark).exists():
            Path(mark).touch(exist_ok=False)
            die()

    if getattr(task, "role", "") == role:
        meet(moment, int(number), act)
    return sweep.do(task, report)


def main(moment: str, number: str, *words: str) -> None:
    from pipeline.cli import main

    sys.argv = ["tmlm", *words]
    if "/" not in moment:
        meet(moment, int(number), die)
        main.main()
        return
    from tests import fault_points

    with tempfile.TemporaryDirectory(prefix="tmlm-fault-") as folder:
        mark = Path(folder, "met")
        os.environ[IN_WORKER] = "|".join([*moment.split("/"), number, str(mark)])
        owner, _, name = WORK.rpartition(".")
        getattr(resolve_name(owner), name)  # fails if it was renamed
        vars(resolve_name(owner))[name] = fault_points.do  # by a name that a worker can import
        try:
            main.main()
        finally:
            if not mark.exists():
                sys.exit(f"{moment} {number} was not met")  # else a test would pass without its fault


if __name__ == "__main__":
    if len(sys.argv) < 4:
        raise click.UsageError("MOMENT NUMBER COMMAND ...")
    main(*sys.argv[1:])
