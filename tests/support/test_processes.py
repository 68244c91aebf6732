"""Which processes are alive, and of this machine, by their tags; test_liveness.py has what becomes of their runs."""

import subprocess
from pathlib import Path

import psutil
import pytest

from pipeline.support import processes
from pipeline.support.processes import is_gone, is_of_this_machine, process_tags, start_ticks


def tags_of(process: subprocess.Popen) -> dict[str, str]:
    """The tags that the process would have written."""
    started = psutil.Process(process.pid).create_time()
    ticks = str(start_ticks(process.pid))
    own = {"process.pid": str(process.pid), "process.started": f"{started}", "process.ticks": ticks}
    return {**process_tags(), **own}


@pytest.fixture(params=["Linux", "another system"])
def _system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "Linux":
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


@pytest.mark.skipif(not Path("/etc/machine-id").exists(), reason="needs systemd's machine id")
def test_the_confidential_id_of_the_machine_is_in_no_tag():
    assert Path("/etc/machine-id").read_text().strip() not in process_tags().values()


@pytest.mark.parametrize("tags", [{}, {"process.pid": "x", "process.started": "0"}])
def test_without_usable_tags_no_process_is_said_to_be_gone(tags):
    assert not is_gone(tags)
