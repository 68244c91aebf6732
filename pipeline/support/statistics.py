"""Means over seeds with their 95 % intervals, and the interval of the difference of two means.

What is averaged of perplexities is their logarithm, which is bits per character: a mean perplexity is geometric, and
its interval symmetric in the logarithm.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]

COVERAGE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over runs, and the 95 % interval of the mean; no interval where no seed was repeated."""

    mean: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """4.61 ± 0.05, where the second number is half of the interval."""
        return f"{self.mean:.2f}" if self.low is None or self.high is None else f"{self.mean:.2f} ± {self.half:.2f}"

    @property
    def half(self) -> float:
        """Half the width of the interval; 0 without one."""
        return 0.0 if self.low is None or self.high is None else (self.high - self.low) / 2


class Spread(NamedTuple):
    """Standard deviation among seeds, pooled over configurations; None where no seed was repeated."""

    deviation: float | None
    degrees_of_freedom: int


def pooled_spread(groups: Sequence[NDArray[np.float64]], cap: float = inf) -> Spread:
    """The spread within the groups; a group with a value at the cap says nothing of the spread of others."""
    usable = [group for group in groups if len(group) > 1 and group.max() < cap]
    degrees = sum(len(group) - 1 for group in usable)
    if not degrees:
        return Spread(None, 0)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in usable)
    return Spread((squares / degrees) ** 0.5, degrees)


def geometric_mean(values: Sequence[float]) -> float:
    """exp(mean of the logarithms), and of one value that value, to the last digit."""
    return values[0] if min(values) == max(values) else exp(sum(map(log, values)) / len(values))


def estimate(values: Sequence[float], *, logarithmic: bool = True, spread: Spread | None = None) -> Estimate:
    """The mean with Student's t interval: geometric and symmetric in the logarithm, or (logarithmic=False) arithmetic.

    ``spread`` is the standard deviation of one value (of its logarithm) where it is known from more than these values;
    otherwise it is theirs, and a single value has no interval.
    """
    mean = geometric_mean(values) if logarithmic else fmean(values)
    spread = spread or pooled_spread([np.log(values) if logarithmic else np.asarray(values, float)])
    if spread.deviation is None:
        return Estimate(mean, None, None)
    quantile = float(stdtrit(spread.degrees_of_freedom, (1 + COVERAGE) / 2))
    half = quantile * spread.deviation / len(values) ** 0.5
    if not logarithmic:
        return Estimate(mean, mean - half, mean + half)
    factor = exp(half) if half < log(np.finfo(float).max) else inf
    return Estimate(mean, mean / factor, mean * factor)


def welch(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """mean(first) - mean(second) with its 95 % interval by Welch's t-test; two numbers or more on both sides."""
    from scipy.stats import ttest_ind  # not at the top: it takes 0.3 s, and a worker that trains needs none of it

    difference = fmean(first) - fmean(second)
    if len({*first}) == len({*second}) == 1:
        return difference, difference, difference
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)  # where the values of one side are equal
        low, high = ttest_ind(first, second, equal_var=False).confidence_interval(COVERAGE)
    return difference, float(low), float(high)
