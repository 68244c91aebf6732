"""Ctrl-C, SIGTERM and SIGHUP: a training stops between two steps, and every process ends within a few seconds.

Once ``install`` was called, the first signal raises KeyboardInterrupt or SystemExit(128 + number) in the main thread:
at once, or on leaving a ``shielded`` block. A thread of its own, which no long multiplication holds up, ends the
process by force DEADLINE_SECONDS later (a worker, whose parent waits for it, sooner), or at a second Ctrl-C; whoever
has something to close then registers it with ``close_by_force``. Without ``install`` (a notebook, a study of one's own)
Python's own rules hold.
"""

import atexit
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

DEADLINE_SECONDS = 3.5  # from the first signal to the end by force; closing takes the rest of five

CLOSING_SECONDS = 1.0

SAME_SECONDS = 0.3  # two Ctrl-C closer than this are one that came on two ways (a shell's and its group's)

PARENT_SECONDS = 0.5  # between two looks whether the parent process is still there

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

_depth = 0  # of shielded blocks

_waiting: BaseException | None = None  # raised on leaving the outermost one

_closers: list[Callable[[str], None]] = []

_hurried = True

_stopping = False


def exit_code(signum: int) -> int:
    """128 + number, as shells have it."""
    return 128 + signum


def name_of(signum: int) -> str:
    """What a person calls the signal."""
    return "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name


def signal_of(stop: BaseException) -> int | None:
    """The signal that a KeyboardInterrupt or SystemExit stands for; None for any other exception."""
    if isinstance(stop, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(stop, SystemExit):
        return next((signum for signum in SIGNALS if stop.code == exit_code(signum)), None)
    return None


@contextmanager
def defer_signals() -> Iterator[None]:
    """Let what stands here be done whole: a signal that arrives meanwhile is raised at the end of it."""
    global _depth, _waiting
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
    if _waiting is not None and _depth == 0:
        stop, _waiting = _waiting, None
        raise stop


def on_forced_exit(closer: Callable[[str], None]) -> None:
    """Have this called, with the signal's name, before a process is ended by force."""
    _closers.append(closer)


def disable_deadline() -> None:
    """No deadline for this process: it waits for another one (a server) to shut down."""
    global _hurried
    _hurried = False


def install(parent: int | None = None, deadline_seconds: float = DEADLINE_SECONDS) -> None:
    """Take charge of the signals of this process; from its main thread, once.

    A signal that is ignored (nohup) stays ignored. The death of ``parent``, the id of this one's parent process, counts
    as SIGTERM; so does, whatever it is, under ``mlflow run``, whose end by SIGTERM does not reach its child by itself.
    """
    for signum in SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _on_signal)
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    if parent is None and os.environ.get("MLFLOW_RUN_ID"):
        parent = os.getppid()
    watched = (receiver, sender, parent, deadline_seconds)
    threading.Thread(target=_watch, args=watched, name="stopping", daemon=True).start()
    atexit.register(_hurry_out)


def _hurry_out() -> None:
    """Of a process that was stopped: leave out Python's last collection, a second in which no thread can end it.

    The system frees it all anyway. Any other process has the time, and databases that are closed properly.
    """
    if _stopping:
        gc.freeze()


def _on_signal(signum: int, frame: FrameType | None) -> None:
    global _waiting, _stopping
    if _stopping:  # once is enough: what closes must not be interrupted, and the thread sees to a second Ctrl-C
        return
    _stopping = True
    stop = KeyboardInterrupt() if signum == signal.SIGINT else SystemExit(exit_code(signum))
    if _depth:
        _waiting = stop
    else:
        raise stop


def _watch(receiver: socket.socket, sender: socket.socket, parent: int | None, deadline_seconds: float) -> None:
    """End the process where the main thread does not. Python tells this thread of a signal as soon as it arrives."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # the system gives it to the main thread, whose wait then ends
    first: int | None = None
    began = deadline = 0.0
    while True:
        wait = PARENT_SECONDS if first is None else max(0.0, deadline - time.monotonic())
        receiver.settimeout(wait if first is not None or parent is not None else None)
        try:
            arrived = [signum for signum in receiver.recv(64) if signum in SIGNALS]
        except (TimeoutError, BlockingIOError):
            arrived = []
        for signum in arrived:
            if first is None:
                first, began = signum, time.monotonic()
                deadline = began + deadline_seconds
            elif signum == signal.SIGINT and _hurried and time.monotonic() - began > SAME_SECONDS:
                _end(first)
        if first is not None and time.monotonic() >= deadline:
            if _hurried:
                _end(first)
            deadline = time.monotonic() + deadline_seconds
        if first is None and parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
            parent = None


def _end(signum: int) -> None:
    """Close what is registered, as far as a second allows, and leave."""
    closing = [threading.Thread(target=closer, args=(name_of(signum),), daemon=True) for closer in _closers]
    for thread in closing:
        thread.start()
    until = time.monotonic() + CLOSING_SECONDS
    for thread in closing:
        thread.join(max(0.0, until - time.monotonic()))
    sys.stderr.write(f"Stopped by {name_of(signum)}.\n")
    sys.stderr.flush()
    os._exit(exit_code(signum))
