"""A pool of worker processes in which the death of a worker loses only its task.

Each worker has its own connection. Workers share no queue and no lock, since a process that is killed while holding one
would block them all (in concurrent.futures, it breaks the whole pool). Each worker is a fresh interpreter (spawn) that
computes with one thread. It stops on signals as every process of this program does (``support.signals``), and when its
parent dies.
"""

import logging
import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import ModuleType, TracebackType
from typing import Any, Literal, Protocol, Self

from pipeline.errors import RemoteError
from pipeline.support import signals
from pipeline.support.signals import defer_signals

STOP_SECONDS = 2.0  # from a worker's first signal to its forced exit
KILL_SECONDS = (
    STOP_SECONDS + signals.CLOSING_SECONDS + 0.2
)  # until the parent kills it; below the parent's own deadline
EXIT_SECONDS = 1.0  # from the end of a worker's connection to the end of its process
WAIT_SECONDS = 1.0  # between two updates of the remaining time
KILLS_ALLOWED = 1  # a task that has killed more processes than this is not retried
SHARED_KILLS = 0.25  # counted for a lost machine or command, which one task seldom causes: the fifth is too many
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
    with its text if it can't be pickled), or a Loss (lost). ``node`` is the machine of a cluster that ran the task, ""
    for this one.
    """

    kind: EventKind
    task: Any
    value: Any
    pid: int
    node: str = ""


@dataclass(frozen=True)
class Loss:
    """Why a task was lost.

    ``kills`` is the share of the blame that the task gets: 1 if its own process died, SHARED_KILLS if a whole machine
    or command is gone, 0 if the task was stopped.
    """

    reason: str
    kills: float = 1

    @classmethod
    def of_process(cls, pid: int, exit_code: int | None) -> Self:
        """The loss of a process; the exit code is as in subprocess: -9 after SIGKILL."""
        return cls(f"its process (pid {pid}) is gone, exit code {exit_code}")


Outcome = Any | Exception | Loss
"""How a task ended: its result, the exception that it raised, or its loss."""


@dataclass
class _Worker:
    """A process, the parent's end of its connection, and its current task, in a tuple, if any."""

    process: SpawnProcess
    connection: Connection
    pid: int
    task: tuple[Any] | None = None


