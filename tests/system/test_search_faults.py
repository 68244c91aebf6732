"""The search, killed and stopped: real commands in a copy of the project, and the same command again."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.config import SearchConfig
from pipeline.search.study.storage import study_lock
from tests.faults import SEARCH, Ended, Lab, StudyTrial, check_search, counted, study_runs, trials_of
from tests.limits import SLACK
from tests.support.test_workers import all_ended

pytestmark = pytest.mark.slow
REST_SECONDS = 10.0  # a worker notices within half a second that its parent is gone; this is for busy machines


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Lab]:
    """A copy of the project with a store in it; what is still running there at the end is killed."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.add_store(empty_database)
    yield lab
    lab.kill_all()


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    """A name of the test's own."""
    return re.sub(r"\W+", "-", request.node.name)[-60:]


class Command:
    """A search of a study, as it is typed; another one of the same words is the same command again."""

    def __init__(self, lab: Lab, study: str, text: Path, trials: int = 3, seeds: int = 1, workers: int = 2) -> None:
        self.lab, self.study = lab, study
        self.trials, self.seeds = trials, seeds
        changed = {"--trials": trials, "--confirm-seeds": seeds, "--workers": workers}
        self.words = ["search", "--study-name", study, "--corpus", str(text), *SEARCH]
        for option, value in changed.items():
            self.words[self.words.index(option) + 1] = str(value)

    def start(self, *fault: str) -> subprocess.Popen[str]:
        module = ["tests.fault_points", *fault] if fault else ["pipeline"]
        return self.lab.start([sys.executable, "-m", *module, *self.words], group=True)

    def run(self, *fault: str) -> Ended:
        return self.lab.wait(self.start(*fault))

    def check(self) -> None:
        check_search(self.lab, self.study, self.trials, self.seeds)

    def finish(self) -> str:
        """The same command again, to its end; what it printed."""
        done = self.run()
        assert done.code == 0, done.output
        assert "Traceback" not in done.output, done.output
        self.check()
        return done.output

    def wait_for(self, holds: Callable[[], object]) -> None:
        until = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < until, (trials_of(self.lab, self.study), study_runs(self.lab, self.study))
            time.sleep(0.05)

    def parent(self) -> str:
        """The id of the only run of the search."""
        (run_id,) = [run.id for run in study_runs(self.lab, self.study) if run.stage == "search"]
        return run_id

    def trials_that_are(self, state: str) -> list[StudyTrial]:
        return [trial for trial in trials_of(self.lab, self.study) if trial.state == state]

    def is_training(self) -> bool:
        return any(run.stage == "train" and run.status == "RUNNING" for run in study_runs(self.lab, self.study))

    def is_confirming(self) -> bool:
        return any(
            run.stage == "train" and run.status == "RUNNING" and run.seed == "1"
            for run in study_runs(self.lab, self.study)
        )


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_a_worker_that_is_killed_costs_its_trial_a_moment_and_the_search_goes_on_by_itself(lab, study, small_text):
    command = Command(lab, study, small_text)
    done = command.run("trial/figures", "2", "kill")  # in a trial's second epoch
    assert done.code == 0, done.output
    command.check()
    (lost,) = [trial for trial in trials_of(lab, study) if "kills" in trial.attributes]
    assert (lost.state, lost.attributes["kills"]) == ("COMPLETE", 1)
    (run,) = [run for run in lab.checkout.runs() if run["id"] == lost.attributes["run_id"]]
    assert "killed, out of memory" in run["tags"]["resumed"]  # its own run was gone on with, from its checkpoint
    assert run["tags"]["trial"] == str(lost.number)
    assert {run.status for run in study_runs(lab, study)} == {"FINISHED"}


def test_a_configuration_that_kills_its_process_twice_is_left_alone(lab, study, small_text):
    command = Command(lab, study, small_text, workers=1)
    done = command.run("trial/figures", "1x2", "kill")
    assert done.code == 0, done.output
    (failed,) = command.trials_that_are("FAIL")
    assert failed.attributes["kills"] == 2
    assert failed.attributes["failure"].endswith("it was lost before, so it is not tried again")
    assert failed.parameters not in [trial.parameters for trial in counted(trials_of(lab, study))]
    command.check()


def test_a_confirmation_that_kills_its_process_twice_is_left_to_the_next_command(lab, study, small_text):
    command = Command(lab, study, small_text, seeds=2, workers=1)
    done = command.run("confirmation/figures", "1x2", "kill")
    assert done.code == 0, done.output
    assert "RUNNING" not in [run.status for run in study_runs(lab, study)]
    command.finish()  # it is tried again by another command


