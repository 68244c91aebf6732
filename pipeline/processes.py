"""Which process a run is recorded by, and whether that process is still there.

A process is known by its host, its machine (two may have one name), its process namespace (containers), its id and its
start.
"""

import os
import socket
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from uuid import getnode

import psutil

START_TOLERANCE_SECONDS = 2.0  # a start is computed from the clock, which is adjusted now and then


def process_tags() -> dict[str, str]:
    """This process, as its runs name it."""
    started = psutil.Process().create_time()
    return {
        "process.host": socket.gethostname(),
        "process.machine": _machine(),
        "process.namespace": _namespace(),
        "process.pid": str(os.getpid()),
        "process.started": f"{started:.2f}",
    }


def is_of_this_machine(tags: Mapping[str, str]) -> bool:
    """Whether the process that the tags name would be seen from here."""
    here = process_tags()
    return all(tags.get(key) == here[key] for key in ("process.host", "process.machine", "process.namespace"))


def is_gone(tags: Mapping[str, str]) -> bool:
    """Whether the process that the tags name, one of this machine, has ended. False where that can't be known."""
    try:
        pid, started = int(tags["process.pid"]), float(tags["process.started"])
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        if abs(process.create_time() - started) <= START_TOLERANCE_SECONDS:
            return False
        # its id was given to another one, or the clock was set: one of ours is let live, unless it is this one
        return pid == os.getpid() or not _is_ours(process.cmdline())
    except psutil.NoSuchProcess:
        return True
    except (KeyError, ValueError, OverflowError, psutil.Error):
        return False


def mlflow_run_since(moment: float) -> bool:
    """Whether a ``mlflow run`` is alive here that was started before a moment (seconds since 1970)."""
    for process in psutil.process_iter(["cmdline", "create_time", "status"]):
        known = process.info
        if known["status"] != psutil.STATUS_ZOMBIE and (known["create_time"] or 0) <= moment:
            words = [Path(word).name for word in known["cmdline"] or []]
            if ("mlflow", "run") in pairwise(words):
                return True
    return False


def has_a_process(run_id: str) -> bool:
    """Whether a process of this machine was started for the run by MLflow, of whatever project and by whatever way."""
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("MLFLOW_RUN_ID") == run_id:
            return True
    return False


def _is_ours(command: Iterable[str]) -> bool:
    """Whether a command line is ``tmlm ...``, ``python -m pipeline ...`` or the like."""
    words = list(command)
    return any(Path(word).name == "tmlm" for word in words[:2]) or ("-m", "pipeline") in pairwise(words)


@cache
def _machine() -> str:
    """What tells machines of one name apart, a restart or not: systemd's id, else the network card's."""
    try:
        return Path("/etc/machine-id").read_text().strip() or f"{getnode():x}"
    except OSError:
        return f"{getnode():x}"


def _namespace() -> str:
    """The process namespace that this process is in; "none" on a system without them."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "none"
