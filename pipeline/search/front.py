"""Pareto fronts of two minimised objectives: members, hypervolume, knee, estimates over seeds, and the picks.

Shapes: N points; "..." any leading dimensions, such as posterior draws of y that share x.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log, log10
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.support.statistics import COVERAGE, Estimate, Floats, Spread, estimate, geometric_mean, pooled_spread


def front_mask(x: ArrayLike, y: ArrayLike) -> NDArray[np.bool_]:
    """Mask of the points on the front: x (N,), y (..., N) -> (..., N).

    A point is dominated by another that is no greater in either objective and less in one. Equal points don't dominate
    each other: both are on the front, or neither is.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if not x.size:
        return np.zeros(y.shape, dtype=np.bool_)
    order = np.argsort(x, kind="stable")
    x, sorted_y = x[order], y[..., order]
    lowest = np.minimum.accumulate(sorted_y, axis=-1)
    with_inf = np.concatenate([np.full((*y.shape[:-1], 1), np.inf), lowest], axis=-1)
    below = with_inf[..., np.searchsorted(x, x, side="left")]  # the lowest y among smaller x
    level = lowest[..., np.searchsorted(x, x, side="right") - 1]  # the lowest y among x that are no greater
    mask = np.empty(y.shape, dtype=np.bool_)
    mask[..., order] = (sorted_y < below) & (sorted_y <= level)
    return mask


