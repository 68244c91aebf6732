"""Means over seeds, over a text or over both, and differences of means, with confidence intervals, by default of 95 %.

Perplexities are averaged as logarithms, i.e. as bits per character: their mean is geometric, and its interval is
symmetric in the logarithm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, hypot, inf, log
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Side = Literal["ahead", "behind", "open"]

RESAMPLES = 2000  # of a bootstrap
COVERAGE = 0.95
POWER = 0.8  # the probability with which a detectable difference is found


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds or a text with its confidence interval; None where no spread is known."""

    mean: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """Format as 4.61 ± 0.05, the mean and half the width of the interval."""
        return f"{self.mean:.2f} ± {self.half:.2f}" if self.ends else f"{self.mean:.2f}"

    @property
    def ends(self) -> tuple[float, float] | None:
        """Both ends of the interval; None without one."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def half(self) -> float:
        """Half the width of the interval; 0 without one."""
        return (self.ends[1] - self.ends[0]) / 2 if self.ends else 0.0


class Spread(NamedTuple):
    """Standard deviation across seeds, pooled over configurations; None if no configuration has two seeds."""

    deviation: float | None
    degrees_of_freedom: int


def pooled_spread(groups: Sequence[NDArray[np.float64]]) -> Spread:
    """Pooled standard deviation within the groups; groups with an infinite value are left out."""
    usable = [group for group in groups if len(group) > 1 and np.max(group) < inf]
    degrees = sum(len(group) - 1 for group in usable)
    if not degrees:
        return Spread(None, 0)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in usable)
    return Spread((squares / degrees) ** 0.5, degrees)


def wider(known: Spread, groups: Sequence[NDArray[np.float64]], coverage: float = COVERAGE) -> Spread:
    """The spread with the wider interval: one that is ``known``, or from two degrees of freedom on that of groups."""
    own = pooled_spread(groups)
    spreads = [known, own] if own.degrees_of_freedom > 1 else [known]
    return max(spreads, key=lambda each: _quantile(each.degrees_of_freedom, coverage) * (each.deviation or 0.0))


def geometric_mean(values: Sequence[float]) -> float:
    """exp(mean of the logarithms); exact if all values are equal."""
    return values[0] if min(values) == max(values) else exp(sum(map(log, values)) / len(values))


def _quantile(degrees_of_freedom: float, coverage: float) -> float:
    """The t within which, on both sides of zero, this share of Student's distribution lies."""
    from scipy.special import stdtrit  # imported here: takes 0.2 s, and few commands need it

    return float(stdtrit(degrees_of_freedom, (1 + coverage) / 2))


def estimate(
    values: Sequence[float],
    *,
    logarithmic: bool = True,
    spread: Spread | None = None,
    of_next: bool = False,
    coverage: float = COVERAGE,
) -> Estimate:
    """The mean with Student's t interval: geometric (symmetric in the logarithm), or arithmetic (logarithmic=False).

    ``spread`` is the standard deviation of a single value (or of its logarithm) if it is known from further values. By
    default it is estimated from these values, and a single value has no interval. ``of_next``: the interval is that of
    one more value (a prediction interval), not of the mean.
    """
    mean = geometric_mean(values) if logarithmic else fmean(values)
    spread = spread or pooled_spread([np.log(values) if logarithmic else np.asarray(values, float)])
    if spread.deviation is None:
        return Estimate(mean)
    half = _quantile(spread.degrees_of_freedom, coverage) * spread.deviation * (1 / len(values) + of_next) ** 0.5
    if not logarithmic:
        return Estimate(mean, mean - half, mean + half)
    factor = exp(half) if half < log(np.finfo(float).max) else inf
    return Estimate(mean, mean / factor, mean * factor)


