"""A reproduction, killed and stopped: real commands in a copy of the project, and the same command again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults import Lab, StudyRun, study_runs
from tests.support.test_workers import all_ended

pytestmark = pytest.mark.slow
REST_SECONDS = 10.0
WORDS = ["reproduce", "--quick", "--only", "*-scratch-1x8", "--epochs", "20", "--workers", "2", "--json"]
STUDY = "reproduce-quick"


class Bench(Lab):
    """A copy of the project in which the same two configurations are reproduced."""

    def begin(self) -> subprocess.Popen[str]:
        return self.start([sys.executable, "-m", "pipeline", *WORDS], group=True)

    def trainings(self) -> list[StudyRun]:
        return [run for run in study_runs(self, STUDY) if run.stage == "train"]

    def wait_for_training(self) -> None:
        until = time.monotonic() + 120
        while not any(run.status == "RUNNING" and self.epochs_of(run) >= 2 for run in self.trainings()):
            assert time.monotonic() < until, self.trainings()
            time.sleep(0.05)

    def epochs_of(self, run: StudyRun) -> int:
        query = "SELECT count(*) FROM metrics WHERE run_uuid=? AND key='perplexity/val'"
        return int(self.checkout.query(query, run.id)[0][0])

    def again(self) -> dict[str, Any]:
        """The same command to its end; its result."""
        done = subprocess.run(
            [sys.executable, "-m", "pipeline", *WORDS],
            cwd=self.checkout.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found


def figures(result: dict[str, Any]) -> dict[str, Any]:
    return {
        row["id"]: (row["epochs"], row["train_perplexity"], row["val_perplexity"])
        for row in result["configurations"]
        if row["seeds"]
    }


@pytest.fixture(scope="module")
def expected(book: Path, tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> dict[str, Any]:
    """What it comes to where nothing happens."""
    return figures(bench_in(tmp_path_factory.mktemp("undisturbed"), empty_database).again())


@pytest.fixture
def bench(book: Path, tmp_path: Path, empty_database: Path) -> Iterator[Bench]:
    made = bench_in(tmp_path, empty_database)
    yield made
    made.kill_all()


def bench_in(folder: Path, empty_database: Path) -> Bench:
    made = Bench(folder)
    made.add_store(empty_database)
    return made


def check(bench: Bench, expected: dict[str, Any]) -> None:
    """The same command again comes to what it would have come to, in the same runs."""
    before = {run.id for run in bench.trainings()}
    assert figures(bench.again()) == expected
    after = bench.trainings()
    assert {run.status for run in after} == {"FINISHED"}
    assert len(after) == 2
    assert before <= {run.id for run in after}
    (parent,) = [run for run in bench.checkout.runs() if run["tags"].get("stage") == "reproduce"]
    assert parent["status"] == "FINISHED"


def test_signals_stop_it_in_a_sentence_and_nothing_is_trained_twice(bench, expected):
    for signum, to_all in ((signal.SIGINT, True), (signal.SIGTERM, False)):
        process = bench.begin()
        bench.wait_for_training()
        workers = psutil.Process(process.pid).children(recursive=True)
        if to_all:
            os.killpg(process.pid, signum)
        else:
            process.send_signal(signum)
        process.wait(5)
        assert all_ended(workers, REST_SECONDS)
        done = bench.wait(process)
        assert done.code == 128 + signum, done.output
        assert "Traceback" not in done.output
        assert done.output.count("topped by") == 1
        assert "RUNNING" not in {run["status"] for run in bench.checkout.runs()}
    check(bench, expected)


def test_kill_9_of_the_parent(bench, expected):
    process = bench.begin()
    bench.wait_for_training()
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    bench.wait(process)
    assert all_ended(workers, REST_SECONDS)
    check(bench, expected)


def test_under_mlflow_run_and_again(bench, expected):
    words = ["-e", "reproduce", "-P", "quick=true", "-P", "only=*-scratch-1x8", "-P", "epochs=20"]
    bench.checkout.environment = bench.environment
    bench.checkout.mlflow_run(*words)
    parent = bench.checkout.last("reproduce")
    assert parent["status"] == "FINISHED"
    check(bench, expected)
    bench.checkout.mlflow_run(*words)
    assert bench.checkout.last("reproduce")["id"] == parent["id"]
    assert bench.checkout.last("resume")["tags"]["resumed_run"] == parent["id"]
