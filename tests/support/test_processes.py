"""Which processes are alive, and of this machine, by their tags; test_liveness.py has what becomes of their runs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.support import processes
from pipeline.support.processes import folder_of_mlflow_run, is_gone, is_of_this_machine, process_tags, start_ticks


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen]:
    """A process of somebody else."""
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


def tags_of(process: subprocess.Popen) -> dict[str, str]:
    """The tags that the process would have written."""
    started = psutil.Process(process.pid).create_time()
    ticks = start_ticks(process.pid)
    return {
        **process_tags(),
        "process.pid": str(process.pid),
        "process.started": f"{started}",
        "process.ticks": str(ticks),
    }


def without_ticks(tags: dict[str, str]) -> dict[str, str]:
    """As release 0.1.0 and other systems than Linux have them."""
    return {key: value for key, value in tags.items() if key not in ("process.boot", "process.ticks")}


FOLDER = "from pipeline.support.processes import folder_of_mlflow_run as f; print(f(), end='')"
CHILD = (
    f"import os, subprocess, sys; del os.environ['MLFLOW_RUN_ID']; subprocess.run([sys.executable, '-c', {FOLDER!r}])"
)


@pytest.mark.parametrize("program", [FOLDER, CHILD], ids=["the command", "its worker"])
def test_the_folder_of_mlflow_run_is_its_callers(tmp_path, program):
    environment = {**os.environ, "MLFLOW_RUN_ID": "1", "PYTHONPATH": str(Path(processes.__file__).parents[2])}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == os.getcwd()


def test_without_mlflow_run_there_is_no_folder_of_it():
    assert folder_of_mlflow_run() is None


def test_this_process_is_here_and_alive():
    for tags in (process_tags(), without_ticks(process_tags())):
        assert is_of_this_machine(tags)
        assert not is_gone(tags)


def test_a_process_is_gone_once_it_has_ended(sleeper):
    tags = tags_of(sleeper)
    assert not is_gone(tags)
    assert not is_gone(without_ticks(tags))
    sleeper.kill()
    sleeper.wait()
    assert is_gone(tags)
    assert is_gone(without_ticks(tags))


def test_a_reused_pid_is_another_process(sleeper):
    tags = tags_of(sleeper)
    assert is_gone({**tags, "process.ticks": str(int(tags["process.ticks"]) - 1)})
    assert is_gone({**without_ticks(tags), "process.started": f"{float(tags['process.started']) - 60}"})


@pytest.mark.parametrize("key", ["process.host", "process.machine", "process.namespace"])
def test_a_process_of_another_machine_or_container_is_not_of_this_one(key):
    assert not is_of_this_machine({**process_tags(), key: "another"})


def test_a_process_of_an_earlier_boot_is_gone_and_one_of_a_later_boot_is_of_a_clone():
    earlier = {**process_tags(), "process.boot": "another", "process.started": f"{psutil.boot_time() - 60}"}
    assert is_of_this_machine(earlier)
    assert is_gone(earlier)
    assert not is_of_this_machine({**earlier, "process.started": f"{psutil.boot_time() + 60}"})


@pytest.mark.parametrize("tags", [{}, {"process.pid": "x", "process.started": "0"}])
def test_without_usable_tags_no_process_is_said_to_be_gone(tags):
    assert not is_gone(tags)


def test_the_start_of_a_process_is_read_behind_its_name_whatever_that_is(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "PROC", tmp_path)
    (tmp_path / "7").mkdir()
    fields = " ".join(map(str, range(3, 53)))
    Path(tmp_path / "7" / "stat").write_text(f"7 (a ) 1 (b) {fields}")
    assert start_ticks(7) == 22
    assert start_ticks(8) is None
