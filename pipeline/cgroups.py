"""What a container, systemd or a batch system allows this process: the limits of its control groups and their parents.

Version 2 has one hierarchy for all controllers, version 1 one for each. A container without a namespace for control
groups is told its path on the host, while its own group is what it finds mounted at the root: both are looked at.
"""

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")  # lines of hierarchy:controllers:path


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
            name, tops = second, [ROOT, ROOT / "unified"]
        elif controller in controllers.split(","):
            name, tops = first, [ROOT / controller]
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
