"""Runs without a process are closed, those with one never touched; each process here is a real one."""

import os
import re
import socket
import subprocess
import time

import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import InputError
from pipeline.runs import doctor
from pipeline.support import processes
from pipeline.tracking import liveness, names
from pipeline.tracking import runs as runs_module
from pipeline.tracking import store as store_module
from pipeline.tracking.recorded import FORMAT
from pipeline.tracking.store import setup
from tests.support.test_processes import tags_of


def open_run(**tags: str) -> str:
    """A run that is RUNNING, as a process of these tags would have left it."""
    setup()
    run = MlflowClient().create_run(
        "0", tags=names.recorded_tags({**processes.process_tags(), "format": FORMAT, **tags})
    )
    return str(run.info.run_id)


def status_of(run_id: str) -> str:
    return str(MlflowClient().get_run(run_id).info.status)


def open_pair(**tags: str) -> list[str]:
    """A parent run and its child, a training with one metric and a checkpoint, as a process would have left them."""
    parent = open_run(**tags)
    child = open_run(**{**tags, "stage": "train", "mlflow.parentRunId": parent})
    MlflowClient().log_metric(child, "x", 1.0, step=1)
    store_module.set_tags(parent, {"stage": "pipeline"})
    folder = store_module.checkpoint_folder(child, MlflowClient().get_run(child).info.artifact_uri)
    folder.mkdir(parents=True)
    (folder / "last.safetensors").write_bytes(b"weights")
    return [parent, child]


def test_of_two_processes_the_killed_ones_runs_are_closed_and_the_living_ones_are_not(store, sleeper, caplog):
    with subprocess.Popen(["sleep", "300"]) as killed:
        dead = [*open_pair(**tags_of(killed)), *open_pair(**tags_of(killed), role="trial")]
        killed.kill()
    alive = open_pair(**tags_of(sleeper))
    time.sleep(0.01)
    with runs_module.tracked_run("train", "next", {}):
        pass
    assert [status_of(run) for run in dead] == ["FAILED"] * 4
    assert [status_of(run) for run in alive] == ["RUNNING", "RUNNING"]
    child = MlflowClient().get_run(dead[1])
    assert child.data.tags["failure"].startswith(f"its process is gone (pid {killed.pid} on {socket.gethostname()})")
    (metric,) = MlflowClient().get_metric_history(dead[1], "x")
    assert child.info.end_time == metric.timestamp, "not the time at which it was noticed"
    (line,) = [record.getMessage() for record in caplog.records if "Closed" in record.getMessage()]
    assert re.findall(r"--resume (\w+)", line) == [dead[1]], "a search resumes its trials"


# --- what can't be judged --------------------------------------------------------------------------------------------


def test_a_run_of_another_machine_or_container_is_never_judged(store):
    tags = ("process.host", "process.machine", "process.namespace")
    others = [open_run(**{"process.pid": "999999999", tag: "another"}) for tag in tags]
    liveness.close_dead_runs()
    assert [status_of(run) for run in others] == ["RUNNING"] * 3
    assert [liveness.process_state(each) for each in liveness.running_runs()] == ["remote"] * 3


def test_a_run_that_somebody_has_gone_on_with_is_left_to_him(store, monkeypatch):
    run = open_run(**{"process.pid": "999999999"})
    seen = list(liveness.running_runs())
    monkeypatch.setattr(liveness, "running_runs", lambda *conditions: seen)
    store_module.set_tags(run, {"process.pid": os.getpid()})
    assert liveness.close_dead_runs() == []
    assert status_of(run) == "RUNNING"


def test_a_run_has_its_process_from_its_first_moment(store, monkeypatch):
    def refuse(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "log_batch", refuse)
    monkeypatch.setattr(MlflowClient, "set_tag", refuse)
    with runs_module.tracked_run("train", "a run", {}) as run:
        tags = names.recorded_tags(processes.process_tags())
        assert tags.items() <= MlflowClient().get_run(run.id).data.tags.items()


def test_what_hinders_the_closing_does_not_hinder_the_run(store, monkeypatch, caplog):
    def refuse(self, *args, **kwargs):
        raise OSError("not today")

    monkeypatch.setattr(MlflowClient, "search_runs", refuse)
    with runs_module.tracked_run("train", "a run", {}) as run:
        pass
    assert status_of(run.id) == "FINISHED"
    assert "could not be closed" in caplog.text
    assert "not today" in caplog.text


# --- doctor ----------------------------------------------------------------------------------------------------------


def begun_by_mlflow_run() -> str:
    setup()
    tags = {"mlflow.source.type": "PROJECT", "mlflow.project.backend": "local"}
    run = MlflowClient().create_run("0", tags=tags)
    return str(run.info.run_id)


def test_doctor_lists_what_is_running_and_what_is_known_of_it(store):
    runs = {
        open_run(): "its process is alive",
        open_run(**{"process.pid": "999999999"}): "its process is gone (pid 999999999 on ",
        open_run(**{"process.host": "elsewhere"}): "of another machine or container",
        begun_by_mlflow_run(): "started by `mlflow run`",
        str(MlflowClient().create_run("0").info.run_id): "not recorded by a command of this project",
    }
    lines = {line.split()[0]: line for line in doctor.findings()["running"]}
    assert set(lines) == set(runs)
    for run, words in runs.items():
        assert words in lines[run]
        assert status_of(run) == "RUNNING"


def test_doctor_repair_closes_the_dead_on_all_pages_and_nothing_else(store, monkeypatch):
    monkeypatch.setattr("pipeline.tracking.queries.PAGE", 2)
    dead = [open_run(**{"process.pid": "999999999"}) for _ in range(3)]
    left, alive = begun_by_mlflow_run(), open_run()
    assert {said.split()[1] for said in doctor.repair()} == set(dead)
    assert [status_of(run) for run in (*dead, left, alive)] == ["FAILED"] * 3 + ["RUNNING"] * 2
    assert doctor.repair() == ["nothing to repair"]
    doctor.close(left)
    assert status_of(left) == "FAILED"


def test_a_run_of_a_container_that_is_gone_is_closed_by_hand_and_then_resumed_or_not(store):
    gone, alive = open_run(**{"process.namespace": "pid:[1]"}), open_run()
    assert doctor.close(gone) == [
        f"{gone} {MlflowClient().get_run(gone).info.run_name}: "
        f"of another machine or container (pid {os.getpid()} on {socket.gethostname()})"
    ]
    assert status_of(gone) == "FAILED"
    for run_id, why in ((gone, "is not a RUNNING run"), (alive, "its process is alive"), ("x", "is not a run")):
        with pytest.raises(InputError, match=why):
            doctor.close(run_id)
    assert status_of(alive) == "RUNNING"
