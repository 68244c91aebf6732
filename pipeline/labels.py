"""Labels beside the dots of a picture, where they cover nothing."""

from collections.abc import Sequence
from math import ceil, cos, pi, sin

import numpy as np
from numpy.typing import NDArray

from pipeline.plotting import FAINT, Axes, laid_out

Boxes = NDArray[np.float64]  # (4,) or (N, 4): left, low, right, high, in pixels; a point is (2,)

LABEL_DISTANCES = (9, 15, 22, 30, 40)  # points from a dot to its label, and the directions to try, best first
LABEL_ANGLES = (pi / 4, -3 * pi / 4, pi / 2, -pi / 2, 0.0, pi, -pi / 4, 3 * pi / 4)
ASLANT = (pi / 4, -3 * pi / 4, -pi / 4, 3 * pi / 4)  # further off: a level or upright line would run along the front's


def _common(box: Boxes, others: Boxes) -> float:
    """The area in square pixels that a box (4,) shares with others (N, 4), in sum; a box is left, low, right, high."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(np.prod(np.maximum(sides, 0.0), axis=1).sum())


def _along(start: Boxes, end: Boxes, half_width: float) -> Boxes:
    """Boxes (N, 4) along a straight line between two pixels, which stand for it."""
    parts = ceil(np.linalg.norm(end - start) / (2 * half_width)) + 1
    middles = np.linspace(start, end, parts)
    return np.hstack([middles - half_width, middles + half_width])


def write_labels(
    axes: Axes,
    labels: Sequence[tuple[str, float, float]],
    dots: Sequence[tuple[float, float]],
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]],
    keep: int,
) -> None:
    """Write each (text, x, y) beside its dot, clear of all dots, of the lines and of the labels before it.

    Each takes the nearest free place around its dot, with a thin line to one further off. Of those that find none, the
    first ``keep`` are written where they cover least, and the rest are left out. The axes' limits must stand.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = laid_out(figure)
    unit = figure.dpi / 72  # pixels of a point
    frame = np.array([axes.get_window_extent(renderer).extents])

    def pixel(point: tuple[float, float]) -> Boxes:
        return np.asarray(axes.transData.transform(point), dtype=np.float64)

    centres = [pixel(point) for point in [*((x, y) for _, x, y in labels), *dots]]
    taken = [_along(centre, centre, 4 * unit) for centre in centres]
    taken += [_along(pixel(start), pixel(end), 1.5 * unit) for start, end in lines]
    written = [np.empty((0, 4))]
    for number, ((text, x, y), dot) in enumerate(zip(labels, centres, strict=False)):
        note = axes.annotate(text, (x, y), (0, 0), textcoords="offset points", fontsize=8, va="center", zorder=6)
        note.set_in_layout(False)
        size = note.get_window_extent(renderer)
        all_taken, all_written = np.concatenate(taken), np.concatenate(written)
        places: list[tuple[float, float, Boxes, Boxes]] = []
        for distance in LABEL_DISTANCES:
            near = distance <= LABEL_DISTANCES[1]
            for angle in LABEL_ANGLES if near else ASLANT:
                right, up = distance * unit * cos(angle), distance * unit * sin(angle)
                left = right - (size.width if right < -1 else size.width / 2 if right < 1 else 0)
                half = size.height / 2
                box = np.add([*dot, *dot], [left, up - half, left + size.width, up + half])
                leader = np.empty((0, 4)) if near else _along(dot, np.clip(dot, box[:2], box[2:]), unit)
                covered = size.width * size.height - _common(box, frame) + _common(box, all_taken)
                covered += sum(_common(part, all_written) for part in leader)
                places.append((round(covered), distance, box, leader))
        covered, _, box, leader = min(places, key=lambda place: place[:2])
        if covered > 0 and number >= keep:
            note.remove()
            continue
        note.set_position(((box[0] - dot[0]) / unit, ((box[1] + box[3]) / 2 - dot[1]) / unit))
        written.append(box[None])
        taken += [box[None], leader]
        if len(leader):
            ends = axes.transData.inverted().transform([dot, np.clip(dot, box[:2], box[2:])])
            axes.plot(*ends.T, color=FAINT, linewidth=0.6, zorder=3)
