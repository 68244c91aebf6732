"""Progress on standard error: a bar on a terminal and in a notebook, elsewhere (in a log file) occasional lines."""

import multiprocessing
import sys
import time
from datetime import datetime
from typing import Any

from tqdm import tqdm

LINE_SECONDS = 30.0  # between two lines, at least
BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{left}{postfix}"
LINE = "{desc} {percentage:.0f}%, {elapsed} elapsed, {left} left{postfix}"
LARGEST_SHARE = 0.99  # shown before the work is finished


def write_line(text: str) -> None:
    """Write a line to standard error, above the bar if there is one."""
    tqdm.write(text, file=sys.stderr)


class _Lines:
    """A file that writes each state of a bar as a line with the time of day."""

    def write(self, text: str) -> None:
        if text.strip():
            write_line(f"{datetime.now():%H:%M:%S} {text.strip()}")

    def flush(self) -> None:
        """Nothing is buffered."""


class Progress(tqdm):
    """Shows the share of some work that is done, the remaining time and values; a context manager.

    It never goes back, shows 100 % only when its block has ended without an exception, and no remaining time that is
    not known. In a worker process it shows nothing.
    """

    monitor_interval = 0  # no monitor thread

    def __init__(self, name: str) -> None:
        self._name, self._left = name, "?"
        self._first: tuple[float, float] | None = None  # the first share, above 0 where work is resumed, and its time
        layout: dict[str, Any] = {"bar_format": BAR, "mininterval": 0.2, "dynamic_ncols": True}
        if not (sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel.")):
            layout = {"bar_format": LINE, "mininterval": LINE_SECONDS, "delay": LINE_SECONDS, "file": _Lines()}
        in_worker = multiprocessing.parent_process() is not None  # whose command has a bar of its own
        super().__init__(desc=name, total=1.0, miniters=0, disable=in_worker, **layout)

    @property
    def format_dict(self) -> dict[str, Any]:
        return {**super().format_dict, "left": self._left}

    def phase(self, name: str = "") -> None:
        """Show the name of a phase in place of the work's name; its remaining time follows from its own shares."""
        self._left, self._first = "?", None
        self.set_description_str(name or self._name, refresh=not self.disable and self.delay == 0)

    def show_values(self, **values: str) -> None:
        """Set the values to show beside the share."""
        self.set_postfix(values, refresh=False)
        self.update(0)

    def show(self, share: float) -> None:
        """Set the share of the work that is done, from 0 to 1; a smaller one than before changes only the time left."""
        now = time.monotonic()
        self._first = self._first or (share, now)
        done, seconds = share - self._first[0], now - self._first[1]
        self._left = self.format_interval((1 - share) * seconds / done) if done > 0 else "?"
        self.update(max(0.0, min(share, LARGEST_SHARE) - self.n))

    def __exit__(self, kind: type[BaseException] | None, *details: Any) -> None:
        if kind is None:
            self.n, self._left = 1.0, self.format_interval(0)
            self.set_description_str(self._name, refresh=False)
        super().__exit__(kind, *details)
