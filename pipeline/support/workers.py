"""Worker processes that do tasks one by one; the death of one costs its task and nothing else.

A worker has two pipes of its own, one for tasks and one for what it tells, and shares no queue and no lock with the
others: a process killed while it holds such a thing would block them all. Each worker is a fresh interpreter (spawn)
with one thread for arithmetic. It stops as every process here does (``support.signals``), also when its parent is gone.
"""

import os
import pickle
import signal
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TypeVar

from pipeline.errors import RemoteError
from pipeline.support import signals
from pipeline.support.progress import SearchProgress
from pipeline.support.signals import defer_signals

Report = Callable[[Any], None]

"""Tells the parent something that pickles, from the worker's main thread."""

Work = Callable[[Any, Report], Any]

"""A module's function: a task and a Report in, a result out, all of which pickle."""

EventKind = Literal["message", "done", "failed", "lost"]

STOP_SECONDS = 2.0  # that a worker has to come to rest, before what is open is closed by force

KILL_SECONDS = STOP_SECONDS + signals.CLOSING_SECONDS + 0.2  # that it has in all: less than its parent has itself

EXIT_SECONDS = 1.0  # between the last that is heard of a process and its end

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Event:
    """What a worker told, or what became of it, while it did a task.

    ``value`` is the message; the result; the exception, or its type and text where it can't be pickled; or, of a
    worker that is gone, its exit code (as subprocess has it: -9 of one that was killed).
    """

    kind: EventKind
    task: Any
    value: Any
    pid: int


class InWorkerError(Exception):
    """Where in the worker an exception came from: its cause, as the parent sees it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


@dataclass
class _Worker:
    """A process and the parent's ends of its pipes; ``task`` holds the one that it does, if any."""

    process: SpawnProcess
    tasks: Connection
    told: Connection
    pid: int
    task: tuple[Any] | None = None


class Workers:
    """Up to ``count`` processes that do ``work``; a context manager.

    ``start`` (a module's function) runs in each of them before its first task; what it raises, that task raises.
    On leaving the block, running tasks are finished; on leaving it by an exception (also Ctrl-C, SIGTERM), they are
    stopped as by SIGTERM, and whoever has not ended KILL_SECONDS later is killed. No process is left then, and
    ``events`` gives what has been heard meanwhile.
    """

    def __init__(self, work: Work, count: int, start: Callable[[], None] | None = None) -> None:
        if count < 1:
            raise ValueError(f"{count} workers can't do anything; at least 1 is needed")
        self.count = count
        self._job = pickle.dumps((work, start))
        self._workers: list[_Worker] = []
        self._events: list[Event] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._stop()

    @property
    def running(self) -> list[tuple[int, Any]]:
        """Process id and task of the workers that do one."""
        return [(worker.pid, worker.task[0]) for worker in self._workers if worker.task is not None]

    @property
    def idle(self) -> int:
        """How many tasks may be submitted now."""
        return self.count - len(self.running)

    def submit(self, task: Any) -> None:
        """Give a task to a worker that has none; starts a process where there is none or where it has died."""
        if not self.idle:
            raise RuntimeError(f"all {self.count} workers are busy")
        message = pickle.dumps(task)
        with defer_signals():
            for worker in [each for each in self._workers if each.task is None]:
                if self._give(worker, task, message):
                    return
                self._bury(worker)
            worker = self._begin()
            self._workers.append(worker)
            worker.task = (task,)  # also if it has died already: its loss is an event then
            self._give(worker, task, message)

    def events(self, timeout_seconds: float | None = None) -> list[Event]:
        """What has been heard since the last call, each worker's in its order.

        Waits for the first of it, at most ``timeout_seconds`` (None: as long as it takes), and not at all while
        no task is running. May be empty also earlier: where a worker without a task has died.
        """
        if not self._events and self.running:
            self._listen(timeout_seconds)
        events, self._events = self._events, []
        return events

    # --- a worker's life, seen from the parent -------------------------------------------------------------------

    def _begin(self) -> _Worker:
        context = get_context("spawn")
        their_tasks, our_tasks = context.Pipe(duplex=False)
        our_told, their_told = context.Pipe(duplex=False)
        process = context.Process(target=_serve, args=(self._job, their_tasks, their_told), daemon=True)
        resource_tracker.ensure_running()  # spawn would start it, and unblock signals in doing so
        with _environment(ONE_THREAD), _blocked_signals():
            process.start()
        their_tasks.close()  # from here on the other end of a pipe tells of the death of this one
        their_told.close()
        assert process.pid is not None
        return _Worker(process, our_tasks, our_told, process.pid)

    @staticmethod
    def _give(worker: _Worker, task: Any, message: bytes) -> bool:
        """Whether the worker was there to take it."""
        try:
            worker.tasks.send_bytes(message)
        except OSError:
            return False
        worker.task = (task,)
        return True

    def _listen(self, timeout_seconds: float | None) -> None:
        """Wait until at least one worker says something or ends, and take in what all have said."""
        of: dict[Any, _Worker] = {}
        for worker in self._workers:
            of[worker.told] = of[worker.process.sentinel] = worker
        ready = wait(list(of), timeout_seconds)
        with defer_signals():
            for worker in self._workers.copy():
                if worker.told in ready or worker.process.sentinel in ready:
                    self._hear(worker)

    def _hear(self, worker: _Worker) -> None:
        """Take in what a worker has said. If it is gone, all that it could say is there, and then comes the end."""
        gone = not worker.process.is_alive()
        try:
            while worker.told.poll():
                self._take(worker, *pickle.loads(worker.told.recv_bytes()))
        except (EOFError, OSError, pickle.UnpicklingError):  # the last word may be half a word
            gone = True
        if gone:
            self._bury(worker)

    def _take(self, worker: _Worker, kind: EventKind, value: Any) -> None:
        assert worker.task is not None
        if kind == "failed" and isinstance(value, tuple):
            value, text = value
            value.__cause__ = InWorkerError(text)
        self._events.append(Event(kind, worker.task[0], value, worker.pid))
        if kind != "message":
            worker.task = None

    def _bury(self, worker: _Worker) -> None:
        """Forget a worker that is gone, or is of no use any more; its task is lost."""
        worker.process.join(EXIT_SECONDS)
        if worker.process.exitcode is None:
            worker.process.kill()
            worker.process.join()
        if worker.task is not None:
            self._events.append(Event("lost", worker.task[0], worker.process.exitcode, worker.pid))
        worker.tasks.close()
        worker.told.close()
        worker.process.close()
        self._workers.remove(worker)

    def _finish(self) -> None:
        for worker in self._workers:
            worker.tasks.close()  # a worker that finds no more tasks ends
        while self._workers:
            self._listen(None)

    def _stop(self) -> None:
        for worker in self._workers:
            worker.process.terminate()
        until = time.monotonic() + KILL_SECONDS
        while self._workers and (left := until - time.monotonic()) > 0:
            self._listen(left)
        for worker in self._workers:
            worker.process.kill()
        while self._workers:
            self._listen(None)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """What a process that is started here finds in its environment: libraries read it before a line of ours runs."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """A process that is started here is sent no signal before it says that it can take one (``_serve``)."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- the same life, seen from the worker -------------------------------------------------------------------------