def test_kill_9_of_the_parent_in_the_trials_and_in_the_confirmations(lab, study, small_text):
    command = Command(lab, study, small_text, seeds=2, workers=1)
    for phase in (command.is_training, command.is_confirming):
        process = command.start()
        command.wait_for(phase)
        others = below(process)
        process.kill()
        killed = lab.wait(process)
        assert all_ended(others, REST_SECONDS)
    parent = command.parent()
    assert "Resuming trials whose process died:" in killed.output  # of the second command
    command.finish()
    assert command.parent() == parent


@pytest.mark.parametrize(("signum", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_signal_stops_the_trials_and_the_confirmations_in_a_sentence(lab, study, small_text, signum, to_all):
    command = Command(lab, study, small_text, seeds=2)
    for phase in (command.is_training, command.is_confirming):
        process = command.start()
        command.wait_for(phase)
        others = below(process)
        if to_all:
            os.killpg(process.pid, signum)
        else:
            process.send_signal(signum)
        process.wait(5 * SLACK)
        assert all_ended(others, REST_SECONDS)
        done = lab.wait(process)
        assert done.code == 128 + signum, done.output
        assert "Traceback" not in done.output
        assert [line for line in done.output.splitlines() if "topped by" in line] == [
            f"Stopped by {'Ctrl-C' if signum == signal.SIGINT else 'SIGTERM'}."
        ]
        runs = study_runs(lab, study)
        assert {run.status for run in runs} <= {"KILLED", "FINISHED"}, runs
        assert [run.status for run in runs if run.stage == "search"] == ["KILLED"]
    command.finish()


def test_kill_9_of_the_parent_between_two_statements_time_after_time(lab, study, small_text):
    """Each command gets further than the one before: what was left is continued first, as the same trials."""
    command = Command(lab, study, small_text, trials=4, workers=1)
    moments = [
        ("asked", 1),
        ("asked", 5),
        ("taken", 2),
        ("registered", 2),
    ]
    for moment, number in moments:
        done = command.run(moment, str(number), "kill")
        assert done.code == -signal.SIGKILL, (moment, done.output)
    command.finish()
    killed = {trial.number: trial.attributes["kills"] for trial in trials_of(lab, study) if "kills" in trial.attributes}
    assert killed == {0: 0.25, 1: 0.25, 2: 0.25}


def test_ctrl_c_between_two_statements_leaves_no_trial_running(lab, study, small_text):
    command = Command(lab, study, small_text, workers=1)
    for moment in ("taken", "told"):
        done = command.run(moment, "2", "interrupt")
        assert done.code == 130, (moment, done.output)
        assert "Traceback" not in done.output
        assert not command.trials_that_are("RUNNING")
    command.finish()


@pytest.mark.parametrize("moment", ["model", "result"])
def test_a_worker_is_killed_while_it_records_what_it_came_to(lab, study, small_text, moment):
    command = Command(lab, study, small_text)
    done = command.run(f"trial/{moment}", "1", "kill")
    assert done.code == 0, done.output
    command.check()


def mlflow_words(command: Command) -> list[str]:
    words = ["mlflow", "run", ".", "--env-manager", "local", "-e", "search"]
    options = command.words[1:]
    for option, value in zip(options[::2], options[1::2], strict=True):
        words += ["-P", f"{option.removeprefix('--').replace('-', '_')}={value}"]
    return words


def test_ctrl_c_and_kill_9_under_mlflow_run(lab, study, small_text):
    command = Command(lab, study, small_text, trials=4, workers=1)
    for signum in (signal.SIGINT, signal.SIGKILL):
        process = lab.start(mlflow_words(command), group=True)
        command.wait_for(command.is_training)
        others = below(process)
        os.killpg(process.pid, signum)
        assert all_ended(others, REST_SECONDS)
        process.wait(REST_SECONDS)  # mlflow's own process
        stopped = lab.wait(process)
        parent = command.parent()
        if signum == signal.SIGINT:
            assert not command.trials_that_are("RUNNING")
            assert "Traceback" not in stopped.output
    again = lab.wait(lab.start(mlflow_words(command), group=True))
    assert again.code == 0, again.output
    command.check()
    assert command.parent() == parent


def test_a_second_command_on_a_study_that_is_being_searched_is_refused(lab, study, small_text, monkeypatch):
    monkeypatch.setattr("pipeline.tracking.store.root", lambda: lab.checkout.folder.resolve())
    with study_lock(SearchConfig(study_name=study)):  # as the first command has it to its end
        second = Command(lab, study, small_text).run()
    assert second.code == 2
    assert f"--study-name {study} is being searched by another command" in second.output
    assert "Traceback" not in second.output
    assert study_runs(lab, study) == []
