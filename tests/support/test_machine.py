"""Limits of control groups, read from files as Linux has them; and once from a real group, where one can be made."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from pipeline.support import machine

Write = Callable[[str, dict[str, str]], None]
PROJECT = Path(machine.__file__).parent.parent
GB = 10**9


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Gives a function that writes /proc/self/cgroup and the files below /sys/fs/cgroup."""
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "membership")

    def write(membership: str, files: dict[str, str]) -> None:
        (tmp_path / "membership").write_text(membership)
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text + "\n")

    return write


V1 = "5:cpuset:/\n4:memory:/slurm/job_7\n3:cpu,cpuacct:/slurm/job_7\n0::/\n"


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {"memory.max": "650000000"}, 650_000_000),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": "650000000", "memory.max": "max"}, 650_000_000),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": "max", "a.slice/memory.max": "7"}, 7),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": "9", "a.slice/memory.max": "7"}, 7),
        ("0::/a\n", {"other/memory.max": "7", "a/memory.max": "max"}, None),
        (V1, {"memory/slurm/job_7/memory.limit_in_bytes": "8", "memory/memory.limit_in_bytes": str(2**63)}, 8),
        (V1, {"memory/slurm/memory.limit_in_bytes": "9", "cpuset/memory.limit_in_bytes": "1"}, 9),
        ("4:memory:/docker/4f\n", {"memory/memory.limit_in_bytes": "8"}, 8),
        ("4:memory:/a\n0::/a\n", {"unified/a/memory.max": "7"}, 7),
        ("0::/../other\n", {"memory.max": "7"}, 7),
        ("0::/a:b\n", {"a:b/memory.max": "7"}, 7),
        ("", {"memory.max": "7"}, 7),
        ("nonsense", {}, None),
        ("0::/\n", {}, None),
    ],
)
def test_the_smallest_memory_limit_of_the_own_group_and_its_parents_counts(groups, membership, files, limit):
    groups(membership, files)
    assert machine.memory_limit() == limit


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "200000 100000"}, 2),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "150000 100000"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "10000 100000", "a/cpu.max": "150000 100000"}, 1),
        (V1, {"cpu/slurm/job_7/cpu.cfs_quota_us": "300000", "cpu/slurm/job_7/cpu.cfs_period_us": "100000"}, 3),
        (V1, {"cpu/slurm/job_7/cpu.cfs_quota_us": "-1", "cpu/slurm/job_7/cpu.cfs_period_us": "100000"}, None),
        (V1, {"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ("0::/\n", {}, None),
    ],
)
def test_the_smallest_cpu_quota_of_the_own_group_and_its_parents_counts(groups, membership, files, cores):
    groups(membership, files)
    assert machine.cpu_limit() == cores


def test_cores_are_those_of_the_affinity_or_fewer_under_a_quota(groups, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 5, 7}, raising=False)
    for quota, cores in (("max", 4), ("250000", 3), ("900000", 4)):
        groups("0::/a\n", {"a/cpu.max": f"{quota} 100000"})
        assert machine.usable_cores() == cores


@pytest.fixture
def real_group() -> Iterator[tuple[Path, str]]:
    """A group of 650 MB below this process's own, where this machine lets us make one; and its file of limits."""
    for folder, name in machine._files("memory", "memory.limit_in_bytes", "memory.max"):
        group = folder / f"tmlm-test-{uuid4().hex}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / name).write_text("650000000")
        except OSError:
            group.rmdir()
            continue
        yield group, name
        group.rmdir()
        return
    pytest.skip("making a control group is not permitted here")


def test_a_process_in_a_group_of_its_own_sees_that_limit(real_group):
    group, name = real_group
    script = (
        "import os, pathlib, sys\n"
        "pathlib.Path(sys.argv[1], 'cgroup.procs').write_text(str(os.getpid()))\n"
        "from pipeline.support.machine import memory_limit; print(memory_limit())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, group], env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    limit = int((group / name).read_text())
    assert int(done.stdout) == limit < GB
