"""What this process may use of its machine: memory, cores and threads.

A container, systemd or a batch system limits them by control groups, of which the parents' limits count too.
Version 2 has one hierarchy for all controllers, version 1 one for each. A container without a namespace for control
groups is told its path on the host, while its own group is what it finds mounted at the root: both are looked at.
"""

import importlib.metadata
import os
import platform
import subprocess
import threading
from collections.abc import Iterator
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import psutil

from pipeline.errors import InputError
from pipeline.support.code_digest import ROOT

PACKAGES = ("torch", "mlflow", "optuna", "ptflops", "matplotlib", "click", "numpy", "safetensors")


def public_version(package: str) -> str:
    """The version as a package index knows it, without a build's local suffix (+cpu)."""
    return importlib.metadata.version(package).split("+")[0]


@cache
def git_tags() -> dict[str, str]:
    """Commit of the code that runs, and whether the working tree differs from it; empty outside a repository."""
    try:
        commit, changes = (
            subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, timeout=20, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git.commit": commit.strip(), "git.dirty": str(bool(changes.strip())).lower()}


@cache
def environment() -> dict[str, Any]:
    """Python, platform and package versions, as every run records them."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


GB = 10**9

CGROUPS = Path("/sys/fs/cgroup")

MEMBERSHIP = Path("/proc/self/cgroup")  # lines of hierarchy:controllers:path


def memory_of_this_machine() -> int:
    """Bytes that a process may have: the machine's, or those of its container or job where these are fewer."""
    total: int = psutil.virtual_memory().total
    return min(total, memory_limit() or total)


def check_file_fits(what: str, needed: int) -> None:
    """Refuse a file that needs so many bytes of memory to be read, if this machine has less. Raises InputError."""
    there = memory_of_this_machine()
    if needed > there:
        raise InputError(
            f"{what} needs {needed / GB:,.1f} GB of memory to be read; this machine has {there / GB:,.1f} GB: "
            "give a smaller file"
        )


def check_threads(count: int) -> None:
    """Refuse --threads where the system does not let this process start so many; torch would end it without a word.

    They are started, since limits of users, control groups and address space all count. Raises InputError.
    """
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        for _ in range(count):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            started.append(thread)
    except (RuntimeError, MemoryError):
        raise InputError(
            f"--threads is {count}, but this process may start only {len(started)} more; lower it, or raise the limit "
            "(ulimit -u, or that of the container)"
        ) from None
    finally:
        done.set()
        for thread in started:
            thread.join()


def memory_limit() -> int | None:
    """Bytes that this process may have, together with all others in its groups; None without a limit."""
    texts = [_content(folder / name) for folder, name in _files("memory", "memory.limit_in_bytes", "memory.max")]
    return min((int(text) for text in texts if text.isdigit()), default=None)


def cpu_limit() -> int | None:
    """Cores that this process's groups may use at a time, rounded up; None without a quota."""
    cores = []
    for folder, name in _files("cpu", "cpu.cfs_quota_us", "cpu.max"):
        quota, _, period = _content(folder / name).partition(" ")
        if name != "cpu.max":
            period = _content(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):  # "max" or -1: no quota
            cores.append(max(1, ceil(int(quota) / int(period))))
    return min(cores, default=None)


def usable_cores() -> int:
    """Cores that this process may use: those of its CPU affinity, or fewer under a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, cpu_limit() or cores)


def _files(controller: str, first: str, second: str) -> Iterator[tuple[Path, str]]:
    """The folder of this process's group and those of its parents, with the file's name in version 1 or 2."""
    for line in _content(MEMBERSHIP).splitlines() or ["0::/"]:
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0":
            name, tops = second, [CGROUPS, CGROUPS / "unified"]
        elif controller in controllers.split(","):
            name, tops = first, [CGROUPS / controller]
        else:
            continue
        own = Path(path.lstrip("/"))
        for top in tops:
            for folder in dict.fromkeys([own, *own.parents]):
                if ".." not in folder.parts:  # a group outside of this namespace
                    yield top / folder, name


def _content(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):  # there is no such group or file here
        return ""
