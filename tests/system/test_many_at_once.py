"""A first command and MLflow at once: one whole store, whoever makes it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.checkout import Checkout, ask, free_port

OPENS = {  # that open or create mlflow.db
    "ui": ["mlflow", "ui", "--workers", "1"],
    "server": ["mlflow", "server", "--workers", "1", "--backend-store-uri", "sqlite:///mlflow.db"],
    "run": ["mlflow", "run", ".", "--env-manager", "local", "-e", "prepare"],
}
PREPARE = ["python", "-m", "pipeline", "prepare", "--corpus", "python-docs"]
MOMENTS = (-2.0, 1.5, "within our creation", "before MLflow's has ended")  # of MLflow's start, after that of ours


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("opens", OPENS)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_first_command_and_mlflow_make_one_whole_store(tmp_path, opens, moment):
    checkout, port = Checkout(tmp_path), free_port()
    database, environment = checkout.database, {**checkout.environment, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    words = OPENS[opens] + ([] if opens == "run" else ["--port", str(port)])

    def start(words: list[str]) -> subprocess.Popen:
        with (tmp_path / f"{words[0]}.log").open("w") as log:
            return subprocess.Popen(words, cwd=checkout.folder, env=environment, stderr=log, start_new_session=True)

    def is_begun() -> bool:
        return database.exists() and database.stat().st_size > 0

    started = []
    try:
        if moment == "within our creation":
            started += [start(PREPARE)]
            wait_for(lambda: any(database.parent.glob(".mlflow.db.*/contents")))
            started[0].send_signal(signal.SIGSTOP)
        if isinstance(moment, str):
            started += [start(words)]
            wait_for(is_begun)
            started[-1].send_signal(signal.SIGSTOP)
            if moment == "within our creation":
                started[0].send_signal(signal.SIGCONT)
            else:
                started += [start(PREPARE)]
            wait_for(database.with_name(".mlflow.db.lock").exists)
            time.sleep(4)  # of the 40 s for which nothing may change
            for process in started:
                process.send_signal(signal.SIGCONT)
        else:
            first, second = (words, PREPARE) if moment < 0 else (PREPARE, words)
            started += [start(first)]
            time.sleep(abs(moment))
            started += [start(second)]
        commands = [each for each in started if opens == "run" or each.args == PREPARE]
        for command in commands:
            assert command.wait(timeout=240) == 0, [log.read_text() for log in tmp_path.glob("*.log")]
        runs = checkout.runs()
        assert [run["status"] for run in runs] == ["FINISHED"] * len(commands)
        if opens != "run":
            status, body = ask(f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search", {"experiment_ids": ["0"]}, 60)
            assert (status, [run["info"]["run_id"] for run in json.loads(body)["runs"]]) == (200, [runs[0]["id"]])
    finally:
        for process in started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(timeout=30)
    assert checkout.query("PRAGMA integrity_check") == [("ok",)]