def dominated_area(x: ArrayLike, y: ArrayLike, reference: tuple[float, float]) -> Floats:
    """The area that the points dominate within the reference point: x (N,), y (..., N) -> (...).

    The hypervolume of two objectives (Zitzler & Thiele 1998, doi:10.1007/BFb0056872), computed exactly: the sum of one
    rectangle for each step of the lowest y so far. Points beyond the reference add nothing.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    order = np.argsort(x, kind="stable")
    x = np.minimum(x[order], reference[0])
    height = np.maximum(reference[1] - np.minimum.accumulate(y[..., order], axis=-1), 0.0)
    area: Floats = (height * np.diff(x, append=reference[0])).sum(axis=-1)
    return area


def hypervolume(points: ArrayLike, reference: tuple[float, float]) -> float:
    """The area that the points (N, 2) dominate within the reference point; 0 without points."""
    points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return float(dominated_area(points[:, 0], points[:, 1], reference))


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


WITHIN = 0.05  # the pick "small" may be worse than the best perplexity by this share
POSTERIOR_DRAWS = 10_000
NOISY = 0.01  # standard deviation of log perplexity among seeds above which the hypervolume's interval is too narrow
SURE = 0.9  # if the best is on the front with a lower probability, its sentence says so

# --- configurations and their runs -----------------------------------------------------------------------------------


class Trial(NamedTuple):
    """A trial as the figures show it; the MACs of a failed trial are known too."""

    cell: str
    macs_per_char: int
    val_perplexity: float | None  # None: it failed


@dataclass(frozen=True)
class Candidate:
    """A configuration and its runs, which differ in their seed alone.

    ``val_perplexities`` has one value for each of ``run_ids``, at least one; a run that diverged has infinity, which
    counts as the uniform perplexity. ``test_perplexities`` may be empty, and so may ``ms_per_char``, the milliseconds
    to generate a character, which only figures show. ``ngram_entries`` is the number of stored n-grams of a model on
    top of n-grams.
    """

    name: str
    cell: str
    num_layers: int
    hidden_size: int
    macs_per_char: int
    parameters: int
    run_ids: tuple[str, ...]
    val_perplexities: tuple[float, ...]
    test_perplexities: tuple[float, ...] = ()
    ms_per_char: tuple[float, ...] = ()
    ngram_entries: int = 0

    @property
    def label(self) -> str:
        """The name in figures, such as lstm 1x64."""
        return f"{self.cell} {self.num_layers}x{self.hidden_size}"

    @property
    def stored_numbers(self) -> int:
        """Parameters and stored n-grams."""
        return self.parameters + self.ngram_entries

    @property
    def mean_val_perplexity(self) -> float:
        """The geometric mean over the runs; infinite if one of them diverged."""
        return geometric_mean(self.val_perplexities)

    @property
    def run_id(self) -> str:
        """The run to use: the one with the lowest validation perplexity; of equal ones, the first.

        All runs of a configuration cost the same. Reported figures are means over all of them, so they do not profit
        from this choice.
        """
        return self.run_ids[int(np.argmin(self.val_perplexities))]


@dataclass(frozen=True)
class FrontPoint:
    """An evaluated candidate.

    ``on_front`` is by the means over seeds; ``probability`` is that of being on the front, None if no candidate has
    several seeds.
    """

    candidate: Candidate
    val: Estimate
    test: Estimate | None
    probability: float | None
    on_front: bool

    @property
    def seeds(self) -> int:
        """The number of runs, each with its own seed."""
        return len(self.candidate.run_ids)


@dataclass(frozen=True)
class FrontEstimate:
    """All candidates, ordered by MACs, with the area that they dominate and the spread among seeds.

    ``reference`` is (perplexity, MACs per character). ``hypervolume`` is that of the means, in perplexity times decades
    of MACs. Its 95 % interval, None if no candidate has several seeds, covers the spread among seeds but not the
    selection of the members by these same runs, which favours lucky ones: in 100 simulated searches it contained the
    true area 92 times where seeds differ by 0.75 %, 85 times at 1.5 % and 53 times at 3 %. ``spread`` is that of log
    perplexity among the seeds of one configuration, pooled over the candidates.
    """

    points: tuple[FrontPoint, ...]
    reference: tuple[float, float]
    hypervolume: Estimate
    spread: Spread

    @cached_property
    def front(self) -> tuple[FrontPoint, ...]:
        """The points on the front, by the means."""
        return tuple(point for point in self.points if point.on_front)


def evaluate_front(
    candidates: Sequence[Candidate], reference: tuple[float, float], draws: int = POSTERIOR_DRAWS, seed: int = 0
) -> FrontEstimate:
    """Evaluate the candidates: means, intervals, probabilities and hypervolume. Deterministic for a given seed.

    ``reference`` is (the uniform perplexity, the largest MACs per character of the space); larger perplexities count as
    the uniform one. Probabilities and the interval of the hypervolume are from draws of the true means' posterior under
    the prior p(mean, deviation) ~ 1 / deviation (Gelman et al., Bayesian Data Analysis, section 3.2, with a deviation
    that all candidates share):

    deviation'^2 = deviation^2 degrees / chi^2(degrees);  mean'_i ~ Normal(mean_i, deviation'^2 / size_i)
    """
    candidates = sorted(candidates, key=lambda c: (c.macs_per_char, c.mean_val_perplexity, c.name))
    if not candidates:
        return FrontEstimate((), reference, Estimate(0.0), Spread(None, 0))
    cap = log(reference[0])
    val = [[min(value, reference[0]) for value in c.val_perplexities] for c in candidates]
    test = [[min(value, reference[0]) for value in c.test_perplexities] for c in candidates]
    logs = [np.log(values) for values in val]
    spread, test_spread = pooled_spread(logs, cap), pooled_spread([np.log(values) for values in test], cap)
    macs = np.log10([c.macs_per_char for c in candidates])
    corner = (log10(reference[1]), reference[0])
    means = np.array([geometric_mean(values) for values in val])
    on_front = front_mask(macs, means)
    probabilities: list[float | None] = [None] * len(candidates)
    low = high = None
    if spread.deviation is not None:
        rng, degrees = np.random.default_rng(seed), spread.degrees_of_freedom
        deviations = spread.deviation * np.sqrt(degrees / rng.chisquare(degrees, draws))
        standard_errors = deviations[:, None] / np.sqrt([len(group) for group in logs])
        drawn = np.array([group.mean() for group in logs])
        drawn = drawn + standard_errors * rng.standard_normal((draws, len(logs)))
        probabilities = front_mask(macs, drawn).mean(axis=0).tolist()
        # only the front's members: the luckiest of many candidates with one run would enlarge the area of each draw
        areas = dominated_area(macs[on_front], np.exp(np.clip(drawn[:, on_front], 0.0, cap)), corner)
        low, high = np.quantile(areas, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]).tolist()
    points = tuple(
        FrontPoint(
            candidate,
            estimate(val[i], spread=spread),
            estimate(test[i], spread=test_spread) if len(test[i]) else None,
            probabilities[i],
            bool(on_front[i]),
        )
        for i, candidate in enumerate(candidates)
    )
    area = Estimate(float(dominated_area(macs, means, corner)), low, high)
    return FrontEstimate(points, reference, area, spread)


def hypervolume_by_trial(trials: Sequence[Trial], reference: tuple[float, float]) -> list[float]:
    """The hypervolume after each trial, in perplexity times decades of MACs; a failed trial adds nothing.

    ``reference`` is (perplexity, MACs per character).
    """
    points = [(log10(trial.macs_per_char), trial.val_perplexity or reference[0]) for trial in trials]
    corner = (log10(reference[1]), reference[0])
    return [hypervolume(points[: number + 1], corner) for number in range(len(points))]


# --- picks -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pick:
    """A member of the front, and a sentence that justifies the pick with its numbers."""

    point: FrontPoint
    sentence: str

    @property
    def run_id(self) -> str:
        """The run to use."""
        return self.point.candidate.run_id


def described(point: FrontPoint) -> str:
    """Describe a member: gru-1x64 (41,820 MACs per character, validation perplexity 4.61 ± 0.05 over 3 seeds, ...)."""
    seeds = f"over {point.seeds} seeds" if point.seeds > 1 else "with one seed"
    test = f", test {point.test}" if point.test else ""
    macs = f"{point.candidate.macs_per_char:,} MACs per character"
    return f"{point.candidate.name} ({macs}, validation perplexity {point.val} {seeds}{test})"


def _costlier(point: FrontPoint, other: FrontPoint, name: str = "") -> str:
    """Compare a member of the front with a costlier one: by how much its MACs rise and its perplexity falls."""
    times = other.candidate.macs_per_char / point.candidate.macs_per_char
    less = 100 * (1 - other.val.mean / point.val.mean)
    factor = f"{times:.3g}" if times < 100 else f"{times:,.0f}"
    return f"{name or other.candidate.name} needs {factor} times as many MACs for {less:.2g} % less perplexity"


def picks(evaluated: FrontEstimate) -> dict[str, Pick]:
    """Pick members of the front: small, knee and best, in this order; empty without a front.

    ``small`` has the fewest MACs among those within 5 % of the best mean validation perplexity, ``knee`` lies furthest
    below the chord of the front in (log10 MACs, log perplexity), and ``best`` has the lowest mean validation
    perplexity. One member may be picked several times.
    """
    front = evaluated.front
    if not front:
        return {}
    best = min(front, key=lambda point: point.val.mean)  # the first of equals, which has the fewest MACs
    small = next(point for point in front if point.val.mean <= (1 + WITHIN) * best.val.mean)
    bend = front[knee([(log10(point.candidate.macs_per_char), log(point.val.mean)) for point in front])]
    first = front[0]
    percent = f"{100 * WITHIN:.0f} %"

    if small is best:
        sentence = f"{described(small)} is the best, and nothing smaller is within {percent} of it."
    else:
        sentence = f"{described(small)} is the smallest within {percent} of the best; {_costlier(small, best)}."
    chosen = {"small": Pick(small, sentence)}

    sentence = f"{described(bend)} is the knee"
    if len(front) == 1:
        sentence += ": the front has no other"
    elif bend is first:
        sentence += ": the smallest, as nothing lies below the chord of the front"
    else:
        sentence += f": {_costlier(first, bend, 'it')} than {first.candidate.name}"
    if bend is not best:
        sentence += f"; {_costlier(bend, best)}"
    chosen["knee"] = Pick(bend, sentence + ".")

    sentence = f"{described(best)} has the lowest validation perplexity of "
    sentence += f"{len(evaluated.points)} configurations" if len(evaluated.points) > 1 else "one configuration"
    if best.probability is not None and best.probability < SURE:
        sentence += (
            f", but is on the front with probability {best.probability:.2f} only: the seeds leave open which is best"
        )
    chosen["best"] = Pick(best, sentence + ".")
    return chosen
