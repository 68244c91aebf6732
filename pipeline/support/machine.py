"""The machine that this process runs on: software versions, and the memory and cores that it may use.

Containers, systemd and batch systems limit memory and cores by control groups (cgroups, read in version 2); the limits
of parent groups apply too. In a container without a cgroup namespace, /proc/self/cgroup has the path on the host while
the container's group is mounted at the root: the limits of both are read.
"""

import ctypes
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

import psutil

from pipeline.support.files import ROOT

GB = 10**9
LARGE_ARRAY = 4_000_000  # bytes: larger than what is computed at once, smaller than tables of n-grams
CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")  # has the line 0::PATH
PACKAGES = ("torch", "mlflow", "optuna", "ptflops", "matplotlib", "click", "numpy", "safetensors")

_is_tuned = False


def public_version(package: str) -> str:
    """A package's version without its local version label (+cpu), as in package indexes."""
    return importlib.metadata.version(package).split("+")[0]


@cache
def git_tags() -> dict[str, str]:
    """Tags with the commit of this code, and whether tracked files have changed; {} outside of a git repository."""
    if not (ROOT / "MLproject").is_file():  # installed: a repository around the environment has other code
        return {}
    try:
        commit, changes = (
            subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, timeout=20, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
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
    before = {name: os.environ[name] for name in values if name in os.environ}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            del os.environ[name]
        os.environ.update(before)


def tune_process() -> None:
    """Let training and the n-grams' fit tune the allocator of this process, and a cluster's client silence dask's logs.

    The command line and its worker processes do so; a host that imports ``tmlm`` is left as it is unless it calls this.
    """
    global _is_tuned
    _is_tuned = True


def is_tuned() -> bool:
    """Whether ``tune_process`` was called."""
    return _is_tuned


def keep_freed_memory() -> None:
    """Make glibc keep freed memory, if the process is tuned: returning it takes up to half of each step's time."""
    if not _is_tuned:
        return
    with suppress(OSError, AttributeError):  # another system or C library
        libc, m_trim_threshold, m_top_pad, m_mmap_max = ctypes.CDLL("libc.so.6"), -1, -2, -4
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**30)
        libc.mallopt(m_top_pad, 2**26)


def return_freed_memory() -> None:
    """Make glibc return freed memory, if the process is tuned: what it keeps by now, and large arrays from now on."""
    if not _is_tuned:
        return
    with suppress(OSError, AttributeError):  # another system or C library
        libc, m_mmap_threshold, m_mmap_max = ctypes.CDLL("libc.so.6"), -3, -4
        libc.mallopt(m_mmap_max, 65536)  # the default
        libc.mallopt(m_mmap_threshold, LARGE_ARRAY)
        libc.malloc_trim(0)


def memory_of_this_machine() -> int:
    """Bytes of memory that this process may use: the machine's, or fewer under a cgroup limit."""
    return min([psutil.virtual_memory().total, *(int(text) for text in _limits("memory.max") if text.isdigit())])


def usable_cores() -> int:
    """Cores that this process may use: its CPU affinity, or fewer under a cgroup quota, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [text.split() for text in _limits("cpu.max")]  # microseconds (or "max") in each period of microseconds
    return min([cores, *(ceil(int(quota) / int(period)) for quota, period in quotas if quota != "max")])


def _limits(name: str) -> Iterator[str]:
    """Yield the content of a file of this process's cgroup (version 2) and of its parents, where there is one."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:  # not Linux
        return
    own = Path(next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), ""))
    for folder in (own, *own.parents):
        with suppress(OSError):
            yield (CGROUPS / folder / name).read_text().strip()
