"""Fronts of two objectives, both minimised: who is on them, the area that they dominate, and their knee.

Shapes: N points, ... any number of draws of them that share x.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def _finite(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("a front is made of finite numbers")
    return array


def _pairs(points: ArrayLike) -> Floats:
    return _finite(points).reshape(-1, 2)


def front_mask(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """Who is on the front: x (N,), y (..., N) -> mask (..., N).

    A point is dominated by one that is nowhere greater and somewhere less. So equal points don't dominate each other:
    both are on the front, or neither is.
    """
    x, y = _finite(x), _finite(y)
    if not x.size:
        return np.zeros(y.shape, dtype=np.bool_)
    order = np.argsort(x, kind="stable")
    x, sorted_y = x[order], y[..., order]
    lowest = np.minimum.accumulate(sorted_y, axis=-1)
    with_inf = np.concatenate([np.full((*y.shape[:-1], 1), np.inf), lowest], axis=-1)
    below = with_inf[..., np.searchsorted(x, x, side="left")]  # the lowest y of a smaller x
    level = lowest[..., np.searchsorted(x, x, side="right") - 1]  # and of one that is no greater
    mask = np.empty(y.shape, dtype=np.bool_)
    mask[..., order] = (sorted_y < below) & (sorted_y <= level)
    return mask


def dominated_area(x: ArrayLike, y: ArrayLike, reference: tuple[float, float]) -> Floats:
    """The area between the points and the reference that some point dominates: x (N,), y (..., N) -> (...).

    The hypervolume of two objectives (Zitzler & Thiele 1998, doi:10.1007/BFb0056872), exact: under the staircase of the
    lowest y so far, a rectangle for each step. Points beyond the reference add nothing.
    """
    x, y = _finite(x), _finite(y)
    order = np.argsort(x, kind="stable")
    x = np.minimum(x[order], reference[0])
    height = np.maximum(reference[1] - np.minimum.accumulate(y[..., order], axis=-1), 0.0)
    area: Floats = (height * np.diff(x, append=reference[0])).sum(axis=-1)
    return area


def hypervolume(points: ArrayLike, reference: tuple[float, float]) -> float:
    """The area that the points (N, 2) dominate within the reference point; 0 for none."""
    points = _pairs(points)
    return float(dominated_area(points[:, 0], points[:, 1], reference))


def knee(points: ArrayLike) -> int:
    """Where a front bends most: the index of the point of (N, 2) that lies furthest below the chord of its two ends.

    Distances are taken after both coordinates are scaled to [0, 1] between the ends (Das 1999, doi:10.1007/BF01195985;
    Satopaa et al. 2011, "Finding a 'Kneedle' in a Haystack", doi:10.1109/ICDCSW.2011.20). The ends lie on the chord:
    where nothing lies below it, as in a front of two, the answer is the end of the lowest x.
    """
    points = _pairs(points)
    if not len(points):
        raise ValueError("a front without points has no knee")
    span = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0, span, 1.0)
    below = np.round(1.0 - scaled.sum(axis=1), 12)  # rounded: the ends are to be level, and not to win by 1e-17
    return int(np.lexsort((points[:, 0], -below))[0])
