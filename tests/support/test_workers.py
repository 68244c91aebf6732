"""Worker processes: no event is lost when they die, and none outlives its parent."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import psutil
import pytest

from pipeline.errors import RemoteError, TrainingDivergedError
from pipeline.support.workers import Event, Loss, Workers
from tests.limits import SLACK
from tests.support.tasks import do, next_events


def one(workers: Workers, task: Any) -> Event:
    """The only event of a task."""
    workers.submit(task)
    (event,) = next_events(workers, 1)
    return event


@pytest.fixture(scope="module")
def pair():
    """Two workers for the tests that leave them as they are."""
    with Workers(do, 2) as workers:
        yield workers


def test_results_come_back_with_their_tasks_from_processes_that_are_used_again(pair):
    pids = set()
    for _ in range(3):  # of two processes
        for task in (("square", 3), ("pid", None)):
            pair.submit(task)
        assert (pair.idle, pair.running) == (0, 2)
        values = {event.task[0]: event.value for event in next_events(pair, 2) if event.kind == "done"}
        assert values["square"] == 9
        assert (pair.idle, pair.running) == (2, 0)
        pids.add(values["pid"])
    assert len(pids - {os.getpid()}) in (1, 2)


def test_a_script_needs_no_guard_and_a_worker_computes_with_one_thread_and_prints_elsewhere(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from pipeline.support.workers import Workers\n"
        "from tests.support.tasks import do, next_events\n"
        "print('once', flush=True)\n"
        "with Workers(do, 1) as workers:\n"
        "    workers.submit(('environment', ['OMP_NUM_THREADS', 'MKL_NUM_THREADS']))\n"
        "    print(*next_events(workers, 1)[0].value)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("once\n1 1\n", "hello")


def test_messages_arrive_in_order_and_before_a_large_result(pair):
    pair.submit(("tell", 500))
    *messages, result = next_events(pair, 501)
    assert [event.value for event in messages] == [*range(500)]
    assert (result.kind, len(result.value)) == ("done", 10_000_000)


def test_an_exception_keeps_its_type_notes_and_traceback(pair):
    error = TrainingDivergedError("the loss is nan in epoch 2")
    error.add_note("best until then: epoch 1")
    event = one(pair, ("fail", error))
    assert (event.kind, type(event.value), str(event.value)) == ("failed", TrainingDivergedError, str(error))
    assert event.value.__notes__ == ["best until then: epoch 1"]
    assert "raise AwkwardError(1, 2) if" in str(event.value.__cause__)


def test_an_exception_or_result_that_does_not_pickle_is_a_failure(pair):
    event = one(pair, ("fail", None))
    assert (event.kind, type(event.value), str(event.value)) == ("failed", RemoteError, "AwkwardError: 1 and 2")
    event = one(pair, ("hold", None))
    assert (event.kind, "local object" in str(event.value)) == ("failed", True)


# --- the death of a worker -------------------------------------------------------------------------------------------


def loss_of(pid: int, code: int) -> Loss:
    return Loss(f"its process (pid {pid}) is gone, exit code {code}")


def test_killed_worker_loses_its_task_alone_and_is_replaced():
    with Workers(do, 2) as workers:
        workers.submit(("sleep", 60))
        workers.submit(("sleep", 1.0))
        pids = {event.task[1]: event.value for event in next_events(workers, 2)}
        os.kill(pids[60], signal.SIGKILL)
        assert next_events(workers, 1) == [Event("lost", ("sleep", 60), loss_of(pids[60], -signal.SIGKILL))]
        assert workers.running == 1
        workers.submit(("square", 5))
        assert {(event.kind, event.value) for event in next_events(workers, 2)} == {("done", 25), ("done", None)}


def test_worker_that_died_between_two_tasks_costs_none():
    with Workers(do, 1) as workers:
        first = one(workers, ("pid", None)).value
        os.kill(first, signal.SIGKILL)
        until = time.monotonic() + 5 * SLACK
        while first in [child.pid for child in multiprocessing.active_children()]:
            assert time.monotonic() < until
            time.sleep(0.02)
        event = one(workers, ("pid", None))
        assert event.kind == "done"
        assert event.value != first


def test_result_counts_though_its_worker_died_right_after():
    with Workers(do, 1) as workers:
        workers.submit(("done and gone", None))
        time.sleep(1.5)  # done and dead before anybody looks
        assert [(event.kind, event.value) for event in next_events(workers, 2)] == [("message", "first"), ("done", 42)]
        assert workers.idle == 1


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "least"), [("closing", 0.5), ("stubborn", 1.8)])
def test_an_error_in_the_block_stops_the_workers_as_sigterm_does(tmp_path, verb, least):
    """A worker that does not stop by itself is ended by force."""
    with suppress(ZeroDivisionError), Workers(do, 1) as workers:
        workers.submit((verb, (tmp_path / "closed", 0.5) if verb == "closing" else 60))
        (told,) = next_events(workers, 1)
        began = time.monotonic()
        raise ZeroDivisionError
    assert least < time.monotonic() - began < 4 * SLACK
    assert (tmp_path / "closed").exists() == (verb == "closing")
    assert not psutil.pid_exists(told.value)
    assert [(event.kind, event.value) for event in workers.events(0)] == [("lost", loss_of(told.value, 143))]


SCRIPT = """
import os, signal
from pipeline.support import signals
from pipeline.support.workers import Workers
from tests.support.tasks import do
for each in signals.SIGNALS: signal.signal(each, signal.SIG_DFL)  # what starts the tests may ignore some
signals.install(parent=os.getppid())  # so that it ends with a test that is killed
with Workers(do, 2) as workers:
    for task in TASKS: workers.submit(task)
    told = 0
    while told < len(TASKS): told += len(workers.events(60))
    print("all", flush=True)
    while workers.running: workers.events(60)
"""


def parent_of(*tasks: Any) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A process whose workers have reported from their tasks, and all processes that it has started."""
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.replace("TASKS", repr(tasks))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "all\n"
    return parent, psutil.Process(parent.pid).children(recursive=True)


def all_ended(processes: list[psutil.Process], seconds: float) -> bool:
    """Whether all have ended within so many seconds; nobody waits for an orphan that is a zombie."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            return True
        time.sleep(0.02)
    return False


def test_workers_of_a_killed_parent_end_by_themselves(tmp_path):
    parent, children = parent_of(("closing", (str(tmp_path / "closed"), 0)), ("square", 1))
    parent.kill()
    assert parent.communicate() == ("", "")
    assert all_ended(children, 2 * SLACK)
    assert (tmp_path / "closed").read_text() == str(int(signal.SIGTERM))


@pytest.mark.parametrize(
    ("signum", "to_group", "code"), [(signal.SIGTERM, False, 143), (signal.SIGINT, True, -signal.SIGINT)]
)
def test_signal_stops_all_processes_and_each_closes_what_it_has_open(signum, to_group, code, tmp_path):
    """The Ctrl-C of a terminal reaches the whole group, and counts once."""
    parent, children = parent_of(*(("closing", (str(tmp_path / name), 0.7)) for name in "ab"))
    began = time.monotonic()
    (os.killpg if to_group else os.kill)(parent.pid, signum)
    _, err = parent.communicate(timeout=10)
    assert time.monotonic() - began < 2.5 * SLACK
    assert parent.returncode == code
    assert all_ended(children, SLACK)
    assert [(tmp_path / name).read_text() for name in "ab"] == [str(int(signum))] * 2
    assert err.count("Traceback") == (1 if signum == signal.SIGINT else 0)  # the parent's; no worker says a word
