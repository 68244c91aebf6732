"""What PNG figures and the SVG charts of pages share: styles of cells, values to draw, and places for labels."""

from collections.abc import Iterator, Sequence
from math import ceil, cos, floor, log10, pi, sin
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

LARGEST = 1e6  # perplexities are clipped to it, since an axis can't extend to infinity

# candidates for the ticks of each decade of a logarithmic scale, from few to many
DIGITS = ((1,), (1, 3), (1, 2, 3, 5), range(1, 10), [digit / 10 for digit in range(10, 100)])

DISTANCES = (9, 15, 22, 30, 40, 55)  # points from a dot to its label, in the order in which they are tried
NEAR_DISTANCE = 15  # points; a label further away gets a leader line
ANGLES = (pi / 4, -3 * pi / 4, pi / 2, -pi / 2, 0.0, pi, -pi / 4, 3 * pi / 4)
LEADER_ANGLES = (pi / 4, -3 * pi / 4, -pi / 4, 3 * pi / 4, pi / 2, -pi / 2)  # others may run along a front's line

Marker = Literal["circle", "square", "triangle", "diamond", "cross"]


class CellStyle(NamedTuple):
    """The colour of a cell, its mark in SVG charts, and the same mark by matplotlib's name."""

    colour: str
    shape: Marker
    marker: str


CELL_STYLES = {
    "rnn": CellStyle("#1f77b4", "circle", "o"),
    "gru": CellStyle("#e07b00", "square", "s"),
    "lstm": CellStyle("#8250b4", "triangle", "^"),
}
CELL_MARKS = ", ".join(f"{style.shape} {cell.upper()}" for cell, style in CELL_STYLES.items())  # for captions

Boxes = NDArray[np.float64]  # (4,) or (N, 4): left, low, right, high; a point is (2,)


def cell_style(cell: str) -> CellStyle:
    """The style of a cell; all that are not in CELL_STYLES have one."""
    return CELL_STYLES.get(cell, CellStyle("#17a2a2", "diamond", "D"))


def drawable(perplexities: Sequence[float]) -> list[float]:
    """The perplexities, clipped to LARGEST."""
    return [min(value, LARGEST) for value in perplexities]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to ``high``: at least three, if there are three of two digits."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    for digits in DIGITS if high >= 50 * low else DIGITS[2:]:
        ticks = [value for power in powers for digit in digits if low <= (value := digit * 10.0**power) <= high]
        if len(ticks) > 2:
            break
    return ticks


def si(value: float) -> str:
    """Format a number with an SI suffix: 1500 as 1.5k."""
    size, suffix = next(((s, n) for s, n in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= s), (1.0, ""))
    return f"{value / size:.10g}{suffix}"


class Placed(NamedTuple):
    """The box of a label, and the leader line to it from its dot (start, end) if it is far away."""

    box: Boxes
    leader: Boxes | None


class LabelPlaces:
    """Finds places for labels in a frame, free of dots, lines and earlier labels.

    ``frame`` is left, low, right, high, in pixels or user units, of which a point has ``unit``.
    """

    def __init__(self, frame: Sequence[float], unit: float = 1.0) -> None:
        self._frame, self._unit = np.array([frame], dtype=np.float64), unit
        self._taken = np.empty((0, 4))
        self._written = np.empty((0, 4))

    def block(self, start: Sequence[float], end: Sequence[float], half_width: float) -> None:
        """Take the straight line between two points, or a dot if they are the same."""
        self._taken = np.vstack([self._taken, _along(np.asarray(start), np.asarray(end), half_width * self._unit)])

    def place(self, dot: Sequence[float], width: float, height: float, is_needed: bool) -> Placed | None:
        """The nearest free place for a label of this size beside its dot, which is then taken.

        If there is none, the place where it overlaps least for a label that ``is_needed``, and None for another.
        """
        centre = np.asarray(dot, dtype=np.float64)
        places = []
        for distance, box in self._boxes_around(centre, width, height):
            end = np.clip(centre, box[:2], box[2:])
            leader = np.empty((0, 4)) if distance <= NEAR_DISTANCE else _along(centre, end, self._unit)
            outside = width * height - _common(box, self._frame)
            covered = 10 * outside + 9 * _common(box, self._written) + _common(box, self._taken)  # worst: cut off
            covered += sum(_common(part, self._written) for part in leader)
            places.append((round(covered), distance, box, leader, end))
            if not places[-1][0]:  # the others are no nearer
                break
        covered, distance, box, leader, end = min(places, key=lambda place: place[:2])
        if covered > 0 and not is_needed:
            return None
        self._written = np.vstack([self._written, box[None]])
        self._taken = np.vstack([self._taken, box[None], leader])
        return Placed(box, np.stack([centre, end]) if len(leader) else None)

    def _boxes_around(self, dot: Boxes, width: float, height: float) -> Iterator[tuple[float, Boxes]]:
        """Yield distance in points and box (4,) of each candidate place, best first."""
        for distance in DISTANCES:
            for angle in ANGLES if distance <= NEAR_DISTANCE else LEADER_ANGLES:
                right, up = distance * self._unit * cos(angle), distance * self._unit * sin(angle)
                left = right - (width if right < -1 else width / 2 if right < 1 else 0)
                yield distance, np.add([*dot, *dot], [left, up - height / 2, left + width, up + height / 2])


def _common(box: Boxes, others: Boxes) -> float:
    """Total area of the intersections of a box (4,) with others (N, 4)."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(np.prod(np.maximum(sides, 0.0), axis=1).sum())


def _along(start: Boxes, end: Boxes, half_width: float) -> Boxes:
    """Boxes (N, 4) that cover the straight line between two points."""
    parts = ceil(np.linalg.norm(end - start) / (2 * half_width)) + 1
    middles = np.linspace(start, end, parts)
    return np.hstack([middles - half_width, middles + half_width])
