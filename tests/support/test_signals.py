"""Signals: a process stops where it is safe to, and within seconds wherever it is."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.limits import SLACK

START = """
import os, signal, sys, time
from pipeline.support import signals
from pipeline.support.signals import defer_signals
for each in signals.SIGNALS: signal.signal(each, signal.SIG_DFL)  # what starts the tests may ignore some (nohup, &)
signals.install()
def ready(): print("ready", flush=True)
"""
STUCK = """
signals.on_forced_exit(lambda name: print("closed after", name, flush=True))
with defer_signals():
    ready()
    while True: time.sleep(0.05)
"""


def start(script: str, install: str = "signals.install()") -> subprocess.Popen[str]:
    """Start a script and wait until it calls ready()."""
    process = subprocess.Popen(
        [sys.executable, "-c", START.replace("signals.install()", install) + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
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


AS_IN_A_NOTEBOOK = "signal.signal(signal.SIGINT, signal.default_int_handler)"


@pytest.mark.parametrize(
    ("install", "end"),
    [("signals.install()", "pass"), ("signals.install()", "raise ValueError"), (AS_IN_A_NOTEBOOK, "pass")],
)
def test_deferred_signal_is_raised_at_the_end_of_the_block_however_it_ends(install, end):
    script = f"""
try:
    with defer_signals():
        with defer_signals(): pass
        ready()
        time.sleep(0.3)
        print("whole", flush=True)
        {end}
except KeyboardInterrupt:
    print("stopped", "as before" if signal.getsignal(signal.SIGINT) is handler else "by another handler")
"""
    process = start(f"handler = signal.getsignal(signal.SIGINT)\n{script}", install)
    process.send_signal(signal.SIGINT)
    assert end_of(process)[:3] == (0, "whole\nstopped as before\n", "")


def test_signal_that_arrives_in_a_finalizer_stops_the_process_too():
    script = """
class Interrupted:
    def __del__(self): os.kill(os.getpid(), signal.SIGINT)
ready()
Interrupted()
time.sleep(20)
"""
    code, _, err, seconds = end_of(start(script))
    assert (code, seconds < 2 + SLACK) == (-signal.SIGINT, True)
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert "ignored" not in err


def test_process_that_does_not_stop_is_ended_by_force():
    process = start(STUCK, "signals.install(deadline_seconds=0.5)")
    process.send_signal(signal.SIGTERM)
    *ended, seconds = end_of(process)
    assert ended == [143, "closed after SIGTERM\n", "Stopped by SIGTERM.\n"]
    assert 0.4 < seconds < 0.5 + SLACK


def test_second_ctrl_c_ends_a_process_at_once():
    process = start(STUCK)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    code, out, _, seconds = end_of(process)
    assert (code, out) == (130, "closed after Ctrl-C\n")
    assert seconds < 1.25 * SLACK  # the first one alone would take 3 s more


def test_one_ctrl_c_delivered_on_two_ways_is_one():
    """`mlflow run` passes SIGTERM on, and a launcher its SIGINT, while the terminal has told the whole group."""
    process = start("""
signals.on_forced_exit(lambda name: print("by force"))
try:
    with defer_signals():
        ready()
        time.sleep(0.8)
except KeyboardInterrupt:
    time.sleep(0.3)
    print("stopped")
""")
    for signum in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
        process.send_signal(signum)
    assert end_of(process)[:3] == (0, "stopped\n", "")


def test_two_signals_at_once_interrupt_a_system_call_of_the_main_thread():
    """The kernel gives the second one to a thread that has none yet, if it may; that one then takes both."""
    for _ in range(3):
        process = start("""
try:
    ready()
    time.sleep(30)
except (KeyboardInterrupt, SystemExit):
    time.sleep(0.2)
    print("stopped")
""")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGHUP)
        assert end_of(process)[:3] == (0, "stopped\n", "")


def test_in_a_notebook_a_second_ctrl_c_does_not_wait_for_a_server():
    process = start("with defer_signals():\n    ready()\n    time.sleep(30)", AS_IN_A_NOTEBOOK)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    assert end_of(process)[0] == -signal.SIGINT


def test_without_a_deadline_a_server_takes_its_time_to_shut_down():
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
        "signals.install(deadline_seconds=0.5)",
    )
    process.send_signal(signal.SIGINT)
    assert end_of(process)[:2] == (0, "shut down\n")


def test_ignored_signal_stays_ignored():
    """As under nohup."""
    process = start(
        "ready()\nos.kill(os.getpid(), signal.SIGHUP); time.sleep(0.2); print('goes on')",
        "signal.signal(signal.SIGHUP, signal.SIG_IGN); signals.install()",
    )
    assert end_of(process)[:2] == (0, "goes on\n")


@pytest.mark.parametrize(
    ("variables", "install"),
    [
        ({"MLFLOW_RUN_ID": "0" * 32}, "from pipeline.cli import main; signals.install(main.watched_parent())"),
        ({}, "signals.install(parent=os.getppid())"),
    ],
    ids=["under mlflow run", "child"],
)
def test_death_of_the_parent_stops_a_process(tmp_path, variables, install):
    ended = tmp_path / "ended"
    script = f"""
try:
    ready()
    time.sleep(30)
except SystemExit as stop:
    open({str(ended)!r}, "w").write(str(stop.code))
"""
    child = START.replace("signals.install()", install) + script
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()"
    )
    subprocess.run([sys.executable, "-c", parent], env={**os.environ, **variables}, check=True)
    until = time.monotonic() + 3 * SLACK
    while not (ended.is_file() and ended.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    assert ended.read_text() == "143"
