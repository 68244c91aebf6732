"""The machine that this process runs on: software versions, and the memory, cores and threads that it may use.

Containers, systemd and batch systems limit memory and cores by control groups (cgroups); the limits of parent groups
apply too. Version 2 has one hierarchy for all controllers, version 1 one for each. In a container without a cgroup
namespace, /proc/self/cgroup has the path on the host while the container's group is mounted at the root: the limits of
both are read.
"""

import importlib.metadata
import os
import platform
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import psutil

from pipeline.errors import InputError
from pipeline.support.code_digest import ROOT

GB = 10**9
CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")  # lines of hierarchy:controllers:path
PACKAGES = ("torch", "mlflow", "optuna", "ptflops", "matplotlib", "click", "numpy", "safetensors")


# --- code and environment --------------------------------------------------------------------------------------------


def public_version(package: str) -> str:
    """A package's version without its local version label (+cpu), as in package indexes."""
    return importlib.metadata.version(package).split("+")[0]


@cache
def git_tags() -> dict[str, str]:
    """Tags with the commit of this code and whether the working tree is dirty; {} outside of a git repository."""
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


@contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables within the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# --- memory, cores and threads ---------------------------------------------------------------------------------------


def memory_of_this_machine() -> int:
    """Bytes of memory that this process may use: the machine's, or fewer under a cgroup limit."""
    total: int = psutil.virtual_memory().total
    return min(total, memory_limit() or total)


def check_file_fits(what: str, needed: int) -> None:
    """Raise InputError if reading a file needs more memory (in bytes) than this machine has."""
    available = memory_of_this_machine()
    if needed > available:
        raise InputError(
            f"{what} needs {needed / GB:,.1f} GB of memory to be read; this machine has {available / GB:,.1f} GB: "
            "give a smaller file"
        )


def check_threads(count: int) -> None:
    """Raise InputError if this process can't start ``count`` threads; torch would crash without a message.

    The threads are actually started, since limits of the user, the cgroup and the address space all apply.
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
    """The cgroup limit in bytes, shared by all processes of the group; None without a limit."""
    texts = [_content(folder / name) for folder, name in _files("memory", "memory.limit_in_bytes", "memory.max")]
    return min((int(text) for text in texts if text.isdigit()), default=None)


def cpu_limit() -> int | None:
    """The cgroup CPU quota in cores, rounded up; None without a quota."""
    cores = []
    for folder, name in _files("cpu", "cpu.cfs_quota_us", "cpu.max"):
        quota, _, period = _content(folder / name).partition(" ")
        if name != "cpu.max":
            period = _content(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):  # "max" or -1: no quota
            cores.append(max(1, ceil(int(quota) / int(period))))
    return min(cores, default=None)


def usable_cores() -> int:
    """Cores that this process may use: its CPU affinity, or fewer under a quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, cpu_limit() or cores)


def _files(controller: str, name_v1: str, name_v2: str) -> Iterator[tuple[Path, str]]:
    """Yield the folders of this process's cgroup and its parents, each with the file's name in its cgroup version."""
    for line in _content(MEMBERSHIP).splitlines() or ["0::/"]:
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0":
            name, tops = name_v2, [CGROUPS, CGROUPS / "unified"]
        elif controller in controllers.split(","):
            name, tops = name_v1, [CGROUPS / controller]
        else:
            continue
        own = Path(path.lstrip("/"))
        for top in tops:
            for folder in dict.fromkeys([own, *own.parents]):
                if ".." not in folder.parts:  # outside of this cgroup namespace
                    yield top / folder, name


def _content(path: Path) -> str:
    """The stripped text of a file; "" if it can't be read."""
    try:
        return path.read_text().strip()
    except (OSError, ValueError):  # no such cgroup or file
        return ""
