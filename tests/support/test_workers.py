"""Worker processes: no event is lost when they die, and none outlives its parent; run_tasks."""

import errno
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from pipeline.errors import InputError, RemoteError, TrainingDivergedError
from pipeline.support.progress import SearchProgress
from pipeline.support.workers import Event, InWorkerError, Loss, Workers, raised, run_tasks
from tests.limits import SLACK
from tests.pools import Inline
from tests.support.tasks import AwkwardError, do, done_and_gone, fail_to_start, mark_start, next_events
from tests.terminals import Terminal

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def terminal_as_stderr(terminal: Terminal) -> Iterator[None]:
    """Let child processes too write to a terminal in place of standard error."""
    before = os.dup(2)
    os.dup2(terminal.fileno, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def all_ended(processes: list[psutil.Process], seconds: float) -> bool:
    """Whether all have ended within so many seconds, buried by their parent or not."""
    until = time.monotonic() + seconds
    while not all(map(has_ended, processes)):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def one(workers: Workers, task: Any) -> Event:
    """The only event of a task."""
    workers.submit(task)
    (event,) = next_events(workers, 1)
    return event


@pytest.fixture(scope="module")
def pair():
    """Two workers for the tests that leave them as they are."""
    with Workers(do, 2, mark_start) as workers:
        yield workers


def test_results_come_back_with_their_tasks(pair):
    pair.submit(("square", 3))
    pair.submit(("square", 4))
    assert pair.idle == 0
    assert sorted(task for _, task in pair.running) == [("square", 3), ("square", 4)]
    events = next_events(pair, 2)
    assert sorted((event.kind, event.task, event.value) for event in events) == [
        ("done", ("square", 3), 9),
        ("done", ("square", 4), 16),
    ]
    assert len({event.pid for event in events}) == 2
    assert os.getpid() not in {event.pid for event in events}
    assert (pair.idle, pair.running) == (2, [])


def test_a_process_does_task_after_task_and_starts_once(pair):
    assert len({one(pair, ("square", number)).pid for number in range(3)}) == 1
    assert one(pair, ("environment", "STARTED")).value == "x"


def test_a_script_needs_no_guard_since_workers_do_not_run_it_again(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from pipeline.support.workers import Workers\n"
        "from tests.support.tasks import do, next_events\n"
        "print('once', flush=True)\n"
        "with Workers(do, 1) as workers:\n"
        "    workers.submit(('square', 3))\n"
        "    print(next_events(workers, 1)[0].value)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["once", "9"]


def test_workers_calculate_with_one_thread_and_the_parent_as_it_likes(pair, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert one(pair, ("environment", "OMP_NUM_THREADS")).value == "1"
    assert one(pair, ("environment", "MKL_NUM_THREADS")).value == "1"
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert "MKL_NUM_THREADS" not in os.environ


def test_messages_arrive_in_order_and_before_the_result(pair):
    pair.submit(("tell", 500))
    events = next_events(pair, 501)
    assert [event.value for event in events] == [*range(500), None]
    assert [event.kind for event in events] == ["message"] * 500 + ["done"]


def test_a_result_larger_than_a_pipe_arrives(pair):
    pair.submit(("write", 10_000_000))
    assert len(next_events(pair, 2)[1].value) == 10_000_000


def test_an_exception_keeps_its_type_its_notes_and_where_it_came_from(pair):
    error = TrainingDivergedError("the loss is nan in epoch 2")
    error.add_note("best until then: epoch 1")
    event = one(pair, ("fail", error))
    assert event.kind == "failed"
    assert type(event.value) is TrainingDivergedError
    assert str(event.value) == "the loss is nan in epoch 2"
    assert event.value.__notes__ == ["best until then: epoch 1"]
    assert isinstance(event.value.__cause__, InWorkerError)
    assert "raise argument" in str(event.value.__cause__)


def test_an_error_of_the_system_keeps_its_number_and_file(pair):
    value = one(pair, ("fail", OSError(errno.ENOSPC, "No space left on device", "mlruns/x"))).value
    assert (value.errno, value.filename) == (errno.ENOSPC, "mlruns/x")


def test_an_exception_that_does_not_survive_the_journey_comes_as_text(pair):
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(AwkwardError(1, 2)))
    event = one(pair, ("fail awkwardly", None))
    assert (event.kind, event.value) == ("failed", "AwkwardError: 1 and 2")


def test_a_result_that_does_not_pickle_is_a_failure(pair):
    event = one(pair, ("hold", None))
    assert event.kind == "failed"
    assert "pickle" in str(event.value)


def test_what_a_start_raises_the_task_raises():
    with Workers(do, 1, fail_to_start) as workers:
        for _ in range(2):
            event = one(workers, ("square", 1))
            assert (event.kind, type(event.value), str(event.value)) == ("failed", InputError, "no way to begin")


def test_more_tasks_than_workers_are_refused(pair):
    pair.submit(("sleep", 0.2))
    pair.submit(("sleep", 0.2))
    with pytest.raises(RuntimeError, match="all 2 workers are busy"):
        pair.submit(("square", 1))
    next_events(pair, 4)
    with pytest.raises(ValueError, match="the number of workers is 0; it must be at least 1"):
        Workers(do, 0)


def test_a_wait_ends_with_its_time_and_is_none_where_nothing_runs(pair):
    assert pair.events(None) == []
    pair.submit(("sleep", 1.0))
    next_events(pair, 1)
    assert pair.events(0.1) == []  # it has ended before the task
    assert [event.kind for event in next_events(pair, 1)] == ["done"]


# --- the death of a worker -------------------------------------------------------------------------------------------


def test_a_killed_worker_loses_its_task_alone_and_is_replaced():
    with Workers(do, 2) as workers:
        workers.submit(("sleep", 60))
        workers.submit(("sleep", 1.0))
        pids = {event.task[1]: event.pid for event in next_events(workers, 2)}
        os.kill(pids[60], signal.SIGKILL)
        (lost,) = next_events(workers, 1)
        assert lost == Event("lost", ("sleep", 60), Loss.of_process(pids[60], -signal.SIGKILL), pids[60])
        assert workers.running == [(pids[1.0], ("sleep", 1.0))]
        workers.submit(("square", 5))
        events = next_events(workers, 2)
        assert {(event.kind, event.value) for event in events} == {("done", 25), ("done", None)}
        assert len({event.pid for event in events} | {pids[60]}) == 3


def test_a_worker_that_died_between_two_tasks_costs_none():
    with Workers(do, 1) as workers:
        first = one(workers, ("square", 1)).pid
        os.kill(first, signal.SIGKILL)
        until = time.monotonic() + 5 * SLACK
        while first in [child.pid for child in multiprocessing.active_children()]:  # all its threads, with their files
            assert time.monotonic() < until
            time.sleep(0.02)
        event = one(workers, ("square", 6))
        assert (event.kind, event.value) == ("done", 36)
        assert event.pid != first


def test_the_signal_that_a_worker_died_of_is_told():
    with Workers(do, 1) as workers:
        event = one(workers, ("die", signal.SIGSEGV))
        assert event.value == Loss.of_process(event.pid, -signal.SIGSEGV)


def test_a_result_is_heard_of_though_its_worker_died_right_after():
    with Workers(done_and_gone, 1) as workers:
        workers.submit(None)
        time.sleep(1.5)  # done and dead before anybody looks
        events = next_events(workers, 3)
        assert [(event.kind, event.value) for event in events] == [
            ("message", "first"),
            ("message", "second"),
            ("done", 42),
        ]
        assert workers.idle == 1


def test_a_worker_killed_in_the_middle_of_a_word_is_lost():
    with Workers(do, 1) as workers:
        workers.submit(("write", 10_000_000))
        (told,) = next_events(workers, 1)
        time.sleep(0.3)  # it has filled the pipe and waits
        os.kill(told.pid, signal.SIGKILL)
        assert [event.kind for event in next_events(workers, 1)] == ["lost"]


# --- the end ---------------------------------------------------------------------------------------------------------


def test_at_the_end_running_tasks_are_finished_and_no_process_is_left():
    with Workers(do, 2) as workers:
        workers.submit(("sleep", 0.3))
        workers.submit(("square", 2))
        processes = [psutil.Process(pid) for pid, _ in workers.running]
    assert not any(process.is_running() for process in processes)
    assert sorted(event.kind for event in workers.events()) == ["done", "done", "message"]
    assert workers.events() == []


def test_an_error_in_the_block_stops_the_workers_as_sigterm_does(tmp_path):
    with suppress(ZeroDivisionError), Workers(do, 1) as workers:
        workers.submit(("closing", (tmp_path / "closed", 0.5)))
        (told,) = next_events(workers, 1)
        began = time.monotonic()
        raise ZeroDivisionError
    assert 0.5 < time.monotonic() - began < 2 * SLACK
    assert (tmp_path / "closed").read_text() == str(int(signal.SIGTERM))
    assert not psutil.pid_exists(told.pid)
    assert [(event.kind, event.value) for event in workers.events()] == [("lost", Loss.of_process(told.pid, 143))]


def test_a_worker_that_does_not_come_to_rest_is_ended_by_force():
    with suppress(ZeroDivisionError), Workers(do, 1) as workers:
        workers.submit(("stubborn", 60))
        (told,) = next_events(workers, 1)
        began = time.monotonic()
        raise ZeroDivisionError
    assert 1.8 < time.monotonic() - began < 4 * SLACK
    assert not psutil.pid_exists(told.pid)


def test_a_worker_that_is_still_beginning_ends_without_a_word(capfd):
    for wait_seconds in (0, 0.1):
        with suppress(ZeroDivisionError), Workers(do, 1) as workers:
            workers.submit(("sleep", 60))
            time.sleep(wait_seconds)
            began = time.monotonic()
            raise ZeroDivisionError
        assert time.monotonic() - began < 2 * SLACK
        *_, event = workers.events()  # a worker on a fast machine may have sent its message already
        assert event.value == Loss.of_process(event.pid, 143)
    assert capfd.readouterr() == ("", "")


SCRIPT = """
import signal, sys
from pipeline.support import signals
from pipeline.support.workers import Workers
from tests.support.tasks import do, next_events
if __name__ == "__main__":
    for each in signals.SIGNALS: signal.signal(each, signal.SIG_DFL)  # what starts the tests may ignore some
    signals.install()
    with Workers(do, 2) as workers:
        for task in TASKS: workers.submit(task)
        pids = [event.pid for event in next_events(workers, len(TASKS))]
        print(*pids, flush=True)
        while True: workers.events(60)
"""


def parent_of(*tasks: Any) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A process with two workers, each known to be in its task, and all processes that it has started."""
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.replace("TASKS", repr(tasks))],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout is not None
    pids = {int(word) for word in parent.stdout.readline().split()}
    assert len(pids) == len(tasks)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert pids <= {child.pid for child in children}
    return parent, children


def test_the_workers_of_a_parent_that_was_killed_end_by_themselves(tmp_path):
    parent, children = parent_of(("closing", (str(tmp_path / "closed"), 0)), ("sleep", 60))
    parent.kill()
    parent.communicate()
    assert all_ended(children, 2 * SLACK)
    assert (tmp_path / "closed").read_text() == str(int(signal.SIGTERM))


def test_an_idle_worker_of_a_parent_that_was_killed_ends_too():
    parent, children = parent_of(("tell", 1))
    parent.kill()
    parent.communicate()
    assert all_ended(children, 2 * SLACK)


def test_a_worker_that_exits_while_its_parent_dies_says_nothing():
    parent, _ = parent_of(("linger", 1.0))
    parent.kill()
    assert parent.communicate() == ("", "")


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, -signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_to_the_parent_stops_all_and_each_closes_what_it_has_open(signum, code, tmp_path):
    parent, children = parent_of(*(("closing", (str(tmp_path / name), 0.7)) for name in "ab"))
    began = time.monotonic()
    parent.send_signal(signum)
    _, err = parent.communicate(timeout=10)
    assert time.monotonic() - began < 2.5 * SLACK
    assert parent.returncode == code
    assert all_ended(children, SLACK)
    assert [(tmp_path / name).read_text() for name in "ab"] == [str(int(signal.SIGTERM))] * 2
    assert ("KeyboardInterrupt" in err) == (signum == signal.SIGINT)  # the parent's; no worker says a word


def test_the_ctrl_c_of_a_terminal_reaches_every_process_and_counts_once(tmp_path):
    parent, children = parent_of(*(("closing", (str(tmp_path / name), 1.0)) for name in "ab"))
    os.killpg(parent.pid, signal.SIGINT)
    _, err = parent.communicate(timeout=10)
    assert parent.returncode == -signal.SIGINT
    assert all_ended(children, SLACK)
    assert [(tmp_path / name).read_text() for name in "ab"] == [str(int(signal.SIGINT))] * 2
    assert err.count("Traceback") == 1


def test_a_parent_ended_by_force_leaves_no_worker(tmp_path):
    parent, children = parent_of(("stubborn", 60), ("stubborn", 60))
    parent.send_signal(signal.SIGINT)
    time.sleep(0.5)
    parent.send_signal(signal.SIGINT)  # the second one: it waits for nobody any more
    began = time.monotonic()
    parent.communicate(timeout=10)
    assert parent.returncode == 130
    assert all_ended(children, 4 * SLACK)
    assert time.monotonic() - began < 4 * SLACK


def test_what_a_worker_prints_is_not_the_parents_result(capfd):
    with Workers(do, 1) as workers:
        one(workers, ("print", b"hello"))
    out, err = capfd.readouterr()
    assert (out, err) == ("", "hello")


# --- run_tasks -------------------------------------------------------------------------------------------------------


def test_a_workers_message_takes_the_place_of_the_parents_bar():
    with Terminal(80) as terminal, terminal_as_stderr(terminal):
        os.write(2, b"lstm-1x8  50%|###   |")
        with Workers(do, 1) as workers:
            one(workers, ("warn", "training anew"))
        os.write(2, b"lstm-1x8  60%|####  |")
    assert terminal.screen == ["training anew", "lstm-1x8  60%|####  |"]


class Numbered(NamedTuple):
    """A task with a key."""

    number: int

    @property
    def key(self) -> int:
        return self.number


class RecordingBar(SearchProgress):
    """Records the calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def plan(self, seconds: float) -> None:
        self.calls.append(("plan", seconds))

    def advance(self, key: Any, seconds: float, share: float) -> None:
        self.calls.append(("advance", key, seconds, share))

    def end(self, key: Any) -> None:
        self.calls.append(("end", key))

    def lose(self, key: Any) -> None:
        self.calls.append(("lose", key))


class Scripted(Inline):
    """Loses the first task, and is halfway with each other one before it ends."""

    def done(self, task: Numbered) -> list[Event]:
        if task.number == 0:
            return [Event("lost", task, Loss.of_process(1, -9), 1)]
        return [Event("message", task, 0.5, 1), Event("done", task, {"number": task.number}, 1)]


def test_all_tasks_are_run_and_each_end_is_reported_and_shown():
    waiting, ended, bar = [Numbered(0), Numbered(1)], [], RecordingBar()

    def on_end(event: Event) -> None:
        ended.append((event.kind, event.task.number))
        if event.kind == "lost":
            waiting.append(Numbered(2))  # tasks added at an end are run too

    run_tasks(
        Scripted(1),
        lambda: waiting.pop(0) if waiting else None,
        on_end,
        bar,
        lambda task: 10.0 + task.number,
        lambda: 100.0 * len(waiting),
    )
    assert ended == [("lost", 0), ("done", 1), ("done", 2)]
    assert bar.calls == [
        ("advance", 0, 10.0, 0.0), ("plan", 100.0), ("lose", 0),
        ("advance", 1, 11.0, 0.0), ("plan", 100.0), ("advance", 1, 11.0, 0.5), ("end", 1),
        ("advance", 2, 12.0, 0.0), ("plan", 0.0), ("advance", 2, 12.0, 0.5), ("end", 2),
    ]  # fmt: skip


def test_without_a_task_run_tasks_returns_at_once():
    run_tasks(Scripted(1), lambda: None, lambda event: None, RecordingBar(), lambda task: 1.0, lambda: 0.0)


def test_a_failed_task_gives_its_exception_or_its_text():
    error = ValueError("no")
    assert raised(Event("failed", Numbered(0), error, 1)) is error
    remote = raised(Event("failed", Numbered(0), "OddError: 7", 1))
    assert (type(remote), str(remote)) == (RemoteError, "OddError: 7")
