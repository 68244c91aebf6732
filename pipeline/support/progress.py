"""A progress bar on standard error with perplexity and remaining time; silent if standard error is not a terminal.

``progress`` shows one training by its steps, ``search_progress`` many at once by their expected seconds.
"""

import sys
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

LONGEST_NAME = 24  # characters of a bar's name, so that the rest fits into 80 columns
RATE_SECONDS = 30.0  # weight of the expected rate against the measured one


def write_line(text: str) -> None:
    """Write a line to standard error, above the bar if there is one."""
    tqdm.write(text, file=sys.stderr)


class _Bar(tqdm):
    """A tqdm bar as wide as the terminal; disabled without one."""

    monitor_interval = 0  # no monitor thread

    def __init__(self, name: str, time_left: str) -> None:
        layout = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{" + time_left + "}{postfix}"
        name = name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
        super().__init__(
            total=1,
            desc=name,
            file=sys.stderr,
            disable=None,
            bar_format=layout,
            dynamic_ncols=True,
            mininterval=0.2,
            miniters=0,
        )


class Progress:
    """Receives the progress of a training; this base class ignores it."""

    def start(self, total_steps: int, done_steps: int = 0) -> None:
        """Called first, with the steps of the whole training and those done before a resume."""

    def advance(self, steps: int) -> None:
        """Called with the steps done since the last call."""

    def show(self, **figures: float) -> None:
        """Called with the latest metrics."""


class ProgressBar(Progress):
    """Shows the steps done and the latest perplexities in a bar."""

    def __init__(self, bar: _Bar) -> None:
        self._bar = bar

    def start(self, total_steps: int, done_steps: int = 0) -> None:
        self._bar.reset(total=total_steps)
        self._bar.update(done_steps)

    def advance(self, steps: int) -> None:
        self._bar.update(steps)

    def show(self, **figures: float) -> None:
        self._bar.set_postfix({name: f"{value:.2f}" for name, value in figures.items()}, refresh=False)


@contextmanager
def progress(name: str) -> Iterator[Progress]:
    """Show a bar for one training; its length is set by ``start``."""
    with _Bar(name, "remaining") as bar:
        yield ProgressBar(bar)


def seconds_left(ahead: float, done: float, elapsed: float, workers: int) -> float:
    """Seconds until ``ahead`` expected seconds of work are done, if ``done`` of them took ``elapsed`` seconds.

    The prior rate, one second of work per second and worker, has the weight of RATE_SECONDS; the measured rate soon
    outweighs it.
    """
    return ahead * (elapsed + RATE_SECONDS) / (done + workers * RATE_SECONDS)


class _SearchBar(_Bar):
    """A bar that counts expected seconds of work."""

    def __init__(self, name: str, workers: int) -> None:
        self.workers = workers
        super().__init__(name, "left")

    @property
    def format_dict(self) -> dict[str, Any]:
        known = super().format_dict
        left = seconds_left(known["total"] - known["n"], known["n"], known["elapsed"], self.workers)
        return {**known, "left": tqdm.format_interval(left)}


class SearchProgress:
    """Shows the progress of several workers' trainings, each weighted by its expected seconds.

    The plan, and the expected seconds of a running training, may change at any time.
    """

    def __init__(self, bar: _SearchBar) -> None:
        self._bar = bar
        self._ahead = 0.0
        self._done = 0.0
        self._running: dict[Hashable, tuple[float, float]] = {}  # key -> expected seconds, share done

    def phase(self, name: str) -> None:
        """Set the name of the current phase."""
        self._bar.set_description_str(name, refresh=False)

    def plan(self, seconds: float) -> None:
        """Set the expected seconds of all trainings, of this phase and later ones, that have not started."""
        self._ahead = seconds
        self._draw()

    def advance(self, key: Hashable, seconds: float, share: float) -> None:
        """Update a running training: its total expected seconds, and the share (0 to 1) of it that is done."""
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
        self._bar.set_postfix(figures, refresh=False)
        self._draw()

    def _draw(self) -> None:
        running = self._running.values()
        self._bar.total = self._done + sum(seconds for seconds, _ in running) + self._ahead
        done = self._done + sum(seconds * share for seconds, share in running)
        self._bar.update(done - self._bar.n)  # may be negative; tqdm limits how often it draws


@contextmanager
def search_progress(name: str, workers: int) -> Iterator[SearchProgress]:
    """Show one bar for all workers, from the first trial to the last confirmation."""
    with _SearchBar(name, workers) as bar:
        yield SearchProgress(bar)
