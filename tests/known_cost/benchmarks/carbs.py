"""CARBS, cost-aware Pareto-region Bayesian search (Fetterman et al. 2023, arXiv:2306.08055), as an Optuna sampler.

A local search around the Pareto front of performance and cost. Candidates are drawn from normal distributions of one
radius around the points of the front; the next trial is the one with the greatest product of

- its expected improvement over the front at its cost, or at a random cost if that is better, to try expensive ones too
- the density of the search, by its distance from the nearest point of the front, and its probability of success

Gaussian processes model performance, cost (CARBS has no cost function), failures, and the front as a function of the
cost. After every fifth success a point of the front is measured again. Running trials count as draws from the model.

Steps and constants are those of the authors' implementation (github.com/imbue-ai/carbs) with its defaults. What it
asks its user for follows its README: the search begins at a configuration of low cost; a unit of the search ("basic"
coordinates) is a decade of a logarithmic parameter and the range of any other, or more if a step of an integer would
exceed the radius. CARBS has no categories: here they are the corners of a simplex with edges of one radius.
"""

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState
from scipy.special import erfcx, ndtr
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, Matern
from sklearn.preprocessing import QuantileTransformer, minmax_scale

from pipeline.known_cost.space import CandidateSpace, Distribution

Array = NDArray[np.float64]
Point = tuple[float, ...]  # a value of each parameter, Optuna's internal ones
RADIUS, EXPLORATION_BIAS, CHEAPEST_PART = 0.3, 1.0, 0.2
RANDOM_TRIALS, RESAMPLE_EVERY, CANDIDATES = 4, 5, 100  # successes before the model; successes; points per parameter
NOISE = 0.01 + 1e-4  # the median of its prior, and the jitter
NARROW = (0.9, 1.1)  # the authors' 1,000 steps of Adam at a rate of 1e-4 move no hyperparameter further


def unit(range_: Any) -> float:
    """The unit of the search for a number that is not logarithmic."""
    return float(max(range_.high - range_.low, (range_.step or 0) / RADIUS))


class Group(NamedTuple):
    """All measurements of a configuration; higher scores are better."""

    point: Point
    cost: float
    scores: list[float]

    def mean(self) -> float:
        return sum(self.scores) / len(self.scores)


def pareto_front(groups: Sequence[Group], conservative: bool) -> list[Group]:
    """Find the front, the cheapest first: the best of the cheapest fifth, and what is better than all cheaper ones.

    On the conservative front, a configuration that was measured once has to beat every measurement of its predecessor.
    """
    limit = np.quantile([group.cost for group in groups for _ in group.scores], CHEAPEST_PART)
    cheap = [group for group in groups if group.cost <= limit]
    if conservative:
        cheap = [group for group in cheap if len(group.scores) > 1] or cheap
    front = [max(cheap, key=Group.mean)]
    for group in sorted((group for group in groups if group.cost > limit), key=lambda group: group.cost):
        is_single = conservative and len(group.scores) == 1
        if group.mean() > (max(front[-1].scores) if is_single else front[-1].mean()):
            front.append(group)
    return front


def fit(x: Array, y: Array, of_front: bool = False) -> GaussianProcessRegressor:
    """Fit a Gaussian process: a Matern 3/2 and a linear kernel, or for the front a squared exponential one."""
    kernel = ConstantKernel(1.0, NARROW) * RBF(1.0, NARROW)
    if not of_front:
        local = Matern(np.full(x.shape[1], RADIUS), (NARROW[0] * RADIUS, NARROW[1] * RADIUS), nu=1.5)
        kernel = ConstantKernel(1.0, NARROW) * local + ConstantKernel(1.0, NARROW) * DotProduct(0.0, "fixed")
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # at a bound
        return GaussianProcessRegressor(kernel, alpha=NOISE).fit(x, y)


def expected_improvement(mean: Array, deviation: Array, best: Array) -> Array:
    """Compute E[(Y - best - bias)+] of normal Y, without cancellation where it is small."""
    z = (mean - best - EXPLORATION_BIAS) / deviation
    density, low = np.exp(-z * z / 2) / math.sqrt(2 * math.pi), np.minimum(z, 0)
    small: Array = 1 + low * math.sqrt(math.pi / 2) * erfcx(-low / math.sqrt(2))
    return deviation * np.where(z < 0, density * small, density + z * ndtr(z))


