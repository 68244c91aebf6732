"""One progress bar on standard error, with perplexity and time left; silent where standard error is no terminal.

``progress`` shows one training by its steps, ``search_progress`` many at once by the seconds that they should take.
"""

import sys
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

LONGEST_NAME = 24  # of a bar: at 80 columns there is room for what stands behind it


class _Bar(tqdm):
    """A bar as wide as the terminal leaves room for; nothing at all off a terminal."""

    monitor_interval = 0  # no thread

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


def write_line(text: str) -> None:
    """A line on standard error, above the bar if there is one."""
    tqdm.write(text, file=sys.stderr)


class Progress:
    """What a training tells of itself while it runs; here, nobody hears it."""

    def start(self, total_steps: int, done_steps: int = 0) -> None:
        """The steps of the whole training, and those that were done earlier."""

    def advance(self, steps: int) -> None:
        """Steps done since the last call."""

    def show(self, **figures: float) -> None:
        """The latest figures."""


class ProgressBar(Progress):
    """Steps done and the latest perplexities, as a bar shows them."""

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
    """A bar of unknown length until ``start`` says; nothing at all off a terminal."""
    with _Bar(name, "remaining") as bar:
        yield ProgressBar(bar)


RATE_SECONDS = 30.0  # for which the expected rate is believed before the measured one is


def seconds_left(ahead: float, done: float, elapsed: float, workers: int) -> float:
    """Until ``ahead`` expected seconds of work are done, by the rate at which ``done`` were in ``elapsed`` seconds.

    The rate to begin with is one second of work a second from each worker; what is measured outweighs it more and more.
    """
    return ahead * (elapsed + RATE_SECONDS) / (done + workers * RATE_SECONDS)


class _SearchBar(_Bar):
    """Counts expected seconds of work."""

    def __init__(self, name: str, workers: int) -> None:
        self.workers = workers
        super().__init__(name, "left")

    @property
    def format_dict(self) -> dict[str, Any]:
        known = super().format_dict
        left = seconds_left(known["total"] - known["n"], known["n"], known["elapsed"], self.workers)
        return {**known, "left": tqdm.format_interval(left)}


class SearchProgress:
    """Trainings by several workers, each weighed by the seconds that it is expected to take.

    The plan may change at any time, and a training's seconds while it runs: the share that is done and the time left
    follow.
    """

    def __init__(self, bar: _SearchBar) -> None:
        self._bar = bar
        self._ahead = 0.0
        self._done = 0.0
        self._running: dict[Hashable, tuple[float, float]] = {}  # expected seconds and share done

    def phase(self, name: str) -> None:
        """What is being done now, as the bar names it."""
        self._bar.set_description_str(name, refresh=False)

    def plan(self, seconds: float) -> None:
        """Expected seconds of all trainings, of this phase and those after it, that have not begun."""
        self._ahead = seconds
        self._draw()

    def advance(self, key: Hashable, seconds: float, share: float) -> None:
        """A running training: the seconds that it is now expected to take in all, and the share of it that is done."""
        self._running[key] = (seconds, share)
        self._draw()

    def end(self, key: Hashable) -> None:
        """The training has ended; it counts with the seconds that it was last expected to take."""
        self._done += self._running.pop(key)[0]
        self._draw()

    def lose(self, key: Hashable) -> None:
        """The training is lost; what was done of it counts no more."""
        del self._running[key]
        self._draw()

    def show(self, **figures: str) -> None:
        """What else stands beside the bar."""
        self._bar.set_postfix(figures, refresh=False)
        self._draw()

    def _draw(self) -> None:
        running = self._running.values()
        self._bar.total = self._done + sum(seconds for seconds, _ in running) + self._ahead
        done = self._done + sum(seconds * share for seconds, share in running)
        self._bar.update(done - self._bar.n)  # may be less than it was; draws where the last time is long enough ago


@contextmanager
def search_progress(name: str, workers: int) -> Iterator[SearchProgress]:
    """One bar over all workers, from the first trial to the last confirmation; nothing at all off a terminal."""
    with _SearchBar(name, workers) as bar:
        yield SearchProgress(bar)
