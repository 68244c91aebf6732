"""What the workers of test_workers.py do, and how their events are awaited.

A spawned process imports the module of its work: this one is kept free of pytest, which takes longer than the rest.
"""

import os
import threading
import time
from pathlib import Path
from typing import Any

from pipeline.support import signals
from pipeline.support.workers import Event, Report, Workers


class AwkwardError(Exception):
    """Pickles, but can't be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def do(task: Any, report: Report) -> Any:
    """What a task of these tests says: (verb, argument)."""
    verb, argument = task
    match verb:
        case "square":
            return argument**2
        case "pid":
            return os.getpid()
        case "environment":
            os.write(1, b"hello")
            return [os.environ.get(name) for name in argument]
        case "tell":
            for number in range(argument):
                report(number)
            return bytes(10_000_000)  # of which the parent's pipe holds 64 KiB
        case "fail":
            raise AwkwardError(1, 2) if argument is None else argument
        case "hold":
            return lambda: None  # does not pickle
        case "sleep":
            report(os.getpid())
            time.sleep(argument)
        case "stubborn":
            with signals.defer_signals():
                report(os.getpid())
                time.sleep(argument)
        case "closing":
            path, seconds = argument
            try:
                report(os.getpid())
                time.sleep(60)
            except (KeyboardInterrupt, SystemExit) as stop:
                time.sleep(seconds)
                Path(path).write_text(str(signals.signal_of(stop)))
                raise
        case "done and gone":
            report("first")
            return _Bomb()
    return None


class _Bomb:
    """Pickles to a number; the process ends right after the message that has it is sent."""

    def __reduce__(self) -> Any:
        threading.Timer(0.2, os._exit, (7,)).start()
        return int, ("42",)


def next_events(workers: Workers, count: int) -> list[Event]:
    """At least so many events, within half a minute."""
    events: list[Event] = []
    until = time.monotonic() + 30
    while len(events) < count:
        assert time.monotonic() < until, events
        events += workers.events(1.0)
    return events
