"""A pool of worker processes in which the death of a worker loses only its task.

Each worker has its own connection. Workers share no queue and no lock, since a process that is killed while holding one
would block them all (in concurrent.futures, it breaks the whole pool). Each worker is a fresh interpreter (spawn) that
computes with one thread. It stops when its parent dies, and on signals as every process does (``support.signals``).
"""

import logging
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import ModuleType
from typing import Any, Literal, Protocol

from pipeline.errors import RemoteError
from pipeline.support import signals
from pipeline.support.machine import tune_process
from pipeline.support.signals import defer_signals

STOP_SECONDS = 2.0  # from a worker's first signal to its forced exit
# until the parent kills it; below the parent's own deadline
KILL_SECONDS = STOP_SECONDS + signals.CLOSING_SECONDS + 0.2
EXIT_SECONDS = 1.0  # from the end of a worker's connection to the end of its process
WAIT_SECONDS = 1.0  # between two updates of the remaining time
LossCause = Literal["killed", "shared", "stopped"]
"""What was lost: the task's own process, a machine or command with several tasks, or nothing (it was stopped)."""

LOSSES_ALLOWED: Mapping[LossCause, float] = {"killed": 1, "shared": 4, "stopped": inf}  # then a task is not retried

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # read by libraries when they are imported

Report = Callable[[Any], None]
"""Sends a picklable message to the parent, from the worker's main thread."""

Work = Callable[[Any, Report], Any]
"""A module-level function: takes a task and a Report, returns a result; all of these must pickle."""

EventKind = Literal["message", "done", "failed", "lost"]


@dataclass(frozen=True)
class Event:
    """A worker's message about its task, or how the task ended.

    ``value`` is the message, the result (done), the exception with its traceback as its cause (failed; a RemoteError
    with its text if it can't be pickled), or a Loss (lost). ``node`` is the cluster's machine that ran the task, or "".
    """

    kind: EventKind
    task: Any
    value: Any
    node: str = ""


@dataclass(frozen=True)
class Loss:
    """Why a task was lost."""

    reason: str
    cause: LossCause = "killed"


Outcome = Any | Exception | Loss
"""How a task ended: its result, the exception that it raised, or its loss."""


class Pool(AbstractContextManager[Any], Protocol):
    """Does up to ``count`` tasks at once; implemented by ``Workers``, by a cluster and by tests."""

    count: int

    @property
    def running(self) -> int:
        """The number of tasks that are running."""

    @property
    def idle(self) -> int:
        """The number of tasks that may be submitted now."""

    def submit(self, task: Any) -> None:
        """Start a task; no more than ``idle`` says may be started now."""

    def events(self, timeout_seconds: float) -> list[Event]:
        """Events since the last call, in order for each task.

        Waits for the first event for at most ``timeout_seconds``, and not at all if no task is running. May return []
        before the timeout.
        """


MakePool = Callable[[int], Pool]


@dataclass
class _Worker:
    """A process, the parent's end of its connection, and its current task, if any."""

    process: SpawnProcess
    connection: Connection
    task: Any = None


