"""Which process a run is recorded by, and whether that process is still there.

A process is identified by its host, its machine (two may have one name), the machine's boot, its process namespace
(containers), its id and its start. Linux counts the start in ticks since the boot, which no change of the clock moves.
Other systems, and the runs of release 0.1.0, have the start by the clock alone.
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

PROC = Path("/proc")

START_FIELD = 22  # of /proc/PID/stat, as proc(5) counts them

AFTER_NAME = 3  # the first field after the program's name, which may hold spaces and brackets itself


def process_tags() -> dict[str, str]:
    """The tags by which the runs of this process name it."""
    tags = {
        "process.host": socket.gethostname(),
        "process.machine": _machine(),
        "process.namespace": _namespace(),
        "process.pid": str(os.getpid()),
        "process.started": f"{psutil.Process().create_time():.2f}",
    }
    boot, ticks = _boot(), start_ticks(os.getpid())
    return tags if boot is None or ticks is None else {**tags, "process.boot": boot, "process.ticks": str(ticks)}


def is_of_this_machine(tags: Mapping[str, str]) -> bool:
    """Whether the process that the tags name would be seen from here.

    A run of another boot is either one from before this machine was restarted, or of a machine with the same name and
    machine id (a clone): what started after this machine's boot can only be the second.
    """
    here = process_tags()
    if any(tags.get(key) != here[key] for key in ("process.host", "process.machine", "process.namespace")):
        return False
    boot = _boot()
    if boot is None or tags.get("process.boot", boot) == boot:
        return True
    try:
        return float(tags["process.started"]) < psutil.boot_time()
    except (KeyError, ValueError):
        return False


def is_gone(tags: Mapping[str, str]) -> bool:
    """Whether the process that the tags name, one of this machine, has ended. False where that can't be known."""
    try:
        if "process.ticks" in tags and (boot := _boot()) is not None:
            pid, ticks = int(tags["process.pid"]), int(tags["process.ticks"])
            return tags["process.boot"] != boot or _has_ended(pid, ticks)
        return _has_ended_by_the_clock(int(tags["process.pid"]), float(tags["process.started"]))
    except psutil.NoSuchProcess:
        return True
    except (KeyError, ValueError, OverflowError, psutil.Error):
        return False


def _has_ended(pid: int, ticks: int) -> bool:
    """Whether no process of this id runs that started so many ticks after this boot."""
    if (started := start_ticks(pid)) is None:
        return not psutil.pid_exists(pid)  # it exists where /proc hides the processes of other users
    return started != ticks or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _has_ended_by_the_clock(pid: int, started: float) -> bool:
    """Whether no process of this id runs that started at this time, as far as a clock can tell."""
    process = psutil.Process(pid)
    if process.status() == psutil.STATUS_ZOMBIE:
        return True
    if abs(process.create_time() - started) <= START_TOLERANCE_SECONDS:
        return False
    # its id was given to another process, or the clock was set: one of ours is let live, unless it is this one
    return pid == os.getpid() or not _is_ours(process.cmdline())


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks after the machine's boot; None where the system does not say."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[START_FIELD - AFTER_NAME])
    except (OSError, IndexError, ValueError):
        return None


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
    """Whether a command line is ``tmlm ...``, ``python -m pipeline ...`` or that of a worker, which spawn starts."""
    words = list(command)
    is_tmlm = any(Path(word).name == "tmlm" for word in words[:2])
    return is_tmlm or ("-m", "pipeline") in pairwise(words) or "--multiprocessing-fork" in words


@cache
def _boot() -> str | None:
    """The id that Linux gives each start of a machine; None on other systems."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip() or None
    except OSError:
        return None


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