def _serve(job: bytes, tasks: Connection, told: Connection) -> None:
    """Do tasks until there are no more. What ``job`` needs is imported here, where signals are in good hands."""
    parent = parent_process()
    assert parent is not None
    os.dup2(2, 1)  # standard output is the parent's: its result, and nothing else
    signals.install(parent=parent.pid, deadline_seconds=STOP_SECONDS)

    def tell(kind: EventKind, value: Any) -> None:
        message = pickle.dumps((kind, value))
        try:
            with defer_signals():  # a message is sent whole
                told.send_bytes(message)
        except OSError:  # nobody listens any more: the parent is gone, which is known here a moment early
            signal.raise_signal(signal.SIGTERM)

    work: Work | None = None
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.SIGNALS)  # one may have waited for this
        while (task := _next_task(tasks)) is not None:
            try:
                if work is None:
                    work = _begun(job)
                tell("done", work(task[0], lambda message: tell("message", message)))
            except Exception as error:
                tell("failed", _portable(error))
    except KeyboardInterrupt:
        sys.exit(signals.exit_code(signal.SIGINT))


def _begun(job: bytes) -> Work:
    work, start = pickle.loads(job)
    if start is not None:
        start()
    return work  # type: ignore[no-any-return]


def _next_task(tasks: Connection) -> tuple[Any] | None:
    """The next task, or None where no more will come."""
    try:
        return (pickle.loads(tasks.recv_bytes()),)
    except (EOFError, OSError):
        return None


def _portable(error: Exception) -> tuple[Exception, str] | str:
    """The exception and where it came from, or its type and text where it does not survive the journey."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its own code raises
        return f"{type(error).__name__}: {error}"
    return error, "".join(traceback.format_exception(error))


WAIT_SECONDS = 1.0  # between two looks at the clock


class Pool(Protocol):
    """``Workers``, or whatever takes their place in a test."""

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


def raised(event: Event) -> Exception:
    """What a task raised; RemoteError where that could not be brought here."""
    return event.value if isinstance(event.value, Exception) else RemoteError(str(event.value))


class Task(Protocol):
    """What ``run_tasks`` needs of a task: a key that no other task has."""

    @property
    def key(self) -> Hashable: ...


SomeTask = TypeVar("SomeTask", bound=Task)


def run_tasks(
    pool: Pool,
    next_task: Callable[[], SomeTask | None],
    on_end: Callable[[Event], None],
    bar: SearchProgress,
    expected_seconds: Callable[[SomeTask], float],
    seconds_ahead: Callable[[], float],
) -> None:
    """Train what ``next_task`` gives, until it gives None while nothing is running.

    It is asked for a task whenever a worker is idle. ``on_end`` hears how each task ended: done, failed or lost. The
    bar shows the shares done of the ``expected_seconds`` of the tasks, and the ``seconds_ahead`` of those to come.
    """
    seconds: dict[Hashable, float] = {}
    while True:
        while pool.idle and (task := next_task()) is not None:
            pool.submit(task)
            seconds[task.key] = expected_seconds(task)
            bar.advance(task.key, seconds[task.key], 0.0)
        if not pool.running:
            return
        bar.plan(seconds_ahead())
        for event in pool.events(WAIT_SECONDS):
            key = event.task.key
            if event.kind == "message":
                bar.advance(key, seconds[key], event.value)
                continue
            if event.kind == "lost":
                bar.lose(key)
            else:
                bar.end(key)
            on_end(event)
