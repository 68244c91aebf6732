"""An Optuna sampler for two objectives of which one, the cost, is a known function of the parameters.

Of the two objectives only the unknown one (the quality: expensive, noisy) is modelled; the cost of every candidate is
computed. The next trial is the candidate whose expected hypervolume improvement, times its chance of not failing, is
greatest. It imports Optuna, NumPy and SciPy and nothing of this project: copy it, or see docs/known-cost-sampler.md.

Shapes: N candidates, M observed points, D inputs of the model, S draws, F segments of a front.

Sources: expected hypervolume improvement, Emmerich et al. 2006 (doi:10.1109/TEVC.2005.859463); under noise, averaged
over draws of the values at the observed points, Letham et al. 2019 (arXiv:1706.07094) and Daulton et al. 2021
(arXiv:2105.08195); an objective known exactly is BoTorch's GenericDeterministicModel.
"""

import math
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import expit, ndtr
from scipy.stats import qmc

Array = NDArray[np.float64]
Range = CategoricalDistribution | FloatDistribution | IntDistribution

PROPOSED_BY = "known_cost:proposed_by"  # system attribute of a trial: "startup", "model" or "random"
PROPOSAL = "known_cost:proposal"  # system attribute: the proposal in Optuna's internal representation, {name: number}

LARGEST_ENUMERATION = 8192  # a finite space up to this size is tried whole
SOBOL_POINTS = 4096  # candidates of any other space, a power of two
LOCAL_WIDTHS, LOCAL_CENTRES, LOCAL_POINTS = (0.1, 0.03), 5, 50  # then rounds of points around the best of those
SHORTLIST = 512  # of the candidates, by a quick estimate, that are judged thoroughly
DRAWS = 32  # of the values at the observed points


# The space ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Space:
    """A search space; a point is a row of Optuna's internal values (a category's index), in the order of the names."""

    ranges: dict[str, Range]

    def size(self) -> float:
        """Number of points; infinite with a continuous parameter."""
        return math.prod(_size(range_) for range_ in self.ranges.values())

    def enumerate(self) -> Array:
        """Every point (N, D) of a finite space."""
        return np.array(list(product(*(_grid(range_) for range_ in self.ranges.values()))), dtype=float)

    def from_unit(self, unit: Array) -> Array:
        """Points (N, D) of numbers in [0, 1]; equal parts of the unit interval for every value of a finite range."""
        columns = [_from_unit(range_, unit[:, i]) for i, range_ in enumerate(self.ranges.values())]
        return np.column_stack(columns)

    def to_unit(self, points: Array) -> Array:
        """Inputs (N, D) of the model: numbers in [0, 1], log where the range is; a category stays its index."""
        columns = [_to_unit(range_, points[:, i]) for i, range_ in enumerate(self.ranges.values())]
        return np.column_stack(columns)

    def categorical(self) -> NDArray[np.bool_]:
        """Which of the D inputs are categories."""
        return np.array([isinstance(range_, CategoricalDistribution) for range_ in self.ranges.values()])

    def external(self, point: Array) -> dict[str, Any]:
        """The parameters as an objective sees them."""
        return {
            name: range_.to_external_repr(float(x))
            for (name, range_), x in zip(self.ranges.items(), point, strict=True)
        }

    def internal(self, params: Mapping[str, Any]) -> Array:
        """The point of an objective's parameters."""
        return np.array([range_.to_internal_repr(params[name]) for name, range_ in self.ranges.items()])

    def pinned(self, points: Array, fixed: Mapping[str, float]) -> Array:
        """The points (N, D) with these values, internal ones, in place of their own."""
        points = points.copy()
        for i, name in enumerate(self.ranges):
            if name in fixed:
                points[:, i] = fixed[name]
        return points


def _size(range_: Range) -> float:
    if isinstance(range_, CategoricalDistribution):
        return len(range_.choices)
    if range_.single():
        return 1
    return math.inf if range_.step is None else round((range_.high - range_.low) / range_.step) + 1


def _grid(range_: Range) -> Array:
    if isinstance(range_, CategoricalDistribution):
        return np.arange(len(range_.choices), dtype=float)
    if range_.single():
        return np.array([range_.low], dtype=float)
    assert range_.step is not None
    values = np.arange(_size(range_)) * range_.step + range_.low
    return np.minimum(values, range_.high)  # 3 * 0.1 > 0.3, which Optuna would not take for a value of the range


def _from_unit(range_: Range, unit: Array) -> Array:
    if isinstance(range_, CategoricalDistribution):
        return np.minimum(np.floor(unit * len(range_.choices)), len(range_.choices) - 1)
    if range_.single():
        return np.full(len(unit), float(range_.low))
    half = 0.5 * (range_.step or 0.0)
    low, high = range_.low - half, range_.high + half
    values = np.exp(np.log(low) + unit * (np.log(high) - np.log(low))) if range_.log else low + unit * (high - low)
    if range_.step is not None:  # as Optuna rounds, so that equal values are equal numbers
        values = np.round((values - range_.low) / range_.step) * range_.step + range_.low
    return np.clip(values, range_.low, range_.high)


