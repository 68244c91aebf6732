"""Workers and parents of a search, killed between two statements: real commands, and the same command again."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial

from pipeline.search.study.attributes import PREFIX
from tests.checkout import Checkout

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SPACE = ["--cell", "rnn,gru", "--hidden-size", "4..9", "--num-layers", "1", "--epochs", "2", "--confirm-seeds", "1"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Checkout:
    """A copy of the project with a text and an empty store."""
    checkout = Checkout(tmp_path_factory.mktemp("lab"))
    (checkout.folder / "text.txt").write_text("\n".join(topics[name] for name in sorted(topics))[:30_000])
    checkout.database.parent.mkdir(exist_ok=True)
    shutil.copy(empty_database, checkout.database)
    return checkout


def search(checkout: Checkout, study: str, trials: int, workers: int, *fault: str) -> subprocess.CompletedProcess[str]:
    """A search with a fault of ``tests.fault_points``; what it leaves running is killed."""
    module = ["tests.fault_points", *fault] if fault else ["pipeline"]
    of = ["search", "--study-name", study, "--trials", str(trials), "--workers", str(workers), "--corpus", "text.txt"]
    words = [sys.executable, "-m", *module, *of, *SPACE]
    process = subprocess.Popen(
        words,
        cwd=checkout.folder,
        env=checkout.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(words, process.returncode, output)


def trials_of(checkout: Checkout, study: str) -> list[FrozenTrial]:
    return optuna.load_study(study_name=study, storage=f"sqlite:///{checkout.folder}/mlruns/optuna.db").trials


def attributes(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's attributes of users and of the system, by their bare names."""
    return {name.removeprefix(PREFIX): value for name, value in (trial.user_attrs | trial.system_attrs).items()}


def check(checkout: Checkout, study: str, trials: int) -> list[FrozenTrial]:
    """Each configuration was trained once, in a finished run below the search's; returns the trials that count."""
    all_trials = trials_of(checkout, study)
    assert all(trial.state.is_finished() for trial in all_trials)
    counted = [each for each in all_trials if each.state.name == "COMPLETE" and "repeats" not in attributes(each)]
    assert len({tuple(sorted(trial.params.items())) for trial in counted}) == len(counted) == trials
    runs = [run for run in checkout.runs() if run["tags"].get("study") == study]
    assert "RUNNING" not in {run["status"] for run in runs}
    (parent,) = [run for run in runs if run["tags"]["stage"] == "search"]
    finished = {run["id"]: run for run in runs if run["tags"]["stage"] == "train" and run["status"] == "FINISHED"}
    assert {run["tags"]["mlflow.parentRunId"] for run in finished.values()} == {parent["id"]}
    assert len({run["tags"]["step_key"] for run in finished.values()}) == len(finished)
    assert {attributes(trial)["run_id"] for trial in counted} <= finished.keys()
    return counted


@pytest.mark.ci
def test_a_worker_that_is_killed_costs_its_trial_a_moment_and_the_search_goes_on_by_itself(checkout):
    done = search(checkout, "once", 3, 2, "trial/figures", "2")  # in a trial's second epoch
    assert done.returncode == 0, done.stdout
    check(checkout, "once", 3)
    (lost,) = [trial for trial in trials_of(checkout, "once") if "losses" in attributes(trial)]
    assert (lost.state.name, attributes(lost)["losses"]) == ("COMPLETE", {"killed": 1})
    (run,) = [run for run in checkout.runs() if run["id"] == attributes(lost)["run_id"]]
    assert "killed, out of memory" in run["tags"]["resumed"]  # its own run was gone on with, from its checkpoint
    assert run["tags"]["trial"] == str(lost.number)
    assert {run["status"] for run in checkout.runs()} == {"FINISHED"}


def test_kill_9_of_the_parent_between_two_statements_time_after_time(checkout):
    """Each command gets further than the one before: what was left is continued first, as the same trials."""
    for moment, number in (("asked", 1), ("asked", 5), ("told", 2), ("registered", 2)):
        done = search(checkout, "parent", 4, 1, moment, str(number))
        assert done.returncode == -signal.SIGKILL, (moment, done.stdout)
    done = search(checkout, "parent", 4, 1)
    assert done.returncode == 0, done.stdout
    check(checkout, "parent", 4)
    killed = {
        trial.number: attributes(trial)["losses"]
        for trial in trials_of(checkout, "parent")
        if "losses" in attributes(trial)
    }
    assert killed == {number: {"shared": 1} for number in range(3)}
