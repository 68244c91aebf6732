"""Scales, paths and labels of charts that are drawn as inline SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log, log10

import numpy as np
from scipy.optimize import isotonic_regression

LINE_HEIGHT = 12  # of a label, in user units

# candidates for the ticks of each decade of a logarithmic scale, from few to many
DIGITS = ((1,), (1, 3), (1, 2, 3, 5), range(1, 10), [digit / 10 for digit in range(10, 100)])


@dataclass(frozen=True)
class Scale:
    """Maps values from ``low`` to ``high`` to user units from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool = True

    def __call__(self, value: float) -> float:
        low, high = (log(edge) if self.is_logarithmic else edge for edge in (self.low, self.high))
        share = ((log(value) if self.is_logarithmic else value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round numbers within the scale; on a logarithmic one at least two, if two of two digits are in its range."""
        if not self.is_logarithmic:
            sizes = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
            step = next(size for size in sizes if self.high <= 6 * size)
            return [float(value) for value in range(step, floor(self.high) + 1, step)]
        powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        within: list[float] = []
        for digits in DIGITS if self.high >= 50 * self.low else DIGITS[2:]:
            values = [digit * 10.0**power for power in powers for digit in digits]
            within = [value for value in values if self.low <= value <= self.high]
            if len(within) > 1:
                break
        return within


@dataclass(frozen=True)
class Label:
    """A text at height ``y`` beside the end (``x``, ``end``) of a line."""

    text: str
    x: float
    y: float
    end: float


def path(points: Sequence[tuple[float, float]]) -> str:
    """The points as the data of an SVG path; a single point becomes a short dash."""
    if len(points) == 1:
        points = [points[0], (points[0][0] + 2, points[0][1])]
    return "M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) if points else ""


def apart(ends: Sequence[tuple[str, float, float]], top: float, bottom: float) -> list[Label]:
    """Place a label near the end (text, x, y) of each line, without overlap of labels at the same x.

    Isotonic regression minimises the squared distances between labels and ends under that constraint.
    """
    labels: dict[int, Label] = {}
    for place in {x for _, x, _ in ends}:
        group = sorted((number for number, end in enumerate(ends) if end[1] == place), key=lambda n: ends[n][2])
        gap = min(LINE_HEIGHT, (bottom - top) / len(group))
        offsets = gap * np.arange(len(group))
        starts = isotonic_regression([ends[number][2] for number in group] - offsets).x
        heights = starts.clip(top, bottom - offsets[-1]) + offsets
        for number, height in zip(group, heights, strict=True):
            text, _, end = ends[number]
            labels[number] = Label(text, place, float(height), end)
    return [labels[number] for number in range(len(ends))]
