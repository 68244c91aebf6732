"""A search space in unit coordinates, and the candidates drawn from it."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

Array = NDArray[np.float64]

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution

LARGEST_ENUMERATION = 8192  # in a space with at most this many points, each is a candidate
SOBOL_POINTS = 4096  # candidates in a larger space, a power of two


@dataclass(frozen=True)
class CandidateSpace:
    """A search space; points are rows of Optuna's internal values (for a category its index), in the order of names."""

    ranges: dict[str, Distribution]

    def size(self) -> float:
        """The number of points; infinite with a continuous parameter."""
        return math.prod(_size(range_) for range_ in self.ranges.values())

    def enumerate(self) -> Array:
        """Every point (N, D) of a finite space."""
        return np.array(list(product(*(_grid(range_) for range_ in self.ranges.values()))), dtype=float)

    def from_unit(self, unit: Array) -> Array:
        """Points (N, D) from unit coordinates; each value of a finite range has an equal part of [0, 1]."""
        return np.column_stack([_from_unit(range_, unit[:, i]) for i, range_ in enumerate(self.ranges.values())])

    def to_unit(self, points: Array) -> Array:
        """Unit coordinates (N, D) of points: numbers in [0, 1], log-scaled if the range is; category indices."""
        return np.column_stack([_to_unit(range_, points[:, i]) for i, range_ in enumerate(self.ranges.values())])

    def categorical(self) -> NDArray[np.bool_]:
        """Mask (D,) of the categorical parameters."""
        return np.array([isinstance(range_, CategoricalDistribution) for range_ in self.ranges.values()])

    def external(self, point: Iterable[float]) -> dict[str, Any]:
        """Convert a point to parameters, as an objective gets them."""
        return {
            name: range_.to_external_repr(float(x))
            for (name, range_), x in zip(self.ranges.items(), point, strict=True)
        }


def _size(range_: Distribution) -> float:
    if isinstance(range_, CategoricalDistribution):
        return len(range_.choices)
    if range_.single():
        return 1
    return math.inf if range_.step is None else round((range_.high - range_.low) / range_.step) + 1


def _grid(range_: Distribution) -> Array:
    if isinstance(range_, CategoricalDistribution):
        return np.arange(len(range_.choices), dtype=float)
    values = np.arange(_size(range_)) * (range_.step or 0.0) + range_.low
    return np.minimum(values, range_.high)  # 3 * 0.1 > 0.3, which Optuna rejects


def _from_unit(range_: Distribution, unit: Array) -> Array:
    if isinstance(range_, CategoricalDistribution):
        return np.minimum(np.floor(unit * len(range_.choices)), len(range_.choices) - 1)
    half = 0.5 * (range_.step or 0.0)
    low, high = range_.low - half, range_.high + half
    values = np.exp(np.log(low) + unit * (np.log(high) - np.log(low))) if range_.log else low + unit * (high - low)
    if range_.step is not None:  # rounded as Optuna does, so that equal values are equal floats
        values = np.round((values - range_.low) / range_.step) * range_.step + range_.low
    return np.clip(values, range_.low, range_.high)


def _to_unit(range_: Distribution, values: Array) -> Array:
    if isinstance(range_, CategoricalDistribution):
        return values
    if range_.single():
        return np.zeros(len(values))
    low, high = float(range_.low), float(range_.high)
    if range_.log:
        return (np.log(values) - math.log(low)) / (math.log(high) - math.log(low))
    return (values - low) / (high - low)


def internal_value(range_: Distribution, params: Mapping[str, Any], name: str) -> float | None:
    """Optuna's internal value of a parameter; None if it is missing or outside the range."""
    try:
        value = float(range_.to_internal_repr(params[name]))
    except (KeyError, ValueError):  # not given; an unknown category
        return None
    return value if range_._contains(value) else None
