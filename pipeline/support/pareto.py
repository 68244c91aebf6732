"""Pareto fronts of two minimised objectives: members, dominance, hypervolume and knee.

Shapes: N points.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def dominates(points: ArrayLike, others: ArrayLike) -> NDArray[np.bool_]:
    """Whether each of the points (M, 2) dominates each of the others (N, 2): a mask (M, N).

    A point dominates another if it is greater in neither objective and less in one, so equal points do not.
    """
    first = np.asarray(points, dtype=np.float64).reshape(-1, 1, 2)
    second = np.asarray(others, dtype=np.float64).reshape(1, -1, 2)
    mask: NDArray[np.bool_] = np.logical_and(np.all(first <= second, axis=2), np.any(first < second, axis=2))
    return mask


def front_mask(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """Mask (N,) of the points on the front: those with finite y that no other dominates."""
    points = np.stack([np.asarray(x), np.asarray(y)], axis=1)
    mask: NDArray[np.bool_] = np.isfinite(points[:, 1]) & ~np.any(dominates(points, points), axis=0)
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
