"""Signals: a process stops where it is safe to, and within seconds wherever it is."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.support import signals
from tests.limits import SLACK

ROOT = Path(__file__).resolve().parents[2]
START = """
import os, signal, sys, time
from pipeline.support import signals
from pipeline.support.signals import defer_signals
for each in signals.SIGNALS: signal.signal(each, signal.SIG_DFL)  # what starts the tests may ignore some (nohup, &)
signals.install()
def ready(): print("ready", flush=True)
"""
SOON = "signals.install(deadline_seconds=0.5)"
STUCK = """
with defer_signals():
    ready()
    while True: time.sleep(0.05)
"""


def start(script: str, install: str = "signals.install()") -> subprocess.Popen[str]:
    """A process that is known to have come as far as ready()."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", START.replace("signals.install()", install) + script],
        cwd=ROOT,
        stdout=pipe,
        stderr=pipe,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end_of(process: subprocess.Popen[str]) -> tuple[int, str, str, float]:
    """Exit code, the rest of both streams, and the seconds that the end took."""
    began = time.monotonic()
    try:
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode, out, err, time.monotonic() - began


def test_a_signal_in_a_shielded_block_is_raised_at_the_end_of_it():
    process = start("""
try:
    with defer_signals():
        with defer_signals(): pass
        ready()
        time.sleep(0.5)
        print("whole", flush=True)
    print("after", flush=True)
except KeyboardInterrupt:
    print("stopped")
""")
    process.send_signal(signal.SIGINT)
    code, out, err, _ = end_of(process)
    assert (code, out, err) == (0, "whole\nstopped\n", "")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_outside_of_one_it_is_raised_at_once(signum, code):
    process = start("""
ready()
time.sleep(30)
""")
    process.send_signal(signum)
    assert end_of(process)[0] == code


@pytest.mark.parametrize(
    ("install", "least", "most"),
    [
        (SOON, 0.4, 0.5 + SLACK),
        pytest.param("signals.install()", 3, 5, marks=pytest.mark.slow),  # what is promised, on a busy machine too
    ],
    ids=["soon", "within five seconds"],
)
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_process_that_does_not_come_to_rest_is_ended_by_force(signum, code, install, least, most):
    process = start(
        """
signals.on_forced_exit(lambda name: print("closed after", name, flush=True))
"""
        + STUCK,
        install,
    )
    process.send_signal(signum)
    ended, out, err, seconds = end_of(process)
    name = "Ctrl-C" if signum == signal.SIGINT else "SIGTERM"
    assert (ended, out, err) == (code, f"closed after {name}\n", f"Stopped by {name}.\n")
    assert least < seconds < most


def test_an_interrupted_reset_of_a_connection_is_not_logged_with_its_traceback():
    process = start("""
import logging
pool = logging.getLogger("sqlalchemy.pool.impl.QueuePool")
pool.error("before")
try:
    ready()
    while True: time.sleep(0.05)
except KeyboardInterrupt:
    pool.error("Exception during reset or similar", exc_info=True)
""")
    process.send_signal(signal.SIGINT)
    _, _, err, _ = end_of(process)
    assert err == "before\n"


def test_a_worker_that_is_ended_by_force_leaves_the_sentence_to_its_parent(monkeypatch, capsys):
    monkeypatch.setattr(os, "_exit", lambda code: None)
    for parent in (None, "a process"):
        monkeypatch.setattr(signals, "parent_process", lambda parent=parent: parent)
        signals._force_exit(signal.SIGINT)
        assert capsys.readouterr().err == ("" if parent else "Stopped by Ctrl-C.\n")


def test_a_second_ctrl_c_ends_it_at_once_and_still_closes():
    process = start(
        """
signals.on_forced_exit(lambda name: print("closed after", name, flush=True))
"""
        + STUCK
    )
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    code, out, _, seconds = end_of(process)
    assert (code, out) == (130, "closed after Ctrl-C\n")
    assert seconds < 1.25 * SLACK  # the first one alone would take 3 s more


def test_what_closes_too_slowly_is_left():
    process = start(
        """
signals.on_forced_exit(lambda name: time.sleep(60))
"""
        + STUCK
    )
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    code, _, _, seconds = end_of(process)
    assert code == 130
    assert seconds < 2.5 * SLACK