class CarbsSampler(RandomSampler):
    """For a value (``worst``: of a failure) and the log of a cost, both to be small; trials begin around ``centre``."""

    def __init__(self, space: Mapping[str, Any], centre: Mapping[str, Any], worst: float, seed: int) -> None:
        super().__init__(seed)
        self.ranges: dict[str, Distribution] = dict(space)
        self.centre, self.worst, self.seed, self.resamples = self.internal(centre), worst, seed, 0

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self.ranges)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if "fixed_params" in trial.system_attrs:
            return {}
        groups: dict[Point, Group] = {}
        failed, running = [], []
        for other in study.get_trials(deepcopy=False)[: trial.number]:
            point = self.internal(other.params)
            if other.state == TrialState.RUNNING:
                running.append(point)
            elif other.values[0] >= self.worst:
                failed.append(point)
            else:
                groups.setdefault(point, Group(point, other.values[1], [])).scores.append(-other.values[0])
        chosen = self.choose([*groups.values()], failed, running, np.random.default_rng((self.seed, trial.number)))
        return CandidateSpace(self.ranges).external(np.array(chosen))

    def internal(self, params: Mapping[str, Any]) -> Point:
        """Convert the parameters of an objective to a point."""
        return tuple(float(range_.to_internal_repr(params[name])) for name, range_ in self.ranges.items())

    def choose(
        self, groups: list[Group], failed: list[Point], running: list[Point], random: np.random.Generator
    ) -> Point:
        """Choose a random point at first, then a point of the front to measure again, or the best candidate."""
        observed = [(group, score) for group in groups for score in group.scores]
        if len(observed) < RANDOM_TRIALS:
            return tuple(self.around([self.centre], 1, random)[0][0])
        if len(observed) > (self.resamples + 1) * RESAMPLE_EVERY:
            self.resamples += 1
            again = Counter(running)
            return min(pareto_front(groups, False), key=lambda group: len(group.scores) + again[group.point]).point

        x = self.basic([group.point for group, _ in observed])
        scores = np.array([[score] for _, score in observed])
        warp = QuantileTransformer(n_quantiles=math.isqrt(len(x)), output_distribution="normal").fit(scores)
        y, costs = warp.transform(scores)[:, 0], minmax_scale([group.cost for group, _ in observed], (-1, 1))
        front = pareto_front(groups, conservative=True)
        on_front = np.array([group in front for group, _ in observed])
        performance, cost = fit(x, y), fit(x, costs)
        curve = fit(costs[on_front, None], y[on_front], of_front=True)
        if running:
            drawn = performance.sample_y(self.basic(running), random_state=int(random.integers(2**31)))[:, 0]
            performance = fit(np.vstack([x, self.basic(running)]), np.append(y, drawn))
        points, density = self.around([group.point for group in front], CANDIDATES * len(self.ranges), random)
        basic, ends = self.basic(points), (costs[on_front].min(), costs[on_front].max())
        reached = curve.predict(np.clip(cost.predict(basic), *ends)[:, None])
        mean, deviation = performance.predict(basic, return_std=True)
        best = np.maximum(reached, curve.predict([[random.uniform(*ends)]]))
        gain = expected_improvement(mean, deviation, best) * density
        if failed:
            failing = fit(np.vstack([x, self.basic(failed)]), np.repeat([-1.0, 1.0], [len(x), len(failed)]))
            mean, deviation = failing.predict(basic, return_std=True)
            gain = gain * ndtr(-mean / deviation)
        return tuple(points[int(np.argmax(gain))])

    def around(self, centres: Sequence[Point], count: int, random: np.random.Generator) -> tuple[Array, Array]:
        """Draw points (N, parameters) around centres; also returns the density (N,) of the search at each draw."""
        origins, number = self.basic(centres), len(self.ranges)
        points, densities = np.empty((0, number)), np.empty(0)
        while len(points) < count:  # some are outside of the space
            near = origins[random.integers(len(origins), size=count * 2 ** (number // 2))]
            near += RADIUS * random.standard_normal(near.shape)
            found, is_valid = self.nearest(near)
            squares = np.sum((near[is_valid, None] - origins) ** 2, axis=2).min(axis=1)
            points = np.vstack([points, found[is_valid]])
            densities = np.append(densities, np.exp(-squares / (2 * RADIUS**2)))
        return points[:count], densities[:count]

    def basic(self, points: Sequence[Point] | Array) -> Array:
        """Coordinates of the search (N, one for a number and one for each choice of a category)."""
        columns = []
        for range_, values in zip(self.ranges.values(), np.array(points).T, strict=True):
            if isinstance(range_, CategoricalDistribution):
                columns += [(values == i) * RADIUS / math.sqrt(2) for i in range(len(range_.choices))]
            else:
                columns.append(np.log10(values) if range_.log else values / unit(range_))
        return np.stack(columns, axis=1)

    def nearest(self, basic: Array) -> tuple[Array, NDArray[np.bool_]]:
        """The points that are nearest to coordinates (N, ...), and which of them are in the space."""
        columns, rest, is_valid = [], [*basic.T], np.full(len(basic), True)
        for range_ in self.ranges.values():
            if isinstance(range_, CategoricalDistribution):
                values = np.argmax([rest.pop(0) for _ in range_.choices], axis=0).astype(float)
            else:
                values = 10 ** rest.pop(0) if range_.log else rest.pop(0) * unit(range_)
                if range_.step:
                    values = np.round((values - range_.low) / range_.step) * range_.step + range_.low
                is_valid &= (range_.low <= values) & (values <= range_.high)
            columns.append(values)
        return np.stack(columns, axis=1), is_valid