class Workers(Pool):
    """Up to ``count`` processes that do ``work``.

    Leaving the block stops them, also in the middle of a task: SIGTERM, and SIGKILL for those that are alive
    KILL_SECONDS later. Afterwards no process is left, and ``events`` returns the remaining events.
    """

    def __init__(self, work: Work, count: int) -> None:
        self.count = count
        self._work = work
        self._workers: list[_Worker] = []
        self._events: list[Event] = []

    def __exit__(self, *details: object) -> None:
        self.stop()

    @property
    def running(self) -> int:
        return sum(worker.task is not None for worker in self._workers)

    @property
    def idle(self) -> int:
        return self.count - self.running

    def submit(self, task: Any) -> None:
        """Give a task to an idle worker, starting a process if needed."""
        job = pickle.dumps((self._work, task))
        with defer_signals():
            for worker in [each for each in self._workers if each.task is None and not each.process.is_alive()]:
                self._remove(worker)
            idle = [each for each in self._workers if each.task is None]
            if not idle:
                idle = [_start_worker()]
                self._workers += idle
            idle[0].task = task
            with suppress(OSError):  # the worker has just died: the task is then lost
                idle[0].connection.send_bytes(job)

    def events(self, timeout_seconds: float) -> list[Event]:
        if not self._events and self.running:
            self._listen(timeout_seconds)
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Terminate all workers, and kill those that do not end in time."""
        for worker in self._workers:
            worker.process.terminate()
        until = time.monotonic() + KILL_SECONDS
        while self._workers and (left := until - time.monotonic()) > 0:
            self._listen(left)
        for worker in self._workers:
            worker.process.kill()
        while self._workers:
            self._listen(None)

    def _listen(self, timeout_seconds: float | None) -> None:
        """Wait until a worker sends a message or ends, then receive the messages of all; remove those that ended."""
        wait([end for each in self._workers for end in (each.connection, each.process.sentinel)], timeout_seconds)
        with defer_signals():
            for worker in self._workers.copy():
                gone = not worker.process.is_alive()
                try:
                    while worker.connection.poll():
                        kind, value = pickle.loads(worker.connection.recv_bytes())
                        if kind == "failed":
                            value, trace = value
                            value.__cause__ = RemoteError(f"\n{trace}")
                        self._events.append(Event(kind, worker.task, value))
                        if kind != "message":
                            worker.task = None
                except (EOFError, OSError):  # a killed worker's last message may be truncated
                    gone = True
                if gone:
                    self._remove(worker)

    def _remove(self, worker: _Worker) -> None:
        """Remove a worker that is dead or unusable; its task, if any, is lost."""
        worker.process.join(EXIT_SECONDS)
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()
        if worker.task is not None:
            reason = f"its process (pid {worker.process.pid}) is gone, exit code {worker.process.exitcode}"
            self._events.append(Event("lost", worker.task, Loss(reason)))
        worker.connection.close()
        worker.process.close()
        self._workers.remove(worker)


def _start_worker() -> _Worker:
    """Start a process that blocks signals until it handles them, and does not import the program's main module.

    ``spawn`` would run a user's script again in each worker, unless it has ``if __name__ == "__main__":``.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    resource_tracker.ensure_running()  # otherwise spawn starts it, which unblocks signals
    mask, main = signal.pthread_sigmask(signal.SIG_BLOCK, signals.SIGNALS), sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        process.start()
    finally:
        sys.modules["__main__"] = main
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    theirs.close()  # so that the end of the worker is the end of the connection
    return _Worker(process, ours)


# --- in the worker process -------------------------------------------------------------------------------------------


def _serve(connection: Connection) -> None:
    """The worker's main function: do jobs until the end of the connection."""
    parent = parent_process()
    assert parent is not None
    tune_process()
    os.dup2(2, 1)  # standard output is reserved for the parent's result
    os.environ.update(ONE_THREAD)
    signals.install(parent=parent.pid, deadline_seconds=STOP_SECONDS)
    clear_line = "\r\x1b[K" if sys.stderr.isatty() else ""  # clears the parent's bar, which is redrawn below
    logging.basicConfig(format=f"{clear_line}%(message)s")

    def send(kind: EventKind, value: Any) -> None:
        message = pickle.dumps((kind, value))
        try:
            with defer_signals():  # so that no message is truncated
                connection.send_bytes(message)
        except OSError:  # the parent is dead
            signal.raise_signal(signal.SIGTERM)

    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.SIGNALS)  # pending signals are raised here
        with suppress(EOFError, OSError):  # the end of the connection
            while True:
                job = connection.recv_bytes()
                try:
                    work, task = pickle.loads(job)
                    send("done", work(task, partial(send, "message")))
                except Exception as error:
                    send("failed", _picklable(error))
        signal.pthread_sigmask(signal.SIG_BLOCK, signals.SIGNALS)  # the process is exiting: nothing is left to stop
    except KeyboardInterrupt:
        sys.exit(signals.exit_code(signal.SIGINT))


def _picklable(error: Exception) -> tuple[Exception, str]:
    """The exception, or a RemoteError with its text if it can't be pickled and unpickled; and its traceback."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # pickling runs the exception's own code, which may raise anything
        error = RemoteError(f"{type(error).__name__}: {error}")
    return error, text