def _to_unit(range_: Range, values: Array) -> Array:
    if isinstance(range_, CategoricalDistribution):
        return values
    if range_.single():
        return np.zeros(len(values))
    low, high = float(range_.low), float(range_.high)
    if range_.log:
        return (np.log(values) - math.log(low)) / (math.log(high) - math.log(low))
    return (values - low) / (high - low)


# The model of the unknown objective -----------------------------------------------------------------------------------

LOG_SCALE_PRIOR = (math.log(0.7), 0.8)  # of length scales, mean and standard deviation
LOG_SIGNAL_PRIOR = (math.log(0.5), 1.0)  # of the variances, where the values have variance 1
LOG_TREND_PRIOR = (math.log(1.0), 1.0)
LOG_NOISE_PRIOR = (math.log(0.01), 1.5)
OFFSET_VARIANCE = 1.0
MANY_VALUES = 100  # more of them decide by themselves, and from one start
STARTS = (0.0, -1.0, 1.0)  # of the search for the hyperparameters, in standard deviations of the length scales


@dataclass(frozen=True)
class Kernel:
    """A constant, a linear trend in the last input (the cost) and a Matern 5/2 over all: covariance of x and x'.

    k = offset + trend c c' + signal (1 + s + s^2 / 3) exp(-s),  s = sqrt(5) r,  r^2 = sum_i distance_i^2 / scale_i^2
    with the distance of two categories 0 or 1, and c the cost in [-1, 1].
    """

    theta: Array  # logarithms of D scales, signal, trend, noise variance
    categorical: NDArray[np.bool_]

    def __call__(self, a: Array, b: Array) -> Array:
        """Covariance (len(a), len(b)) without noise."""
        signal, trend, _ = np.exp(self.theta[-3:])
        scaled = squared_distances(a, b, self.categorical) @ np.exp(-2 * self.theta[:-3])
        linear = np.outer(2 * a[:, -1] - 1, 2 * b[:, -1] - 1)
        covariance: Array = OFFSET_VARIANCE + trend * linear + signal * matern(np.sqrt(5 * scaled))
        return covariance

    def variance(self, a: Array) -> Array:
        """The diagonal of self(a, a)."""
        signal, trend, _ = np.exp(self.theta[-3:])
        variance: Array = OFFSET_VARIANCE + trend * (2 * a[:, -1] - 1) ** 2 + signal
        return variance

    @property
    def noise(self) -> float:
        """Variance of the noise."""
        return float(np.exp(self.theta[-1]))


def matern(s: Array) -> Array:
    """Matern's correlation of smoothness 5/2 at distance s / sqrt(5) in length scales."""
    correlation: Array = (1 + s + s * s / 3) * np.exp(-s)
    return correlation


def squared_distances(a: Array, b: Array, categorical: NDArray[np.bool_]) -> Array:
    """Squared distance per input, (len(a), len(b), D)."""
    difference = a[:, None, :] - b[None, :, :]
    return np.where(categorical, (difference != 0).astype(float), difference * difference)


def _priors(inputs: int) -> tuple[Array, Array]:
    rows = [LOG_SCALE_PRIOR] * inputs + [LOG_SIGNAL_PRIOR, LOG_TREND_PRIOR, LOG_NOISE_PRIOR]
    mean, deviation = np.array(rows).T
    return mean, deviation


def negative_log_posterior(
    theta: Array, distances: Array, cost: Array, y: Array, jitter: float = 1e-8
) -> tuple[float, Array]:
    """Minus the log of likelihood times prior of the hyperparameters, and its gradient; y has mean 0, variance 1."""
    mean, deviation = _priors(distances.shape[-1])
    inverse_squares = np.exp(-2 * theta[:-3])
    signal, trend, noise = np.exp(theta[-3:])
    s = np.sqrt(5 * (distances @ inverse_squares))
    local = signal * matern(s)
    linear = trend * np.outer(cost, cost)
    covariance = OFFSET_VARIANCE + linear + local
    covariance[np.diag_indices_from(covariance)] += noise + jitter
    lower = cholesky(covariance, lower=True)
    alpha = cho_solve((lower, True), y)
    inverse = cho_solve((lower, True), np.eye(len(y)))
    outer = inverse - np.outer(alpha, alpha)
    slope = signal * 5 / 3 * (1 + s) * np.exp(-s)  # d local / d(log scale_i) = slope distance_i / scale_i^2
    gradient = np.empty_like(theta)
    gradient[:-3] = 0.5 * np.einsum("ij,ijd->d", outer * slope, distances) * inverse_squares
    gradient[-3] = 0.5 * np.sum(outer * local)
    gradient[-2] = 0.5 * np.sum(outer * linear)
    gradient[-1] = 0.5 * noise * np.trace(outer)
    value = 0.5 * y @ alpha + np.log(np.diag(lower)).sum()
    pull = (theta - mean) / deviation
    return float(value + 0.5 * pull @ pull), gradient + pull / deviation