def difference(
    first: Sequence[float] | Floats, second: Sequence[float] | Floats, spread: Spread | None = None
) -> tuple[Estimate, float | None]:
    """mean(first) - mean(second) and its p-value (None where no spread is known) by Welch's t-test.

    The degrees of freedom are Welch and Satterthwaite's. If a sample has one value, or neither varies, ``spread`` is
    used as the standard deviation of a single value.
    """
    sides = [np.asarray(values, float) for values in (first, second)]
    mean = float(sides[0].mean() - sides[1].mean())
    variances = [float(side.var(ddof=1)) / len(side) if len(side) > 1 else 0.0 for side in sides]  # of the two means
    error = sum(variances) ** 0.5
    if min(map(len, sides)) > 1 and error > 0:
        degrees = error**4 / sum(each**2 / (len(side) - 1) for each, side in zip(variances, sides, strict=True))
    elif spread is not None and spread.deviation:
        error, degrees = spread.deviation * sum(1 / len(side) for side in sides) ** 0.5, spread.degrees_of_freedom
    else:
        return Estimate(mean), None
    from scipy.special import stdtr  # as in _quantile

    half = _quantile(degrees, COVERAGE) * error
    return Estimate(mean, mean - half, mean + half), 2 * float(stdtr(degrees, -abs(mean) / error))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for multiple testing, in the same order (Holm 1979, Scandinavian Journal of Statistics 6)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def jackknife(mean: float, leaving_out: Sequence[float], coverage: float = COVERAGE) -> Estimate:
    """A mean whose parts share seeds, from those ``leaving_out`` one seed each (Tukey 1958); three seeds at least."""
    seeds = len(leaving_out)
    if seeds < 3:
        return Estimate(mean)
    error = float(np.std(leaving_out)) * (seeds - 1) ** 0.5
    half = _quantile(seeds - 1, coverage) * error
    return Estimate(mean, mean - half, mean + half)


def block_bootstrap(values: Floats, block: int, coverage: float = COVERAGE) -> Estimate:
    """The mean of a series of dependent values, with its percentile interval by the block bootstrap.

    The series is cut into non-overlapping blocks of ``block`` values (Carlstein 1986); each resample is as many blocks,
    drawn with replacement. Applied to differences of two models on one text, it is a paired comparison. The last block
    may be shorter; a single block has no interval.
    """
    starts = np.arange(0, len(values), block)
    if len(starts) < 2:
        return Estimate(float(values.mean()))
    sums, sizes = np.add.reduceat(values, starts), np.diff(np.append(starts, len(values)))
    drawn = np.random.default_rng(0).integers(len(starts), size=(RESAMPLES, len(starts)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, [(1 - coverage) / 2, (1 + coverage) / 2])
    return Estimate(float(values.mean()), float(low), float(high))


@dataclass(frozen=True)
class PairedComparison:
    """The mean difference in cost of two models on one text, over its seeds, over blocks of the text, and over both.

    ``degrees_of_freedom`` are those of the spread of seeds.
    """

    over_seeds: Estimate
    over_text: Estimate
    over_both: Estimate
    degrees_of_freedom: int = 0

    @property
    def verdict(self) -> Side:
        """Whether the first model is ahead or behind; open if the interval over both includes zero or there is none."""
        ends = self.over_both.ends
        return "open" if ends is None or ends[0] <= 0 <= ends[1] else "behind" if ends[0] > 0 else "ahead"

    def detectable(self, coverage: float = COVERAGE) -> float:
        """Of models that are level, the smallest difference that would have been found with a probability of POWER.

        It is half the width of the interval, times 1 + t(80 %) / t(coverage), by the degrees of freedom of the seeds;
        0 where one is better, or without an interval.
        """
        if self.verdict != "open" or not (self.over_both.ends and self.degrees_of_freedom):
            return 0.0
        t = _quantile(self.degrees_of_freedom, 2 * POWER - 1) / _quantile(self.degrees_of_freedom, coverage)
        return self.over_both.half * (1 + t)


def paired(
    differences: Floats, block: int, spread: Spread | None = None, coverage: float = COVERAGE
) -> PairedComparison:
    """Compare two models by their differences in cost (S, N), of S seeds on N parts of the text.

    ``block`` is the number of parts that the bootstrap draws together; ``spread`` is that of a seed's mean if it is
    known from further seeds.
    """
    means = differences.mean(axis=1)
    spread = spread or pooled_spread([means])
    seeds = estimate(means.tolist(), logarithmic=False, spread=spread, coverage=coverage)
    text = block_bootstrap(differences.mean(axis=0), block, coverage)
    return over_seeds_and_text(seeds, text, spread.degrees_of_freedom)


def over_seeds_and_text(seeds: Estimate, text: Estimate, degrees_of_freedom: int) -> PairedComparison:
    """A comparison from a mean over seeds and the same over the text; without both intervals, it has no verdict.

    The squares of the distances from the mean to the ends add up (MOVER, Zou and Donner 2008, Statistics in Medicine
    27). Both sources contain the variance of their interaction, so the interval is slightly too wide (Owen 2007, Annals
    of Applied Statistics 1).
    """
    mean = seeds.mean
    if not (seeds.ends and text.ends):
        return PairedComparison(seeds, text, Estimate(mean), degrees_of_freedom)
    below, above = (hypot(one - mean, other - mean) for one, other in zip(seeds.ends, text.ends, strict=True))
    return PairedComparison(seeds, text, Estimate(mean, mean - below, mean + above), degrees_of_freedom)
