"""Progress on standard error: a bar on a terminal and in a notebook, elsewhere (in a log file) occasional lines.

``progress`` shows one training by its steps, ``search_progress`` many at once by their expected seconds. Neither shows
100 % before the work is finished, nor a remaining time that is not known.
"""

import os
import sys
import time
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Protocol, TextIO

from tqdm import tqdm

LINE_SECONDS = 30.0  # between two lines, at least
DEFAULT_COLUMNS = 80
SHORTEST_NAME = 8  # characters of a bar's name that are kept in a narrow terminal
FIXED_COLUMNS = len(" 100%|█| <")  # of a bar of one block, without its name, times and figures
LAYOUT = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{left}{postfix}"
LARGEST_SHARE = 0.99  # shown before the work is finished
RATE_SECONDS = 30.0  # weight of the expected rate relative to the measured one
IN_WORDS = {"train": "train perplexity", "val": "validation perplexity", "best": "best perplexity"}  # in a line


def write_line(text: str) -> None:
    """Write a line to standard error, above the bar if there is one."""
    tqdm.write(text, file=sys.stderr)


def columns(file: TextIO) -> int:
    """The width of a terminal: COLUMNS if that is set, else what the terminal reports, else DEFAULT_COLUMNS."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        terminal = os.get_terminal_size(file.fileno()).columns if file.isatty() else 0
    except (OSError, ValueError):
        terminal = 0
    return terminal or DEFAULT_COLUMNS


def shows_bars(file: TextIO) -> bool:
    """Whether a bar can be redrawn in place: on a terminal, and in the output of a notebook's cell."""
    return file.isatty() or type(file).__module__.startswith("ipykernel.")


class Status:
    """The state of some work, as a bar or a line shows it; ``seconds_left`` is None while it is not known."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.phase = ""
        self.share = 0.0
        self.seconds_left: float | None = None
        self.figures: Mapping[str, str] = {}
        self.began = time.monotonic()

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def left(self) -> str:
        """The remaining time, or "?" if it is not known."""
        return "?" if self.seconds_left is None else tqdm.format_interval(self.seconds_left)

    def advance(self, share: float, seconds_left: float | None) -> None:
        """Set the share of the work that is done, at most LARGEST_SHARE, and the remaining time."""
        self.share, self.seconds_left = min(share, LARGEST_SHARE), seconds_left

    def finish(self) -> None:
        """Mark the work as finished."""
        self.phase, self.share, self.seconds_left = "", 1.0, 0.0


class Display(Protocol):
    """Shows a status as a bar or as lines."""

    def redraw(self) -> None:
        """Redraw a bar, a few times a second at most; a display of lines ignores this."""

    def refresh(self) -> None:
        """Redraw a bar at once; a display of lines ignores this."""

    def report(self) -> None:
        """Redraw a bar, or write a line if the last one is old enough."""

    def close(self) -> None:
        """Draw a bar for the last time."""


class _Bar(tqdm):
    """A bar as wide as the terminal. A long name is shortened; the figures, which come last, are not."""

    monitor_interval = 0  # no monitor thread

    def __init__(self, status: Status) -> None:
        self._status = status
        super().__init__(total=1, file=sys.stderr, bar_format=LAYOUT, mininterval=0.2, miniters=0)

    def redraw(self) -> None:
        self.update(0)  # tqdm limits the rate of drawing

    report = redraw

    @property
    def format_dict(self) -> dict[str, Any]:
        status, width = self._status, columns(self.fp) - 1
        elapsed, figures = status.elapsed_seconds, dict(status.figures)
        room = width - FIXED_COLUMNS - len(tqdm.format_interval(elapsed)) - len(status.left)
        while figures and room - len(_joined(figures)) < SHORTEST_NAME:
            figures.popitem()
        room -= len(_joined(figures))
        name = status.phase or status.name
        known = {
            "prefix": name if len(name) <= room else f"{name[: max(0, room - 1)]}…",
            "n": status.share,
            "elapsed": elapsed,
            "left": status.left,
            "postfix": _joined(figures)[2:],
            "ncols": width,
        }
        return {**super().format_dict, **known}


def _joined(figures: Mapping[str, str]) -> str:
    return "".join(f", {name}={value}" for name, value in figures.items())


class _Lines:
    """Writes lines with time, name, figures, elapsed and remaining time, at least LINE_SECONDS apart."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self._last_seconds = 0.0

    def redraw(self) -> None:
        pass

    def refresh(self) -> None:
        pass

    def report(self) -> None:
        status = self._status
        elapsed = status.elapsed_seconds
        if elapsed - self._last_seconds < LINE_SECONDS:
            return
        self._last_seconds = elapsed
        figures = [f"{IN_WORDS.get(name, name)} {value}" for name, value in status.figures.items()]
        left = [] if status.seconds_left is None else [f"about {status.left} left"]
        parts = [*filter(None, [status.phase]), *figures, f"{tqdm.format_interval(elapsed)} elapsed", *left]
        write_line(f"{datetime.now():%H:%M:%S} {status.name}: {', '.join(parts)}")

    def close(self) -> None:
        pass