class GaussianProcess:
    """Gaussian process over inputs (M, D), of which the last is the cost in [0, 1], with its noise fitted."""

    def __init__(self, x: Array, y: Array, categorical: NDArray[np.bool_], theta: Array | None = None) -> None:
        self.x = x
        self.centre = float(np.mean(y))
        self.spread = float(np.std(y)) or 1.0
        self.y = (y - self.centre) / self.spread
        self.kernel = Kernel(self._fit(categorical) if theta is None else theta, categorical)
        covariance = self.kernel(x, x)
        covariance[np.diag_indices_from(covariance)] += self.kernel.noise + 1e-8
        self.lower = cholesky(covariance, lower=True)
        self.alpha = cho_solve((self.lower, True), self.y)

    def _fit(self, categorical: NDArray[np.bool_]) -> Array:
        distances = squared_distances(self.x, self.x, categorical)
        cost = 2 * self.x[:, -1] - 1
        mean, deviation = _priors(self.x.shape[1])
        bounds = list(zip(mean - 4 * deviation, mean + 4 * deviation, strict=True))
        best: tuple[float, Array] = (math.inf, mean)
        for start in STARTS if len(self.y) <= MANY_VALUES else STARTS[:1]:
            theta = mean.copy()
            theta[:-3] += start * deviation[:-3]
            found = minimize(
                negative_log_posterior,
                theta,
                args=(distances, cost, self.y),
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"maxiter": 100},
            )
            best = min(best, (float(found.fun), found.x), key=lambda pair: pair[0])
        return best[1]

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (N,) of the values without noise."""
        cross = self.kernel(x, self.x)
        mean = cross @ self.alpha
        half = solve_triangular(self.lower, cross.T, lower=True)
        variance = np.maximum(self.kernel.variance(x) - np.sum(half * half, axis=0), 1e-12)
        return self.centre + self.spread * mean, self.spread * np.sqrt(variance)

    def draw(self, at: Array, x: Array, normals: Array) -> tuple[Array, Array, Array]:
        """Draws of the noise-free values at points (M', D), then the model of x given those values.

        normals (S, M') -> draws (S, M'), means at x (S, N), standard deviation at x (N,).
        """
        cross = self.kernel(at, self.x)
        half = solve_triangular(self.lower, cross.T, lower=True)
        prior = self.kernel(at, at)
        posterior = prior - half.T @ half
        jitter = 1e-6 * (1 + np.trace(prior) / len(at))
        eye = np.eye(len(at))
        draws = cross @ self.alpha + normals @ cholesky(posterior + jitter * eye, lower=True).T
        lower = cholesky(prior + 2 * jitter * eye, lower=True)
        to_x = self.kernel(x, at)
        means = cho_solve((lower, True), draws.T).T @ to_x.T
        half = solve_triangular(lower, to_x.T, lower=True)
        variance = np.maximum(self.kernel.variance(x) - np.sum(half * half, axis=0), 1e-12)
        scale = self.spread
        return self.centre + scale * draws, self.centre + scale * means, scale * np.sqrt(variance)


def winsorised(losses: Array, price: Array) -> Array:
    """Losses (M,) with the far too large ones lowered to a fence: a bad trial should not bend the model elsewhere.

    The fence lies as far above the median as the least loss lies below it, or at the loss of the cheapest trial, if
    that is more: only above it is a value sure to be useless.
    """
    median, cheapest = float(np.median(losses)), losses[price == price.min()].min()
    fenced: Array = np.minimum(losses, max(cheapest, 2 * median - losses.min()))
    return fenced


# The expected hypervolume improvement ---------------------------------------------------------------------------------


def expected_shortfall(level: Array, mean: Array, std: Array, log: bool, sign: float) -> Array:
    """E[(level - Y)+] where sign Y or, with ``log``, sign log Y is normal with that mean and standard deviation.

    The unknown objective is smaller-is-better as the model sees it; with sign -1 the objective itself is maximised and
    the improvement is Y - level. ``level`` is in the model's units too; the result is in the objective's.
    """
    z = (level - mean) / std
    if not log:
        improvement: Array = (level - mean) * ndtr(z) + std * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    elif sign > 0:
        improvement = np.exp(level) * ndtr(z) - np.exp(mean + 0.5 * std * std) * ndtr(z - std)
    else:
        improvement = np.exp(-mean + 0.5 * std * std) * ndtr(z + std) - np.exp(-level) * ndtr(z)
    return np.maximum(improvement, 0.0)


def front_segments(cost: Array, value: Array, worst: float, cost_limit: float) -> tuple[Array, Array]:
    """The front as a staircase: where its F segments begin and end (F + 1,), and the best value on each (F,)."""
    edges, levels = [-math.inf], [worst]
    for i in np.lexsort((value, cost)):
        if value[i] < levels[-1] and cost[i] < cost_limit:
            edges.append(cost[i])
            levels.append(value[i])
    return np.array([*edges, cost_limit]), np.array(levels)


def expected_hypervolume_improvement(
    cost: Array, mean: Array, std: Array, edges: Array, levels: Array, log: bool, sign: float
) -> Array:
    """Area (N,) that a candidate of that known cost and normal value adds below and to the right of it.

    integral over t from cost to the limit of E[(front(t) - Y)+] dt, the front being constant on each segment.
    """
    widths = np.maximum(edges[None, 1:] - np.maximum(edges[None, :-1], cost[:, None]), 0.0)
    gains = expected_shortfall(levels[None, :], mean[:, None], std[:, None], log, sign)
    area: Array = np.sum(np.where(widths > 0, widths * gains, 0.0), axis=1)
    return area


# Failures -------------------------------------------------------------------------------------------------------------

SUCCESS_LOG_ODDS = 2.2  # before anything is known: nine of ten trials succeed
LINEAR_VARIANCE, LOCAL_VARIANCE, LOCAL_SCALE = 25.0, 1.0, 0.7
NEWTON_STEPS = 50


class SuccessModel:
    """Chance that a trial succeeds: logistic regression in the inputs, bent where the trials say so.

    A Gaussian process of the log odds with fixed hyperparameters: a linear kernel (failing has a direction: deeper,
    a higher rate), which is strong since regions fail rather than single trials, and a weak Matern 5/2. Laplace's
    approximation, Rasmussen and Williams 2006, algorithms 3.1 and 3.2; the mean of the logistic function of a normal
    by MacKay 1992 (doi:10.1162/neco.1992.4.5.720).
    """

    def __init__(self, x: Array, succeeded: NDArray[np.bool_], categorical: NDArray[np.bool_]) -> None:
        self.x, self.categorical = x, categorical
        covariance = self._covariance(x, x)
        log_odds = np.zeros(len(x))
        for _ in range(NEWTON_STEPS):
            chance = expit(SUCCESS_LOG_ODDS + log_odds)
            slope = succeeded - chance
            weight = chance * (1 - chance)
            root = np.sqrt(weight)
            lower = cholesky(np.eye(len(x)) + root[:, None] * covariance * root, lower=True)
            target = weight * log_odds + slope
            step = target - root * cho_solve((lower, True), root * (covariance @ target))
            before, log_odds = log_odds, covariance @ step
            if np.abs(log_odds - before).max() < 1e-8:
                break
        self.slope, self.root, self.lower = slope, root, lower

    def _covariance(self, a: Array, b: Array) -> Array:
        numbers = ~self.categorical
        linear = ((2 * a - 1) * numbers) @ (2 * b - 1).T
        same = (a[:, None, self.categorical] == b[None, :, self.categorical]).sum(axis=-1)
        squared = squared_distances(a, b, self.categorical).sum(axis=-1)
        covariance: Array = LINEAR_VARIANCE * (linear + 0.5 * same)
        return covariance + LOCAL_VARIANCE * matern(np.sqrt(5 * squared) / LOCAL_SCALE)

    def probability(self, at: Array) -> Array:
        """Of success, for inputs (N, D)."""
        cross = self._covariance(at, self.x)
        mean = SUCCESS_LOG_ODDS + cross @ self.slope
        half = solve_triangular(self.lower, self.root[:, None] * cross.T, lower=True)
        linear = np.where(self.categorical, 0.5, (2 * at - 1) ** 2).sum(axis=1)
        variance = np.maximum(LINEAR_VARIANCE * linear + LOCAL_VARIANCE - np.sum(half * half, axis=0), 0)
        probability: Array = expit(mean / np.sqrt(1 + math.pi * variance / 8))
        return probability


# The acquisition ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Acquisition:
    """How much a trial of a candidate is expected to improve what is known: area, or with one objective value."""

    model: GaussianProcess
    at: Array  # (M, D) inputs observed, or being observed now
    price: Array  # (M,) their costs, smaller being better
    worst: float  # the reference point: value
    price_limit: float | None  # and cost; None with one objective
    log: bool
    sign: float
    success: SuccessModel | None  # None before the first failure
    normals: Array  # (S, M)

    def quick(self, x: Array, price: Array) -> Array:
        """From the model's means at the points observed: for x (N, D) at costs (N,)."""
        improvement = self._improvement(price, *self.model.predict(x), self.model.predict(self.at)[0])
        return improvement if self.success is None else improvement * self.success.probability(x)

    def thorough(self, x: Array, price: Array) -> Array:
        """Averaged over draws of the values at the points observed, which noise leaves unknown."""
        draws, means, std = self.model.draw(self.at, x, self.normals)
        each = [self._improvement(price, mean, std, values) for values, mean in zip(draws, means, strict=True)]
        average: Array = np.mean(each, axis=0)
        return average if self.success is None else average * self.success.probability(x)

    def _improvement(self, price: Array, mean: Array, std: Array, values: Array) -> Array:
        if self.price_limit is None:
            best = np.array(min(values.min(), self.worst))
            return expected_shortfall(best, mean, std, self.log, self.sign)
        edges, levels = front_segments(self.price, values, self.worst, self.price_limit)
        return expected_hypervolume_improvement(price, mean, std, edges, levels, self.log, self.sign)


# The sampler ----------------------------------------------------------------------------------------------------------

STRATA, CHEAPEST_PART, CENTRE_WEIGHT = 20, 0.02, 4.0  # of the first trials, which are spread over the costs
BUDGET_ROUNDS, BUDGET_POINTS = 10, 256  # of the search for candidates within a tight budget


@dataclass(frozen=True)
class Candidates:
    """Points of the space within the budget, with their costs."""

    points: Array  # (N, parameters), Optuna's internal values
    cost: Array  # (N,) as the study has it

    def keep(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> "Candidates":
        """Those of a mask or of indices."""
        return Candidates(self.points[chosen], self.cost[chosen])

    def point(self, i: int) -> Array:
        """One of them."""
        point: Array = self.points[i]
        return point

    def join(self, other: "Candidates") -> "Candidates":
        """These, then the others."""
        return Candidates(np.vstack([self.points, other.points]), np.concatenate([self.cost, other.cost]))


@dataclass(frozen=True)
class Prices:
    """sign * cost, smaller being better: its range over the candidates within the budget, and the reference point's."""

    sign: float
    lowest: float
    highest: float
    limit: float  # the highest of the whole space: at a limit of the budget's, the best within it would add no area

    def to_unit(self, cost: Array) -> Array:
        """0 for the cheapest candidate, 1 for the dearest."""
        return (self.sign * cost - self.lowest) / ((self.highest - self.lowest) or 1.0)


@dataclass(frozen=True)
class History:
    """What the study knows, one row per configuration."""

    points: Array  # (M, parameters)
    cost: Array  # (M,)
    losses: list[list[float]]  # values of the unknown objective in the model's units; empty: failed or running
    failed: NDArray[np.bool_]  # (M,)


@dataclass(frozen=True)
class Objectives:
    """Which value of a trial is unknown, and the signs that make both of them smaller-is-better."""

    unknown: int
    sign: float
    known_sign: float
    single: bool

    @classmethod
    def of(cls, directions: Sequence[StudyDirection], known_objective: int) -> "Objectives":
        """Of a study with one objective, the unknown one, or two."""
        if len(directions) > 2:
            raise ValueError(f"KnownCostSampler is for one or two objectives; the study has {len(directions)}")
        signs = [1.0 if direction == StudyDirection.MINIMIZE else -1.0 for direction in directions]
        if len(signs) == 1:
            return cls(0, signs[0], 1.0, single=True)
        return cls(1 - known_objective, signs[1 - known_objective], signs[known_objective], single=False)


class KnownCostSampler(BaseSampler):
    """Sampler for studies in which one of two objectives is a known function of the parameters.

    Args:
        cost: the known objective of a trial's parameters, exactly as the study's objective returns it.
        known_objective: its index among the study's two objectives.
        max_cost: budget; no trial above it is proposed.
        worst: value of the unknown objective at which, and beyond which, a trial has failed. A failed trial says that
            its neighbourhood fails and is not a value to fit. Trials that end as FAIL or PRUNED count as failed too.
        log: model the logarithm of the unknown objective, which then has to be positive.
        ignore: whether a trial tells nothing, such as one that failed without being run, or one that was told what
            an earlier one of the same configuration came to. As if it were not in the study: it is neither a failure
            nor a second measurement, and its configuration may be proposed.
        search_space: of the trials, if known beforehand: then the first trials are spread over the costs as well.
            Otherwise Optuna infers it from the first finished trial, and trials until then are random.
        n_startup_trials: trials spread over the costs before the model proposes.
        seed: of everything random; a proposal depends on the seed, its trial's number and the trials before.

    With one objective it is the unknown one, and the cost serves for the budget and as an input of the model.

    Threads (``n_jobs``) share a lock and see each other's proposals. Two processes that ask at the same moment may,
    rarely, propose the same configuration: serialise ``study.ask`` between them, or accept the repeat.
    """

    def __init__(
        self,
        cost: Callable[[dict[str, Any]], float],
        *,
        known_objective: int = 1,
        max_cost: float | None = None,
        worst: float | None = None,
        log: bool = True,
        ignore: Callable[[FrozenTrial], bool] | None = None,
        search_space: Mapping[str, BaseDistribution] | None = None,
        n_startup_trials: int = 5,
        seed: int | None = None,
    ) -> None:
        if known_objective not in (0, 1):
            raise ValueError(f"known_objective is {known_objective}; it is the index of one of two objectives, 0 or 1")
        if n_startup_trials < 1:
            raise ValueError(f"n_startup_trials is {n_startup_trials}; the model needs at least 1")
        if log and worst is not None and worst <= 0:
            raise ValueError(f"worst is {worst}, which has no logarithm; give a positive value or log=False")
        self._cost = cost
        self._known_objective = known_objective
        self._max_cost = max_cost
        self._worst = worst
        self._log = log
        self._ignore = ignore
        self._search_space = None if search_space is None else dict(search_space)
        self._n_startup_trials = n_startup_trials
        self._seed = _fresh_seed() if seed is None else seed
        self._lock = threading.Lock()
        self._candidates_of: tuple[dict[str, Range], Candidates, Candidates] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The space given, or the intersection of the finished trials' spaces."""
        Objectives.of(study.directions, self._known_objective)
        if self._search_space is not None:
            return self._search_space
        return dict(sorted(intersection_search_space(study.get_trials(deepcopy=False)).items()))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value, for parameters outside of the relative space."""
        if trial.system_attrs.get(PROPOSED_BY) is None:
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSED_BY, "random")
        seed = np.random.SeedSequence([self._seed, trial.number, zlib.crc32(param_name.encode())])
        sampler = RandomSampler(seed=int(seed.generate_state(1)[0]))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of the trial, all at once."""
        objectives = Objectives.of(study.directions, self._known_objective)
        enqueued = trial.system_attrs.get("fixed_params", {})
        if not search_space or all(name in enqueued for name in search_space):
            return {}
        space = Space({name: range_of(name, distribution) for name, distribution in search_space.items()})
        fixed = {name: x for name in space.ranges if (x := _internal(space.ranges[name], enqueued, name)) is not None}
        with self._lock:
            trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
            others = [
                other
                for other in trials
                if other.number != trial.number and not (self._ignore is not None and self._ignore(other))
            ]
            generator = np.random.default_rng([self._seed, trial.number])
            point, proposed_by = self._propose(objectives, space, others, fixed, generator)
            params = space.external(point)
            announcement = dict(zip(space.ranges, point.tolist(), strict=True))
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSAL, announcement)
            study._storage.set_trial_system_attr(trial._trial_id, PROPOSED_BY, proposed_by)
        return params

    # What the study knows

    def _loss(self, value: float, sign: float) -> float:
        if not self._log:
            return sign * value
        if value <= 0:
            raise ValueError(
                f"a trial's unknown objective is {value}, which has no logarithm; use KnownCostSampler(..., log=False)"
            )
        return sign * math.log(value)

    def _cost_of(self, params: dict[str, Any]) -> float:
        try:
            value = float(self._cost(params))
        except KeyError as error:
            raise ValueError(
                f"the cost function needs {error}, which is not among the parameters sampled together "
                f"({', '.join(params)}); the cost must be known from them, so suggest it in every trial, "
                f"with the same range, or give search_space"
            ) from error
        if not math.isfinite(value):
            raise ValueError(f"the cost of {params} is {value}; it must be a finite number")
        return value

    def _costs(self, space: Space, points: Array) -> Array:
        return np.array([self._cost_of(space.external(point)) for point in points])

    def _history(self, space: Space, trials: Sequence[FrozenTrial], objectives: Objectives) -> History:
        rows: dict[tuple[float, ...], tuple[list[float], bool]] = {}
        pending: set[tuple[float, ...]] = set()
        threshold = math.inf if self._worst is None else self._loss(self._worst, objectives.sign)
        for trial in trials:
            point = _point_of(space, trial)
            if point is None:
                continue
            losses, failed = rows.setdefault(point, ([], False))
            if trial.state == TrialState.COMPLETE:
                value = trial.values[objectives.unknown]
                loss = self._loss(value, objectives.sign) if math.isfinite(value) else math.inf
                if loss < threshold:
                    losses.append(loss)
                else:
                    failed = True
            elif trial.state in (TrialState.FAIL, TrialState.PRUNED):
                failed = True
            else:
                pending.add(point)
            rows[point] = (losses, failed)
        points = np.array(list(rows)).reshape(len(rows), len(space.ranges))
        failed_rows = [failed and not losses and point not in pending for point, (losses, failed) in rows.items()]
        return History(
            points, self._costs(space, points), [row[0] for row in rows.values()], np.array(failed_rows, dtype=bool)
        )

    # Candidates

    def _candidates(self, space: Space) -> tuple[Candidates, Candidates]:
        """Those of the whole space, and of them those within the budget; ValueError where there are none."""
        if self._candidates_of is None or self._candidates_of[0] != space.ranges:
            if space.size() <= LARGEST_ENUMERATION:
                points = space.enumerate()
                candidates = Candidates(points, self._costs(space, points))
            else:
                candidates = self._sampled(space)
            within = self._within_budget(candidates)
            if len(within.points) == 0:
                raise ValueError(
                    f"no configuration costs at most max_cost={self._max_cost:g}; the cheapest of "
                    f"{len(candidates.cost)} costs {candidates.cost.min():g}: raise max_cost or widen the search space"
                )
            self._candidates_of = (dict(space.ranges), candidates, within)
        return self._candidates_of[1:]

    def _sampled(self, space: Space) -> Candidates:
        """Sobol points; with a tight budget, those around the cheapest too."""
        generator = np.random.default_rng(self._seed)
        sobol = qmc.Sobol(len(space.ranges), seed=generator)
        points = np.unique(space.from_unit(sobol.random(SOBOL_POINTS)), axis=0)
        candidates = Candidates(points, self._costs(space, points))
        for _ in range(BUDGET_ROUNDS):
            if len(self._within_budget(candidates).points) >= BUDGET_POINTS:
                break
            cheapest = candidates.points[np.argsort(candidates.cost, kind="stable")[: 2 * LOCAL_CENTRES]]
            taken = {tuple(point) for point in candidates.points}
            candidates = candidates.join(self._near(space, cheapest, LOCAL_WIDTHS[0], taken, generator, {}))
        return candidates

    def _within_budget(self, candidates: Candidates) -> Candidates:
        return candidates if self._max_cost is None else candidates.keep(candidates.cost <= self._max_cost)

    def _agreeing(self, space: Space, points: Array, fixed: Mapping[str, float]) -> Candidates:
        """Of a trial that is enqueued with some of its values: the others as in the points, within the budget."""
        points = np.unique(space.pinned(points, fixed), axis=0)
        return self._within_budget(Candidates(points, self._costs(space, points)))

    def _near(
        self,
        space: Space,
        centres: Array,
        width: float,
        taken: set[tuple[float, ...]],
        generator: np.random.Generator,
        fixed: Mapping[str, float],
    ) -> Candidates:
        """LOCAL_POINTS for each centre with one parameter or more moved, a number by ``width`` of its range."""
        points = np.repeat(centres, LOCAL_POINTS, axis=0)
        unit = space.to_unit(points)
        moved = generator.random(unit.shape) < 0.5
        moved[np.arange(len(unit)), generator.integers(unit.shape[1], size=len(unit))] = True
        close = np.clip(unit + width * generator.standard_normal(unit.shape), 0, 1)
        anywhere = generator.random(unit.shape)
        shifted = space.from_unit(np.where(space.categorical(), anywhere, close))
        points = np.unique(space.pinned(np.where(moved, shifted, points), fixed), axis=0)
        points = points[[tuple(point) not in taken for point in points]]
        return Candidates(points, self._costs(space, points))

    # The proposal

    def _propose(
        self,
        objectives: Objectives,
        space: Space,
        trials: Sequence[FrozenTrial],
        fixed: Mapping[str, float],
        generator: np.random.Generator,
    ) -> tuple[Array, str]:
        history = self._history(space, trials, objectives)
        whole, candidates = self._candidates(space)
        sign = objectives.known_sign
        lowest, highest = np.sort(sign * candidates.cost)[[0, -1]]
        prices = Prices(sign, float(lowest), float(highest), float(np.max(sign * whole.cost)))
        if fixed and len((agreeing := self._agreeing(space, whole.points, fixed)).points):
            candidates = agreeing
        taken = {tuple(point) for point in history.points}
        fresh = np.array([tuple(point) not in taken for point in candidates.points])
        if not fresh.any():  # every configuration was tried: the next may repeat one
            return candidates.point(int(generator.integers(len(candidates.points)))), "random"
        candidates = candidates.keep(fresh)
        known = np.array([len(losses) > 0 for losses in history.losses], dtype=bool)
        if len(taken) < self._n_startup_trials or not known.any():
            number = sum(trial.system_attrs.get(PROPOSED_BY) == "startup" for trial in trials)
            return self._startup(number, space, history, candidates, prices, generator), "startup"
        acquisition = self._acquisition(objectives, space, history, prices, generator)

        def arguments(some: Candidates) -> tuple[Array, Array]:
            return self._inputs(space, some.points, some.cost, prices), prices.sign * some.cost

        scores = acquisition.quick(*arguments(candidates))
        if not math.isfinite(space.size()) or space.size() > LARGEST_ENUMERATION:
            tried = history.points[known]
            for width in LOCAL_WIDTHS:
                centres = np.vstack([candidates.points[np.argsort(scores)[-LOCAL_CENTRES:]], tried[-LOCAL_CENTRES:]])
                near = self._within_budget(self._near(space, centres, width, taken, generator, fixed))
                candidates = candidates.join(near)
                scores = np.concatenate([scores, acquisition.quick(*arguments(near))])
        candidates = candidates.keep(np.argsort(-scores, kind="stable")[:SHORTLIST])
        return candidates.point(int(np.argmax(acquisition.thorough(*arguments(candidates))))), "model"

    def _inputs(self, space: Space, points: Array, cost: Array, prices: Prices) -> Array:
        return np.column_stack([space.to_unit(points), prices.to_unit(cost)])

    def _startup(
        self,
        number: int,
        space: Space,
        history: History,
        candidates: Candidates,
        prices: Prices,
        generator: np.random.Generator,
    ) -> Array:
        """Point ``number`` of a few spread over the costs, the cheapest first.

        Each is far from those before it, in categories above all: numbers that the cost leaves free stay near the
        middle of their range, where a person who chose the range would begin.
        """
        inputs = self._inputs(space, candidates.points, candidates.cost, prices)
        before = self._inputs(space, history.points, history.cost, prices)
        categorical = np.append(space.categorical(), False)
        extremeness = np.where(categorical, 0.0, (inputs - 0.5) ** 2)[:, :-1].sum(axis=1)
        target = qmc.Halton(1, scramble=False).random(number + 1)[number, 0]  # 0, 1/2, 1/4, 3/4, 1/8, ...
        if target == 0:
            pool = np.flatnonzero(inputs[:, -1] <= inputs[:, -1].min() + CHEAPEST_PART)
            return candidates.point(int(pool[np.argmin(extremeness[pool] + 10 * inputs[pool, -1])]))
        pool = np.argsort(np.abs(inputs[:, -1] - target), kind="stable")[: max(1, len(inputs) // STRATA)]
        distances = np.sqrt(squared_distances(inputs[pool], before, categorical).sum(axis=-1)).min(axis=1, initial=9.0)
        tie = 1e-9 * generator.random(len(pool))
        return candidates.point(int(pool[np.argmax(distances - CENTRE_WEIGHT * extremeness[pool] + tie)]))

    def _acquisition(
        self,
        objectives: Objectives,
        space: Space,
        history: History,
        prices: Prices,
        generator: np.random.Generator,
    ) -> Acquisition:
        inputs = self._inputs(space, history.points, history.cost, prices)
        categorical = np.append(space.categorical(), False)
        repeats = [len(losses) for losses in history.losses]
        y = np.array([loss for losses in history.losses for loss in losses])
        sign = objectives.sign
        worst = self._loss(self._worst, sign) if self._worst is not None else y.max() + 0.1 * (np.ptp(y) or 1.0)
        price, failed = prices.sign * history.cost, history.failed
        decided = failed | (np.array(repeats) > 0)
        usable = ~failed
        return Acquisition(
            model=GaussianProcess(
                np.repeat(inputs, repeats, axis=0), winsorised(y, np.repeat(price, repeats)), categorical
            ),
            at=inputs[usable],
            price=price[usable],
            worst=worst,
            price_limit=None if objectives.single else prices.limit,
            log=self._log,
            sign=sign,
            success=SuccessModel(inputs[decided], ~failed[decided], categorical) if failed.any() else None,
            normals=generator.standard_normal((DRAWS, int(usable.sum()))),
        )


def _fresh_seed() -> int:
    return int(np.random.SeedSequence().generate_state(1)[0])


def range_of(name: str, distribution: BaseDistribution) -> Range:
    """The distribution of a parameter; ValueError for a kind that is not known here."""
    if isinstance(distribution, CategoricalDistribution | FloatDistribution | IntDistribution):
        return distribution
    raise ValueError(f"parameter {name} has a {type(distribution).__name__}, which KnownCostSampler does not know")


def _point_of(space: Space, trial: FrozenTrial) -> tuple[float, ...] | None:
    """The trial's point in the space, announced, enqueued or taken; None if it lies outside."""
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    announced = trial.system_attrs.get(PROPOSAL, {})
    point = []
    for name, range_ in space.ranges.items():
        value = _internal(range_, params, name) if name in params else announced.get(name)
        if value is None or not range_._contains(value):
            return None
        point.append(float(value))
    return tuple(point)


def _internal(range_: Range, params: Mapping[str, Any], name: str) -> float | None:
    """Optuna's internal value of a parameter; None if it is not given, or is no value of the range."""
    try:
        value = float(range_.to_internal_repr(params[name]))
    except (KeyError, ValueError):  # not given; a category that there is not
        return None
    return value if range_._contains(value) else None
