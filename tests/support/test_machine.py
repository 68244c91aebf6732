"""Limits of control groups, read from files as Linux has them; the state of a checkout."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipeline.support import machine

Write = Callable[[str, dict[str, str]], None]


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


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": "9", "memory.max": "max"}, 9),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": "9", "a.slice/memory.max": "7"}, 7),
        ("0::/docker/4f\n", {"memory.max": "7"}, 7),
        ("0::/a\n", {"other/memory.max": "7", "a/memory.max": "max"}, None),
        ("4:memory:/a\n", {}, None),
    ],
)
def test_memory_is_the_smallest_limit_of_the_group_and_its_parents(groups, membership, files, limit):
    groups(membership, files)
    assert machine.memory_of_this_machine() == (limit or psutil.virtual_memory().total)


def test_cores_are_those_of_the_affinity_or_fewer_under_a_quota(groups, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 5, 7}, raising=False)
    for quota, cores in (("max", 4), ("250000", 3), ("900000", 4), ("1000", 1)):
        groups("0::/a\n", {"a/cpu.max": f"{quota} 100000", "cpu.max": "max 100000"})
        assert machine.usable_cores() == cores


def test_code_is_changed_if_a_tracked_file_is_and_not_by_what_lies_beside(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    (tmp_path / "MLproject").write_text("name: a\n")
    for words in ("init -q", "add MLproject", "-c user.name=a -c user.email=a@b commit -q -m a"):
        subprocess.run(["git", *words.split()], cwd=tmp_path, check=True)
    for file, is_dirty in {"my-book.txt": "false", "MLproject": "true"}.items():
        (tmp_path / file).write_text("changed\n")
        assert machine.git_tags.__wrapped__()["git.dirty"] == is_dirty, file
