"""Ctrl-C, SIGTERM and SIGHUP: work stops where it is safe to, and every process exits within a few seconds.

After ``install``, the first signal raises KeyboardInterrupt or SystemExit(128 + number) in the main thread, either at
once or at the end of a ``defer_signals`` block. A watcher thread, which a long computation does not block, forces the
exit at a second Ctrl-C, or DEADLINE_SECONDS after the first signal (sooner in a worker, whose parent waits for it);
the function registered with ``on_forced_exit`` is called first. Without ``install``, as in a notebook, Python's
defaults apply, except that a ``defer_signals`` block defers the first Ctrl-C there too.
"""

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

DEADLINE_SECONDS = 3.5  # from the first signal to the forced exit; below 5 together with CLOSING_SECONDS
CLOSING_SECONDS = 1.0  # for the function registered with on_forced_exit
SAME_SECONDS = 0.3  # two Ctrl-C closer than this are one that was delivered twice, by the shell and the process group
RESEND_SECONDS = 0.05  # below SAME_SECONDS, so that it is not a second Ctrl-C
POLL_SECONDS = 0.2  # between two checks of the deadline and of the parent process
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

_depth = 0  # nesting of defer_signals blocks
_deferred: BaseException | None = None  # raised on leaving the outermost block
_closer: Callable[[str], None] | None = None
_deadline_seconds: float | None = DEADLINE_SECONDS  # None: no forced exit
_stopping = False  # a signal has arrived
_advice = ""  # a sentence that ``stopped_by`` adds


def exit_code(signum: int) -> int:
    """The exit code of a process stopped by a signal: 128 + number, as in shells."""
    return 128 + signum


def name_of(signum: int) -> str:
    """The signal's name in messages: Ctrl-C, SIGTERM or SIGHUP."""
    return "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name


def advise(sentence: str) -> None:
    """Set the sentence that follows the message of a stop, such as the command that resumes this one."""
    global _advice
    _advice = sentence


def stopped_by(signum: int) -> str:
    """The message of a stop: the signal, and what ``advise`` has set."""
    return f"Stopped by {name_of(signum)}.{' ' * bool(_advice)}{_advice}"


def signal_of(stop: BaseException) -> int | None:
    """The signal that raised this KeyboardInterrupt or SystemExit; None for any other exception."""
    if isinstance(stop, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(stop, SystemExit):
        return next((signum for signum in SIGNALS if stop.code == exit_code(signum)), None)
    return None


@contextmanager
def defer_signals() -> Iterator[None]:
    """Defer signals that arrive within the block to its end, however it ends; blocks may be nested.

    In another thread than the main one, where no signal arrives, it does nothing.
    """
    global _depth, _deferred
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_pythons = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_pythons:
        _deferred = None
        signal.signal(signal.SIGINT, _note_interrupt)
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if is_pythons:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if _deferred is not None and _depth == 0:
            stop, _deferred = _deferred, None
            raise stop


def on_forced_exit(closer: Callable[[str], None]) -> None:
    """Register a function to call with the signal's name before a forced exit."""
    global _closer
    _closer = closer


def disable_deadline() -> None:
    """Disable the forced exit of this process, as when it has to wait for a server to shut down."""
    global _deadline_seconds
    _deadline_seconds = None


def install(parent: int | None = None, deadline_seconds: float = DEADLINE_SECONDS) -> None:
    """Install the signal handlers and the watcher thread; call it once, from the main thread.

    An ignored signal (nohup) stays ignored. The death of the process ``parent`` (an id) has the effect of SIGTERM.
    """
    global _deadline_seconds
    _deadline_seconds = deadline_seconds
    for signum in SIGNALS:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _on_signal)
    sys.unraisablehook = _on_ignored
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(receiver, sender, parent), name="signals", daemon=True).start()


def _note_interrupt(signum: int, frame: FrameType | None) -> None:
    """Defer a Ctrl-C in a process without ``install``; a second one is not, as a block may wait for a server."""
    global _deferred
    if _deferred is not None:
        raise KeyboardInterrupt
    _deferred = KeyboardInterrupt()


def _on_signal(signum: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt or SystemExit for the first signal, or defer it."""
    global _deferred, _stopping
    if _stopping:  # clean-up must not be interrupted; the watcher handles a second Ctrl-C
        return
    _stopping = True
    gc.freeze()  # the garbage collection at the exit takes a second and can't be interrupted
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)  # an interrupted reset is logged with a traceback
    stop = KeyboardInterrupt() if signum == signal.SIGINT else SystemExit(exit_code(signum))
    if _depth:
        _deferred = stop
    else:
        raise stop


def _on_ignored(ignored: "sys.UnraisableHookArgs") -> None:
    """Send a signal again whose exception Python has ignored, as it arrived in a finalizer or a callback."""
    global _stopping
    stop = ignored.exc_value
    if stop is None or not _stopping or (signum := signal_of(stop)) is None:
        sys.__unraisablehook__(ignored)
        return
    _stopping = False
    threading.Timer(RESEND_SECONDS, os.kill, (os.getpid(), signum)).start()  # once the finalizer is left


def _watch(receiver: socket.socket, sender: socket.socket, parent: int | None) -> None:
    """Force the exit if the main thread does not end. Python writes each signal to ``sender`` when it arrives."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # so that they interrupt system calls of the main thread
    receiver.settimeout(POLL_SECONDS)
    first: int | None = None
    began = 0.0
    while True:
        try:
            arrived = receiver.recv(64)
        except TimeoutError:
            arrived = b""
        now, again = time.monotonic(), False
        for signum in filter(SIGNALS.__contains__, arrived):
            if first is None:
                first, began = signum, now
            again = again or (signum == signal.SIGINT and now - began > SAME_SECONDS)
        if first is None:
            if parent is not None and os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
                parent = None
        elif _deadline_seconds is not None and (again or now - began >= _deadline_seconds):
            _force_exit(first)


def _force_exit(signum: int) -> None:
    """Call the registered function, for at most CLOSING_SECONDS, and exit; only a worker prints no message."""
    closing = threading.Thread(target=_closer, args=(name_of(signum),), daemon=True)
    closing.start()
    closing.join(CLOSING_SECONDS)
    process = sys.modules.get("multiprocessing.process")  # imported in every worker
    if process is None or process.parent_process() is None:
        sys.stderr.write(f"{stopped_by(signum)}\n")
        sys.stderr.flush()
    os._exit(exit_code(signum))
