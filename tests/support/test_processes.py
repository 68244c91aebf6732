"""Which processes are alive, and of this machine, by their tags; test_liveness.py has what becomes of their runs."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.support import processes
from pipeline.support.processes import folder_of_mlflow_run, is_gone, is_of_this_machine, process_tags, start_ticks


def tags_of(process: subprocess.Popen) -> dict[str, str]:
    """The tags that the process would have written."""
    started = psutil.Process(process.pid).create_time()
    ticks = str(start_ticks(process.pid))
    own = {"process.pid": str(process.pid), "process.started": f"{started}", "process.ticks": ticks}
    return {**process_tags(), **own}


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


@pytest.fixture(params=["Linux", "another system"])
def _system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "Linux":
        monkeypatch.setattr(processes, "_boot", lambda: None)
        monkeypatch.setattr(processes, "start_ticks", lambda pid: None)


@pytest.mark.usefixtures("_system")
def test_a_process_is_gone_once_it_has_ended(sleeper):
    assert is_of_this_machine(process_tags())
    assert not is_gone(process_tags())
    tags = tags_of(sleeper)
    assert not is_gone(tags)
    if processes.start_ticks(sleeper.pid) is not None:  # Linux: a clock that was set since, as by NTP, does not matter
        assert not is_gone({**tags, "process.started": f"{float(tags['process.started']) - 100}"})
    sleeper.kill()
    psutil.wait_procs([psutil.Process(sleeper.pid)], timeout=5)
    assert is_gone(tags)
    sleeper.wait()
    assert is_gone(tags)


@pytest.mark.usefixtures("_system")
def test_a_reused_pid_is_another_process(sleeper):
    assert is_gone({**tags_of(sleeper), "process.ticks": "1", "process.started": "1000"})


def test_machine_id_is_the_same_in_each_process_without_a_mac_address(monkeypatch):
    """uuid.getnode makes up an address with the multicast bit then."""
    monkeypatch.setattr(Path, "read_text", lambda path: "")
    for address, expected in ((0x0223456789AB, "223456789ab"), (0x0323456789AB, "")):
        monkeypatch.setattr(processes, "getnode", lambda address=address: address)
        processes._machine.cache_clear()
        assert processes._machine() == expected
    processes._machine.cache_clear()


@pytest.mark.skipif(not Path("/etc/machine-id").exists(), reason="needs systemd's machine id")
def test_the_confidential_id_of_the_machine_is_in_no_tag():
    assert Path("/etc/machine-id").read_text().strip() not in process_tags().values()


def test_a_process_of_an_earlier_boot_is_gone_and_one_of_a_later_boot_is_of_a_clone():
    earlier = {**process_tags(), "process.boot": "another", "process.started": f"{psutil.boot_time() - 60}"}
    assert is_of_this_machine(earlier)
    assert is_gone(earlier)
    assert not is_of_this_machine({**earlier, "process.started": f"{psutil.boot_time() + 60}"})


@pytest.mark.parametrize("tags", [{}, {"process.pid": "x", "process.started": "0"}])
def test_without_usable_tags_no_process_is_said_to_be_gone(tags):
    assert not is_gone(tags)
