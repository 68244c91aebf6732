"""Expected hypervolume improvement where one objective is known exactly, and the probability that a trial succeeds."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.special import expit, ndtr

from .gaussian_process import GaussianProcess, matern, squared_distances
from .space import Array

SUCCESS_LOG_ODDS = 2.2  # prior mean: nine of ten trials succeed
LINEAR_VARIANCE, LOCAL_VARIANCE, LOCAL_SCALE = 25.0, 1.0, 0.7  # of the kernel of SuccessModel
NEWTON_STEPS = 50  # at most


def expected_shortfall(level: Array, mean: Array, std: Array) -> Array:
    """E[max(level - Y, 0)] for Y ~ Normal(mean, std^2): the expected improvement on ``level``.

    = (level - mean) Phi(z) + std phi(z),  z = (level - mean) / std
    """
    z = (level - mean) / std
    improvement: Array = (level - mean) * ndtr(z) + std * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return np.maximum(improvement, 0.0)


def front_segments(cost: Array, value: Array, worst: float, cost_limit: float) -> tuple[Array, Array]:
    """The front as a staircase over the cost: the edges (F + 1,) of its F segments, the lowest value (F,) on each."""
    edges, levels = [-math.inf], [worst]
    for i in np.lexsort((value, cost)):
        if value[i] < levels[-1] and cost[i] < cost_limit:
            edges.append(cost[i])
            levels.append(value[i])
    return np.array([*edges, cost_limit]), np.array(levels)


def expected_hypervolume_improvement(cost: Array, mean: Array, std: Array, edges: Array, levels: Array) -> Array:
    """The area (N,) that candidates with a known cost and a normally distributed value Y are expected to add.

    integral from t = cost to the cost limit of E[max(front(t) - Y, 0)] dt,  front(t) constant on each segment
    """
    widths = np.maximum(edges[None, 1:] - np.maximum(edges[None, :-1], cost[:, None]), 0.0)
    gains = expected_shortfall(levels[None, :], mean[:, None], std[:, None])
    area: Array = np.sum(np.where(widths > 0, widths * gains, 0.0), axis=1)
    return area


class SuccessModel:
    """The probability that a trial succeeds: Gaussian process classification, close to logistic regression.

    A Gaussian process of the log odds with fixed hyperparameters: a strong linear kernel, since failures have a
    direction (deeper, a higher rate) and regions fail rather than single trials, and a weak Matern 5/2 kernel. It is
    fitted by Laplace's approximation (Rasmussen and Williams 2006, algorithms 3.1 and 3.2); the mean of the logistic
    function of a normal variable is approximated as in MacKay 1992 (doi:10.1162/neco.1992.4.5.720).
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
        """The probability of success (N,) at inputs (N, D)."""
        cross = self._covariance(at, self.x)
        mean = SUCCESS_LOG_ODDS + cross @ self.slope
        half = solve_triangular(self.lower, self.root[:, None] * cross.T, lower=True)
        linear = np.where(self.categorical, 0.5, (2 * at - 1) ** 2).sum(axis=1)
        variance = np.maximum(LINEAR_VARIANCE * linear + LOCAL_VARIANCE - np.sum(half * half, axis=0), 0)
        probability: Array = expit(mean / np.sqrt(1 + math.pi * variance / 8))
        return probability


@dataclass(frozen=True)
class Acquisition:
    """The expected improvement by a candidate, of the hypervolume or, with one objective, of the best value.

    Improvements are in the model's units, with ``log`` those of the logarithm: a step from 5 to 4 counts as much as one
    from 10 to 8.
    """

    model: GaussianProcess
    at: Array  # (M, D) inputs observed, or being observed now
    price: Array  # (M,) their prices, lower is better
    worst: float  # value of the reference point
    price_limit: float | None  # price of the reference point; None with one objective
    success: SuccessModel | None  # None before the first failure
    normals: Array  # (S, M) standard normal numbers for the draws

    def quick(self, x: Array, price: Array) -> Array:
        """The acquisition (N,) of inputs x (N, D) at prices (N,), with the model's means as the values observed."""
        improvement = self._improvement(price, *self.model.predict(x), self.model.predict(self.at)[0])
        return improvement if self.success is None else improvement * self.success.probability(x)

    def thorough(self, x: Array, price: Array) -> Array:
        """The acquisition (N,), averaged over draws of the noise-free values at the observed points."""
        draws, means, std = self.model.draw(self.at, x, self.normals)
        improvements = [self._improvement(price, mean, std, values) for values, mean in zip(draws, means, strict=True)]
        average: Array = np.mean(improvements, axis=0)
        return average if self.success is None else average * self.success.probability(x)

    def _improvement(self, price: Array, mean: Array, std: Array, values: Array) -> Array:
        if self.price_limit is None:
            best = np.array(min(np.min(values), self.worst))
            return expected_shortfall(best, mean, std)
        edges, levels = front_segments(self.price, values, self.worst, self.price_limit)
        return expected_hypervolume_improvement(price, mean, std, edges, levels)
