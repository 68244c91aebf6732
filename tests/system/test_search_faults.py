"""Workers and parents of a search, killed: real commands in a copy of the project, and the same command again."""

import signal
import sys
from collections.abc import Iterator

import pytest

from tests.faults import SEARCH, Ended, Lab, attributes, check_search, counted, trials_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, empty_database) -> Iterator[Lab]:
    """A copy of the project with a store in it; what is still running there at the end is killed."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.add_store(empty_database)
    yield lab
    lab.kill_all()


def search(lab: Lab, study: str, trials: int, workers: int, *fault: str) -> Ended:
    """A search of so many trials, confirmed by one seed, with a fault of ``tests.fault_points``."""
    words = [*SEARCH, "--trials", str(trials), "--confirm-seeds", "1", "--workers", str(workers)]
    module = ["tests.fault_points", *fault] if fault else ["pipeline"]
    command = [sys.executable, "-m", *module, "search", "--study-name", study, "--corpus", "text.txt", *words]
    return lab.wait(lab.start(command, group=True))


def test_a_worker_that_is_killed_costs_its_trial_a_moment_and_the_search_goes_on_by_itself(lab):
    done = search(lab, "once", 3, 2, "trial/figures", "2", "kill")  # in a trial's second epoch
    assert done.code == 0, done.output
    check_search(lab, "once", 3, 1)
    (lost,) = [trial for trial in trials_of(lab, "once") if "losses" in attributes(trial)]
    assert (lost.state.name, attributes(lost)["losses"]) == ("COMPLETE", {"killed": 1})
    (run,) = [run for run in lab.checkout.runs() if run["id"] == attributes(lost)["run_id"]]
    assert "killed, out of memory" in run["tags"]["resumed"]  # its own run was gone on with, from its checkpoint
    assert run["tags"]["trial"] == str(lost.number)
    assert {run["status"] for run in lab.checkout.runs()} == {"FINISHED"}


def test_a_configuration_that_kills_its_process_twice_is_left_alone(lab):
    done = search(lab, "twice", 3, 1, "trial/figures", "1x2", "kill")
    assert done.code == 0, done.output
    (failed,) = [trial for trial in trials_of(lab, "twice") if trial.state.name == "FAIL"]
    assert attributes(failed)["losses"] == {"killed": 2}
    assert attributes(failed)["failure"].endswith("it was lost before, so it is not tried again")
    assert failed.params not in [trial.params for trial in counted(trials_of(lab, "twice"))]
    check_search(lab, "twice", 3, 1)


def test_kill_9_of_the_parent_between_two_statements_time_after_time(lab):
    """Each command gets further than the one before: what was left is continued first, as the same trials."""
    for moment, number in (("asked", 1), ("asked", 5), ("taken", 2), ("registered", 2)):
        done = search(lab, "parent", 4, 1, moment, str(number), "kill")
        assert done.code == -signal.SIGKILL, (moment, done.output)
    done = search(lab, "parent", 4, 1)
    assert done.code == 0, done.output
    check_search(lab, "parent", 4, 1)
    killed = {
        trial.number: attributes(trial)["losses"] for trial in trials_of(lab, "parent") if "losses" in attributes(trial)
    }
    assert killed == {number: {"shared": 1} for number in range(3)}
