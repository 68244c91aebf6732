"""One progress bar on standard error, with perplexity and time left; silent where standard error is no terminal.

``progress`` shows one training by its steps, ``search_progress`` many at once by the seconds that they should take.
"""

import sys
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


class Progress:
    """Steps done and the latest perplexities, as the bar shows them."""

    def __init__(self, bar: "tqdm[Any] | None") -> None:
        self._bar = bar

    def start(self, total_steps: int, done_steps: int = 0) -> None:
        if self._bar is not None:
            self._bar.reset(total=total_steps)
            self._bar.update(done_steps)

    def advance(self, steps: int) -> None:
        if self._bar is not None:
            self._bar.update(steps)

    def show(self, **figures: float) -> None:
        if self._bar is not None:
            self._bar.set_postfix({name: f"{value:.2f}" for name, value in figures.items()}, refresh=False)


@contextmanager
def progress(name: str) -> Iterator[Progress]:
    """A bar of unknown length until ``start`` says; nothing at all off a terminal."""
    if not sys.stderr.isatty():
        yield Progress(None)
        return
    layout = "{desc} {percentage:3.0f}%|{bar:24}| {elapsed}<{remaining}{postfix}"
    with tqdm(total=1, desc=name, file=sys.stderr, bar_format=layout, mininterval=0.2) as bar:
        yield Progress(bar)


RATE_SECONDS = 30.0  # for which the expected rate is believed before the measured one is


def seconds_left(ahead: float, done: float, elapsed: float, workers: int) -> float:
    """Until ``ahead`` expected seconds of work are done, by the rate at which ``done`` were in ``elapsed`` seconds.

    The rate to begin with is one second of work a second from each worker; what is measured outweighs it more and more.
    """
    return ahead * (elapsed + RATE_SECONDS) / (done + workers * RATE_SECONDS)


class _SearchBar(tqdm):
    """Counts expected seconds of work."""

    workers = 1

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

    def __init__(self, bar: _SearchBar | None) -> None:
        self._bar = bar
        self._ahead = 0.0
        self._done = 0.0
        self._running: dict[Hashable, tuple[float, float]] = {}  # expected seconds and share done

    def phase(self, name: str) -> None:
        """What is being done now, as the bar names it."""
        if self._bar is not None:
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
        if self._bar is not None:
            self._bar.set_postfix(figures, refresh=False)
            self._draw()

    def _draw(self) -> None:
        if self._bar is None:
            return
        running = self._running.values()
        self._bar.total = self._done + sum(seconds for seconds, _ in running) + self._ahead
        done = self._done + sum(seconds * share for seconds, share in running)
        self._bar.update(done - self._bar.n)  # may be less than it was; draws where the last time is long enough ago


@contextmanager
def search_progress(name: str, workers: int) -> Iterator[SearchProgress]:
    """One bar over all workers, from the first trial to the last confirmation; nothing at all off a terminal."""
    if not sys.stderr.isatty():
        yield SearchProgress(None)
        return
    layout = "{desc} {percentage:3.0f}%|{bar:24}| {elapsed}<{left}{postfix}"
    with _SearchBar(total=1, desc=name, file=sys.stderr, bar_format=layout, mininterval=0.2, miniters=0) as bar:
        bar.workers = workers
        yield SearchProgress(bar)
