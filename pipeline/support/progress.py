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
from typing import Any, TextIO

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
        return os.get_terminal_size(file.fileno()).columns or DEFAULT_COLUMNS
    except (OSError, ValueError):
        return DEFAULT_COLUMNS


class Display:
    """Shows work by the share that is done, the remaining time (None: not known) and figures.

    It is a bar where one can be redrawn in place; elsewhere, a line at least every LINE_SECONDS.
    """

    def __init__(self, name: str) -> None:
        self.name, self.phase = name, ""
        self.share = 0.0
        self.seconds_left: float | None = None
        self.figures: Mapping[str, str] = {}
        self.began = self._last_line = time.monotonic()
        is_notebook = type(sys.stderr).__module__.startswith("ipykernel.")
        self._bar = _Bar(self) if is_notebook or sys.stderr.isatty() else None

    def update(self, share: float, seconds_left: float | None, writes_line: bool = True) -> None:
        """Set the share of the work that is done and the remaining time; a bar is redrawn a few times a second."""
        self.share, self.seconds_left = min(share, LARGEST_SHARE), seconds_left
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(0)
        elif writes_line and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            figures = [f"{IN_WORDS.get(name, name)} {value}" for name, value in self.figures.items()]
            left = [] if seconds_left is None else [f"about {tqdm.format_interval(seconds_left)} left"]
            elapsed = f"{tqdm.format_interval(now - self.began)} elapsed"
            parts = [*filter(None, [self.phase]), *figures, elapsed, *left]
            write_line(f"{datetime.now():%H:%M:%S} {self.name}: {', '.join(parts)}")

    def begin_phase(self, name: str) -> None:
        """Show the name of a phase, "" for the main one; its remaining time is not known yet."""
        self.phase, self.seconds_left = name, None
        if self._bar is not None:
            self._bar.refresh()

    def close(self, finished: bool) -> None:
        """Draw a bar for the last time."""
        if finished:
            self.phase, self.share, self.seconds_left = "", 1.0, 0.0
        if self._bar is not None:
            self._bar.close()


class _Bar(tqdm):
    """A bar as wide as the terminal. A long name is shortened; the figures, which come last, are not."""

    monitor_interval = 0  # no monitor thread

    def __init__(self, display: Display) -> None:
        self._display = display
        super().__init__(total=1, file=sys.stderr, bar_format=LAYOUT, mininterval=0.2, miniters=0)

    @property
    def format_dict(self) -> dict[str, Any]:
        shown, width = self._display, columns(self.fp) - 1
        elapsed = time.monotonic() - shown.began
        left = "?" if shown.seconds_left is None else tqdm.format_interval(shown.seconds_left)
        room = width - FIXED_COLUMNS - len(tqdm.format_interval(elapsed)) - len(left)
        figures = [f", {name}={value}" for name, value in shown.figures.items()]
        while figures and room - len("".join(figures)) < SHORTEST_NAME:
            figures.pop()
        room -= len("".join(figures))
        name = shown.phase or shown.name
        known = {
            "prefix": name if len(name) <= room else f"{name[: max(0, room - 1)]}…",
            "n": shown.share,
            "elapsed": elapsed,
            "left": left,
            "postfix": "".join(figures)[2:],
            "ncols": width,
        }
        return {**super().format_dict, **known}


@contextmanager
def _display(name: str) -> Iterator[Display]:
    """A display that shows the work as finished at the end of the block, unless it raised."""
    display, finished = Display(name), False
    try:
        yield display
        finished = True
    finally:
        display.close(finished)


class TrainingProgress:
    """Shows one training; called with the share of it that is done, from 0 to 1, and after each epoch with figures."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._first: tuple[float, float] | None = None  # the first share, of a resumed training above 0, and its time

    def __call__(self, share: float, **figures: str) -> None:
        now = time.monotonic()
        self._first = self._first or (share, now)
        first, began = self._first
        left = (now - began) * (1 - share) / (share - first) if first < share < 1 else None
        self._display.figures = figures or self._display.figures
        self._display.update(share, left, writes_line=bool(figures))
        if share == 1:
            self._display.begin_phase("evaluating")


@contextmanager
def progress(name: str) -> Iterator[TrainingProgress]:
    """Show the progress of one training."""
    with _display(name) as display:
        yield TrainingProgress(display)


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

    def __init__(self, display: Display, workers: int, closing_seconds: float) -> None:
        self._display, self._workers = display, workers
        self._closing = closing_seconds * workers
        self._is_planned = False
        self._ahead = 0.0
        self._done = 0.0
        self._running: dict[Hashable, tuple[float, float]] = {}  # key -> expected seconds, share done
        self._began: float | None = None  # when the first training began

    def phase(self, name: str) -> None:
        """Begin a phase; "" is the main one. Its remaining time is not known until ``plan`` is called."""
        self._display.figures, self._is_planned = {}, False
        self._draw()
        self._display.begin_phase(name)

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
        self._display.figures = figures
        self._draw()

    def _draw(self) -> None:
        running = self._running.values()
        done = self._done + sum(seconds * share for seconds, share in running)
        total = self._done + sum(seconds for seconds, _ in running) + self._ahead + self._closing
        elapsed = 0.0 if self._began is None else time.monotonic() - self._began
        left = seconds_left(total - done, done, elapsed, self._workers) if self._is_planned else None
        self._display.update(done / total if total else 0.0, left)


@contextmanager
def search_progress(name: str, workers: int, closing_seconds: float = 0.0) -> Iterator[SearchProgress]:
    """Show the progress of all workers together, from the first training to the end of the block."""
    with _display(name) as display:
        yield SearchProgress(display, workers, closing_seconds)
