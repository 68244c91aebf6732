"""A command that meets a fault at a chosen moment: python -m tests.fault_points MOMENT NUMBER ACTION COMMAND ...

At the NUMBER-th time that the command comes to MOMENT, ACTION is done: ``kill`` ends the process as kill -9 does;
``full`` lets no file grow past a few bytes from then on, as on a full disk.
"""

import os
import resource
import signal
import stat
import sys
from collections.abc import Callable
from typing import Any

import click


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_the_disk() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))


ACTIONS = {"kill": die, "full": fill_the_disk}


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


def main(moment: str, number: str, action: str, *words: str) -> None:
    from pipeline import cli, experiment, tracking

    places: dict[str, tuple[Any, str]] = {
        "step": (experiment.Keeper, "keep_now_and_then"),
        "checkpoint": (experiment.Keeper, "keep"),
        "best checkpoint": (experiment.Keeper, "_write_best"),
        "figures": (tracking.TrackedRun, "metrics"),
        "texts": (tracking.TrackedRun, "text"),
        "picture": (tracking.TrackedRun, "picture"),
        "model": (tracking.TrackedRun, "model"),
        "result": (tracking.TrackedRun, "json"),
        "half a checkpoint": (os, "fsync"),
    }
    owner, name = places[moment]
    arm(owner, name, int(number), ACTIONS[action], tear if moment == "half a checkpoint" else lambda *args: None)
    sys.argv = ["tmlm", *words]
    cli.main()


if __name__ == "__main__":
    if len(sys.argv) < 5:
        raise click.UsageError("MOMENT NUMBER ACTION COMMAND ...")
    main(*sys.argv[1:])
