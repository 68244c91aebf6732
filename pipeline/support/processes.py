"""Identify the process that records a run, and detect whether it is still alive.

A process is identified by host name, machine id (two machines may share a name), boot id, PID namespace (containers),
PID and start time. Linux counts the start time in clock ticks since boot, which do not change when the clock is
adjusted. On other systems, and for runs of release 0.1.0, there is only the start time by the clock.
"""

import os
import socket
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import dropwhile, pairwise
from pathlib import Path
from uuid import getnode

import psutil

START_TOLERANCE_SECONDS = 2.0  # start times are computed from the clock, which may be adjusted
PROC = Path("/proc")
START_FIELD = 22  # starttime in /proc/PID/stat, as proc(5) numbers the fields
AFTER_NAME = 3  # the first field after the program's name, which may contain spaces and parentheses


def process_tags() -> dict[str, str]:
    """Tags that identify this process in the runs that it records."""
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
    """Whether the process with these tags ran on this machine, where its end can be detected.

    A process with another boot id ran before this machine's restart, or on a clone with the same name and machine id:
    if it started after this machine's boot, it was on a clone.
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
    """Whether the process of this machine with these tags has ended; False if that can't be determined."""
    try:
        if "process.ticks" in tags and (boot := _boot()) is not None:
            pid, ticks = int(tags["process.pid"]), int(tags["process.ticks"])
            return tags["process.boot"] != boot or _has_ended(pid, ticks)
        return _has_ended_by_the_clock(int(tags["process.pid"]), float(tags["process.started"]))
    except psutil.NoSuchProcess:
        return True
    except (KeyError, ValueError, OverflowError, psutil.Error):
        return False


def start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None where the system does not report it."""
    try:
        fields = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return int(fields[START_FIELD - AFTER_NAME])
    except (OSError, IndexError, ValueError):
        return None


def mlflow_run_since(moment: float) -> bool:
    """Whether an ``mlflow run`` that started before ``moment`` (seconds since 1970) is alive on this machine."""
    for process in psutil.process_iter(["cmdline", "create_time", "status"]):
        known = process.info
        if known["status"] != psutil.STATUS_ZOMBIE and (known["create_time"] or 0) <= moment:
            words = [Path(word).name for word in known["cmdline"] or []]
            if ("mlflow", "run") in pairwise(words):
                return True
    return False


def has_a_process(run_id: str) -> bool:
    """Whether a process that MLflow started for the run (any project, any backend) is alive on this machine."""
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("MLFLOW_RUN_ID") == run_id:
            return True
    return False


def folder_of_mlflow_run() -> str | None:
    """The working folder of the process that called ``mlflow run``, which starts this one in the project's folder.

    That process is the nearest ancestor without MLFLOW_RUN_ID above one that has it. None if neither this process nor
    an ancestor has it, or if this can't be determined.
    """
    try:
        processes = dropwhile(lambda process: not _has_run(process), [psutil.Process(), *psutil.Process().parents()])
        caller = next(dropwhile(_has_run, processes), None)
        return None if caller is None else caller.cwd()
    except psutil.Error:
        return None


def _has_run(process: psutil.Process) -> bool:
    """Whether a process was started with MLFLOW_RUN_ID; False for a process of another user."""
    try:
        return "MLFLOW_RUN_ID" in process.environ()
    except psutil.AccessDenied:
        return False


def _has_ended(pid: int, ticks: int) -> bool:
    """Whether no process with this PID and start time (in ticks since boot) is running."""
    if (started := start_ticks(pid)) is None:
        return not psutil.pid_exists(pid)  # /proc may hide the processes of other users
    return started != ticks or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def _has_ended_by_the_clock(pid: int, started: float) -> bool:
    """Whether no process with this PID and start time (by the clock) is running, as far as that can be determined."""
    process = psutil.Process(pid)
    if process.status() == psutil.STATUS_ZOMBIE:
        return True
    if abs(process.create_time() - started) <= START_TOLERANCE_SECONDS:
        return False
    # the PID was reused or the clock adjusted: a process of this program counts as alive, unless it is this one
    return pid == os.getpid() or not _is_ours(process.cmdline())


def _is_ours(command: Iterable[str]) -> bool:
    """Whether a command line is that of ``tmlm ...``, ``python -m pipeline ...`` or a worker started by spawn."""
    words = list(command)
    is_tmlm = any(Path(word).name == "tmlm" for word in words[:2])
    return is_tmlm or ("-m", "pipeline") in pairwise(words) or "--multiprocessing-fork" in words


@cache
def _boot() -> str | None:
    """Linux's boot id; None on other systems."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip() or None
    except OSError:
        return None


@cache
def _machine() -> str:
    """An id of this machine that survives restarts: systemd's machine id, else the MAC address."""
    try:
        return Path("/etc/machine-id").read_text().strip() or f"{getnode():x}"
    except OSError:
        return f"{getnode():x}"


def _namespace() -> str:
    """The PID namespace of this process; "none" on a system without namespaces."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "none"
