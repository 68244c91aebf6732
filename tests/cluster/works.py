"""Work for the nodes of a cluster under test; nodes import it."""

import os
import signal
import socket
import time
from typing import Any

from pipeline.errors import UnfitNodeError
from pipeline.support.workers import Report


def nothing() -> None:
    """Nothing to prepare."""


def unfit() -> None:
    raise UnfitNodeError("it has no text")


def work(task: Any, report: Report) -> Any:
    """Do what the task says: wait for some seconds, raise, or be killed; otherwise return it and the machine's name."""
    kind, value = task
    report(0.5)
    if kind == "wait":
        time.sleep(value)
    if kind == "raise":
        raise ValueError(value)
    if kind == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return value, socket.gethostname()
