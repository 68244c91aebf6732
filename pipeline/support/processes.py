"""Identify the process that records a run, and detect whether it is still alive.

A process is identified by host name, systemd's machine id (two machines may share a name), PID namespace (containers),
PID and start time. Linux counts the start time in clock ticks since boot, which do not change when the clock is
adjusted. On other systems, there is only the start time by the clock.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

import psutil

START_TOLERANCE_SECONDS = 2.0  # start times are computed from the clock, which may be adjusted


def process_tags() -> dict[str, str]:
    """Tags that identify this process in the runs that it records."""
    tags = {
        "process.host": socket.gethostname(),
        "process.machine": _machine(),
        "process.namespace": _namespace(),
        "process.pid": str(os.getpid()),
        "process.started": f"{psutil.Process().create_time():.2f}",
    }
    ticks = start_ticks(os.getpid())
    return tags if ticks is None else {**tags, "process.ticks": str(ticks)}


def is_of_this_machine(tags: Mapping[str, str]) -> bool:
    """Whether the process with these tags ran on this machine, where its end can be detected."""
    here = process_tags()
    return all(tags.get(key) == here[key] for key in ("process.host", "process.machine", "process.namespace"))


def is_gone(tags: Mapping[str, str]) -> bool:
    """Whether the process of this machine with these tags has ended; False if that can't be determined."""
    try:
        process = psutil.Process(pid := int(tags["process.pid"]))
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        if (ticks := start_ticks(pid)) is not None:
            return ticks != int(tags["process.ticks"])
        return abs(process.create_time() - float(tags["process.started"])) > START_TOLERANCE_SECONDS
    except psutil.NoSuchProcess:
        return not psutil.pid_exists(pid)  # /proc may hide the processes of other users
    except (KeyError, ValueError, OverflowError, psutil.Error):
        return False


def users_of(file: Path) -> list[str]:
    """The other processes that have a file open, of those that this user may look into."""
    others = (process for process in psutil.process_iter(["open_files", "name"]) if process.pid != os.getpid())
    users = [other for other in others if str(file) in (opened.path for opened in other.info["open_files"] or ())]
    return [f"{user.info['name']} (pid {user.pid})" for user in users]


def start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot; None where the system does not report it."""
    try:  # proc(5): field 22, starttime; the second one, the program's name, may contain spaces and parentheses
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[22 - 3])
    except OSError:
        return None


@cache
def _machine() -> str:
    """An id of this machine that survives restarts, made from systemd's machine id; "" without one."""
    with suppress(OSError):
        if machine_id := Path("/etc/machine-id").read_text().strip():
            return sha256(f"time-machine-lm {machine_id}".encode()).hexdigest()[:32]  # machine-id(5): confidential
    return ""


def _namespace() -> str:
    """The PID namespace of this process; "none" on a system without namespaces."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return "none"