def test_the_same_ctrl_c_on_two_ways_is_one():
    """`mlflow run` passes SIGTERM on, and a launcher its SIGINT, while the terminal has told the whole group."""
    process = start("""
signals.on_forced_exit(lambda name: print("by force"))
try:
    with defer_signals():
        ready()
        time.sleep(1.2)
except KeyboardInterrupt:
    time.sleep(0.3)
    print("came to rest")
""")
    for signum in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        process.send_signal(signum)
    assert end_of(process)[:3] == (0, "came to rest\n", "")


def test_two_signals_at_once_interrupt_what_the_main_thread_waits_for():
    """The kernel gives the second one to a thread that has none yet, if it may; that one then takes both."""
    for _ in range(5):
        process = start("""
try:
    ready()
    time.sleep(30)
except (KeyboardInterrupt, SystemExit):
    time.sleep(0.2)
    print("came to rest")
""")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert end_of(process)[:3] == (0, "came to rest\n", "")


def test_a_server_takes_the_time_that_it_needs():
    process = start(
        """
signals.disable_deadline()
try:
    ready()
    time.sleep(30)
except KeyboardInterrupt:
    time.sleep(1.2)
    print("shut down")
""",
        SOON,
    )
    process.send_signal(signal.SIGINT)
    assert end_of(process)[:2] == (0, "shut down\n")


def test_a_signal_that_is_ignored_stays_ignored():
    """`nohup mlflow run ...`, and the terminal goes."""
    script = START.replace("signals.install()", "signal.signal(signal.SIGHUP, signal.SIG_IGN); signals.install()")
    script += "os.kill(os.getpid(), signal.SIGHUP); time.sleep(0.2); print('goes on')"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "goes on\n")


def waiting_child(ended: Path, install: str) -> str:
    """The program of a process that waits, and writes its exit code to a file when it is stopped."""
    return (
        START.replace("signals.install()", install)
        + f"""
try:
    ready()
    time.sleep(30)
except SystemExit as stop:
    open({str(ended)!r}, "w").write(str(stop.code))
"""
    )


def test_the_death_of_mlflow_run_stops_the_run_that_it_began(tmp_path):
    script = waiting_child(tmp_path / "ended", "signals.install()")
    parent_script = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {script!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(30)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", parent_script],
        cwd=ROOT,
        env={**os.environ, "MLFLOW_RUN_ID": "0" * 32},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    assert psutil.wait_procs([child], timeout=5 * SLACK)[1] == []
    assert (tmp_path / "ended").read_text() == "143"


def test_a_process_that_knows_its_parent_does_not_outlive_it(tmp_path):
    script = waiting_child(tmp_path / "ended", "signals.install(parent=os.getppid())")
    parent_script = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {script!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()"
    )
    subprocess.run([sys.executable, "-c", parent_script], cwd=ROOT, check=True)
    ended, until = tmp_path / "ended", time.monotonic() + 3 * SLACK
    while not (ended.is_file() and ended.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    assert ended.read_text() == "143"


def test_a_parent_that_was_gone_before_counts_too():
    """It may die while its child is still starting."""
    process = start("ready()\ntime.sleep(30)", install="signals.install(parent=2**30)")  # no process has that id
    code, _, _, seconds = end_of(process)
    assert code == 143
    assert seconds < 2 * SLACK


@pytest.mark.parametrize(("is_stopped", "last_words"), [(False, "closed properly\n"), (True, "")])
def test_what_is_closed_when_it_is_collected_is_closed_unless_the_process_was_stopped(is_stopped, last_words):
    script = """
class Database:  # as SQLAlchemy's are: in a cycle, closed by the last collection
    def __init__(self): self.itself, self.write = self, os.write
    def __del__(self): self.write(1, b"closed properly\\n")
signals.database = Database()
ready()
"""
    process = start(script + ("time.sleep(30)" if is_stopped else ""))
    if is_stopped:
        process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    out = process.stdout.read()  # also what has come together with the first line, which communicate() would not see
    code, *_ = end_of(process)
    assert (code, out) == (143 if is_stopped else 0, last_words)