@contextmanager
def _displayed(name: str) -> Iterator[tuple[Status, Display]]:
    """A status and its display; at the end of the block, the work is shown as finished unless it raised."""
    status = Status(name)
    display: Display = _Bar(status) if shows_bars(sys.stderr) else _Lines(status)
    try:
        yield status, display
        status.finish()
    finally:
        display.close()


class Progress:
    """Receives the progress of a training; this base class ignores it."""

    def start(self, total_steps: int, done_steps: int = 0) -> None:
        """Called first, with the steps of the whole training and those done before it was resumed."""

    def advance(self, steps: int) -> None:
        """Called with the steps done since the last call."""

    def show(self, **figures: str) -> None:
        """Called after each epoch with the latest figures."""

    def close(self, phase: str) -> None:
        """Called after the last step with the name of the phase that follows."""


class TrainingProgress(Progress):
    """Shows the share of steps done, the remaining time at the mean rate, and the latest figures."""

    def __init__(self, status: Status, display: Display) -> None:
        self._status, self._display = status, display
        self._total, self._before, self._done = 1, 0, 0
        self._began = status.began

    def start(self, total_steps: int, done_steps: int = 0) -> None:
        self._total, self._before, self._done = total_steps, done_steps, done_steps
        self._began = time.monotonic()
        self.advance(0)

    def advance(self, steps: int) -> None:
        self._done += steps
        now = self._done - self._before
        spent, ahead = time.monotonic() - self._began, self._total - self._done
        self._status.advance(self._done / self._total, spent * ahead / now if now and ahead else None)
        self._display.redraw()

    def show(self, **figures: str) -> None:
        self._status.figures = figures
        self._display.report()

    def close(self, phase: str) -> None:
        self._status.phase = phase
        self._status.advance(self._status.share, None)
        self._display.refresh()


@contextmanager
def progress(name: str) -> Iterator[Progress]:
    """Show the progress of one training, whose number of steps ``Progress.start`` sets."""
    with _displayed(name) as (status, display):
        yield TrainingProgress(status, display)


def seconds_left(ahead: float, done: float, elapsed: float, workers: int) -> float:
    """Seconds until ``ahead`` expected seconds of work are done, if ``done`` expected seconds took ``elapsed`` seconds.

    The expected rate, one second of work per second and worker, is weighted as RATE_SECONDS of measurement.
    """
    return ahead * (elapsed + RATE_SECONDS) / (done + workers * RATE_SECONDS)


class SearchProgress:
    """Shows the progress of several workers' trainings, each weighted by its expected seconds.

    The plan, and the expected seconds of a running training, may change at any time. ``closing_seconds`` is the
    expected time of this process's own work after the last training.
    """

    def __init__(self, status: Status, display: Display, workers: int, closing_seconds: float) -> None:
        self._status, self._display, self._workers = status, display, workers
        self._closing = closing_seconds * workers
        self._is_planned = False
        self._ahead = 0.0
        self._done = 0.0
        self._running: dict[Hashable, tuple[float, float]] = {}  # key -> expected seconds, share done
        self._began: float | None = None  # when the first training began

    def phase(self, name: str) -> None:
        """Begin a phase; "" is the main one. Its remaining time is not known until ``plan`` is called."""
        self._status.phase, self._status.figures = name, {}
        self._is_planned = False
        self._draw()
        self._display.refresh()

    def plan(self, seconds: float) -> None:
        """Set the expected seconds of all trainings of this and later phases that have not started."""
        self._ahead, self._is_planned = seconds, True
        self._draw()

    def advance(self, key: Hashable, seconds: float, share: float) -> None:
        """Update a running training: its total expected seconds, and the share (0 to 1) that is done."""
        if self._began is None:
            self._began = time.monotonic()
        self._running[key] = (seconds, share)
        self._draw()

    def end(self, key: Hashable) -> None:
        """Count a training as finished, with its last expected seconds."""
        self._done += self._running.pop(key)[0]
        self._draw()

    def lose(self, key: Hashable) -> None:
        """Drop a training whose worker died; its work no longer counts."""
        del self._running[key]
        self._draw()

    def show(self, **figures: str) -> None:
        """Show values beside the bar."""
        self._status.figures = figures
        self._draw()

    def _draw(self) -> None:
        running = self._running.values()
        done = self._done + sum(seconds * share for seconds, share in running)
        total = self._done + sum(seconds for seconds, _ in running) + self._ahead + self._closing
        elapsed = 0.0 if self._began is None else time.monotonic() - self._began
        left = seconds_left(total - done, done, elapsed, self._workers) if self._is_planned else None
        self._status.advance(done / total if total else 0.0, left)
        self._display.report()


@contextmanager
def search_progress(name: str, workers: int, closing_seconds: float = 0.0) -> Iterator[SearchProgress]:
    """Show the progress of all workers together, from the first training to the end of the block."""
    with _displayed(name) as (status, display):
        yield SearchProgress(status, display, workers, closing_seconds)
