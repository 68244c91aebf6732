"""Pareto fronts of two minimised objectives: members, dominance, hypervolume and knee.

Shapes: N points.
"""

from collections.abc import Sequence
from math import inf

import numpy as np
from numpy.typing import ArrayLike, NDArray

Point = tuple[float, float]


def front_mask(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """Mask (N,) of the points on the front; a point with infinite y is not on it.

    A point is dominated by another that is no greater in either objective and less in one. Equal points don't dominate
    each other: both are on the front, or neither is.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    mask, last = np.zeros(len(x), dtype=np.bool_), (-inf, inf)  # the last member: the lowest y so far
    for i in np.lexsort((y, x)):
        if y[i] < last[1]:
            last = (x[i], y[i])
        mask[i] = y[i] < inf and (x[i], y[i]) == last
    return mask


def hypervolume(points: ArrayLike, reference: tuple[float, float]) -> float:
    """The area that the points (N, 2) dominate within the reference point; 0 without points.

    The hypervolume of two objectives (Zitzler & Thiele 1998, doi:10.1007/BFb0056872), computed exactly: the sum of one
    rectangle for each step of the lowest y so far. Points beyond the reference add nothing.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    x, y = points[np.argsort(points[:, 0], kind="stable")].T
    x = np.minimum(x, reference[0])
    height = np.maximum(reference[1] - np.minimum.accumulate(y), 0.0)
    return float((height * np.diff(x, append=reference[0])).sum())


def dominators(points: Sequence[Point], others: Sequence[Point]) -> list[list[int]]:
    """For each point the indices of the others that dominate it: greater in neither objective, less in one."""
    return [[i for i, (a, b) in enumerate(others) if a <= x and b <= y and (a, b) != (x, y)] for x, y in points]


def knee(points: ArrayLike) -> int:
    """Index of the knee of a front (N, 2): the point that lies furthest below the chord of its two ends.

    Distances are taken after both coordinates are scaled to [0, 1] between the ends (Das 1999, doi:10.1007/BF01195985;
    Satopaa et al. 2011, "Finding a 'Kneedle' in a Haystack", doi:10.1109/ICDCSW.2011.20). If no point lies below the
    chord, as in a front of two, the knee is the end with the lower x.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    span = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0, span, 1.0)
    below = np.round(1.0 - scaled.sum(axis=1), 12)  # rounded, as both ends lie on the chord exactly
    return int(np.lexsort((points[:, 0], -below))[0])