class Workers:
    """Up to ``count`` processes that do ``work``; a context manager.

    Leaving the block waits for running tasks. Leaving it by an exception (including Ctrl-C and SIGTERM) sends the
    workers SIGTERM and kills those that are alive KILL_SECONDS later. Afterwards no process is left, and ``events``
    returns the remaining events. Raises ValueError if ``count`` is below 1.
    """

    def __init__(self, work: Work, count: int) -> None:
        if count < 1:
            raise ValueError(f"the number of workers is {count}; it must be at least 1")
        self.count = count
        self._work = work
        self._workers: list[_Worker] = []
        self._events: list[Event] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for worker in self._workers:
                    self._send(worker, b"")  # ends the worker after its task
                self._listen_to_all()
        finally:
            self.stop()

    @property
    def slots(self) -> Mapping[str, int]:
        """The number of tasks that run at once on each machine; here, only this one."""
        return {"": self.count}

    @property
    def running(self) -> list[tuple[int, Any]]:
        """Process id and task of each busy worker."""
        return [(worker.pid, worker.task[0]) for worker in self._workers if worker.task is not None]

    @property
    def idle(self) -> int:
        """The number of tasks that may be submitted now."""
        return self.count - len(self.running)

    def submit(self, task: Any) -> None:
        """Give a task to an idle worker, starting a process if needed. Raises RuntimeError if all are busy."""
        if not self.idle:
            raise RuntimeError(f"all {self.count} workers are busy")
        job = pickle.dumps((self._work, task))
        with defer_signals():
            for worker in [idle for idle in self._workers if idle.task is None]:
                if self._send(worker, job):
                    worker.task = (task,)
                    return
                self._remove(worker)
            worker = self._start_worker()
            self._workers.append(worker)
            worker.task = (task,)  # even if the worker has died already: the task is then lost
            self._send(worker, job)

    def events(self, timeout_seconds: float | None = None) -> list[Event]:
        """Events since the last call, in order for each worker.

        Waits for the first event for at most ``timeout_seconds`` (None: no limit), and not at all if no task is
        running. May return [] before the timeout if an idle worker died.
        """
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
        self._listen_to_all()

    # --- the parent's side of a worker ---------------------------------------------------------------------------

    @staticmethod
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
        assert process.pid is not None
        return _Worker(process, ours, process.pid)

    @staticmethod
    def _send(worker: _Worker, job: bytes) -> bool:
        """Send a job to a worker; False if the worker is dead."""
        try:
            worker.connection.send_bytes(job)
        except OSError:
            return False
        return True

    def _listen_to_all(self) -> None:
        """Receive messages until all workers have ended."""
        while self._workers:
            self._listen(None)

    def _listen(self, timeout_seconds: float | None) -> None:
        """Wait until a worker sends a message or ends, then receive the messages of all."""
        handles = [handle for worker in self._workers for handle in (worker.connection, worker.process.sentinel)]
        ready = wait(handles, timeout_seconds)
        with defer_signals():
            for worker in self._workers.copy():
                if worker.connection in ready or worker.process.sentinel in ready:
                    self._receive(worker)

    def _receive(self, worker: _Worker) -> None:
        """Receive a worker's messages, and remove it if it has ended."""
        gone = not worker.process.is_alive()
        try:
            while worker.connection.poll():
                kind, value = pickle.loads(worker.connection.recv_bytes())
                assert worker.task is not None
                if kind == "failed":
                    value, trace = value
                    value.__cause__ = RemoteError(f"\n{trace}")
                self._events.append(Event(kind, worker.task[0], value, worker.pid))
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
            loss = Loss.of_process(worker.pid, worker.process.exitcode)
            self._events.append(Event("lost", worker.task[0], loss, worker.pid))
        worker.connection.close()
        worker.process.close()
        self._workers.remove(worker)


# --- in the worker process -------------------------------------------------------------------------------------------


def _serve(connection: Connection) -> None:
    """The worker's main function: do jobs until an empty one, or the end of the connection."""
    parent = parent_process()
    assert parent is not None
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
        while job := _next_job(connection):
            try:
                work, task = pickle.loads(job)
                send("done", work(task, partial(send, "message")))
            except Exception as error:
                send("failed", _picklable(error))
        signal.pthread_sigmask(signal.SIG_BLOCK, signals.SIGNALS)  # the process is exiting: nothing is left to stop
    except KeyboardInterrupt:
        sys.exit(signals.exit_code(signal.SIGINT))


def _next_job(connection: Connection) -> bytes:
    """The next job; b"" at the end of the connection."""
    try:
        return connection.recv_bytes()
    except (EOFError, OSError):
        return b""


def _picklable(error: Exception) -> tuple[Exception, str]:
    """The exception, or a RemoteError with its text if it can't be pickled and unpickled; and its traceback."""
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # pickling runs the exception's own code, which may raise anything
        error = RemoteError(f"{type(error).__name__}: {error}")
    return error, text


# --- any pool --------------------------------------------------------------------------------------------------------


class Pool(Protocol):
    """The interface of ``Workers``, which a cluster and tests implement too.

    ``count`` is the number of tasks that run at once, ``slots`` that on each machine ("" is this one).
    """

    count: int

    @property
    def slots(self) -> Mapping[str, int]: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def idle(self) -> int: ...

    @property
    def running(self) -> list[tuple[int, Any]]: ...

    def submit(self, task: Any) -> None: ...

    def events(self, timeout_seconds: float | None = None) -> list[Event]: ...


MakePool = Callable[[int], Pool]
