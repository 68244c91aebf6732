"""One progress bar on standard error, with perplexity and time left; silent where standard error is no terminal."""

import sys
from collections.abc import Iterator
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
