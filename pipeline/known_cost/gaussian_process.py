"""Gaussian process regression of the unknown objective."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

from .space import Array

# mean and standard deviation of the normal priors of the logarithms, for values scaled to variance 1
LOG_SCALE_PRIOR = (math.log(0.7), 0.8)  # length scales
LOG_SIGNAL_PRIOR = (math.log(0.5), 1.0)  # variances
LOG_TREND_PRIOR = (math.log(1.0), 1.0)
LOG_NOISE_PRIOR = (math.log(0.01), 1.5)
OFFSET_VARIANCE = 1.0
JITTER = 1e-8  # added to the noise variance
MANY_VALUES = 100  # with more values, hyperparameters are fitted from one start only
STARTS = (0.0, -1.0, 1.0)  # starts of the fit: the prior mean, its length scales shifted by so many standard deviations


@dataclass(frozen=True)
class Kernel:
    """Covariance of x and x': a constant, a linear trend in the last input (the cost), and a Matern 5/2 kernel of all.

    k = offset + trend c c' + signal (1 + s + s^2 / 3) exp(-s),  s = sqrt(5) r,  r^2 = sum_i distance_i^2 / scale_i^2
    where c is the cost in [-1, 1], and the distance of two categories is 0 or 1.
    """

    theta: Array  # (D + 3,) logarithms of D length scales, signal, trend and noise variance
    categorical: NDArray[np.bool_]

    def __call__(self, a: Array, b: Array) -> Array:
        """Covariance (len(a), len(b)) of the noise-free values."""
        signal, trend, _ = np.exp(self.theta[-3:])
        scaled = squared_distances(a, b, self.categorical) @ np.exp(-2 * self.theta[:-3])
        linear = np.outer(2 * a[:, -1] - 1, 2 * b[:, -1] - 1)
        covariance: Array = OFFSET_VARIANCE + trend * linear + signal * matern(np.sqrt(5 * scaled))
        return covariance

    def variance(self, a: Array) -> Array:
        """The diagonal of self(a, a), (len(a),)."""
        signal, trend, _ = np.exp(self.theta[-3:])
        variance: Array = OFFSET_VARIANCE + trend * (2 * a[:, -1] - 1) ** 2 + signal
        return variance

    @property
    def noise(self) -> float:
        """The noise variance."""
        return float(np.exp(self.theta[-1]))


def matern(s: Array) -> Array:
    """Matern 5/2 correlation at a distance of s / sqrt(5) length scales (Rasmussen and Williams 2006, eq. 4.17)."""
    correlation: Array = (1 + s + s * s / 3) * np.exp(-s)
    return correlation


def squared_distances(a: Array, b: Array, categorical: NDArray[np.bool_]) -> Array:
    """Squared distance (len(a), len(b), D) in each input; 0 or 1 between categories."""
    difference = a[:, None, :] - b[None, :, :]
    return np.where(categorical, (difference != 0).astype(float), difference * difference)


def _priors(inputs: int) -> tuple[Array, Array]:
    """Mean and standard deviation (D + 3,) of the prior of ``Kernel.theta``."""
    rows = [LOG_SCALE_PRIOR] * inputs + [LOG_SIGNAL_PRIOR, LOG_TREND_PRIOR, LOG_NOISE_PRIOR]
    mean, deviation = np.array(rows).T
    return mean, deviation


def negative_log_posterior(theta: Array, distances: Array, cost: Array, y: Array) -> tuple[float, Array]:
    """Negative log of likelihood times prior of the hyperparameters, up to a constant, and its gradient.

    Likelihood and gradient are equations 5.8 and 5.9 of Rasmussen and Williams 2006. ``distances`` (M, M, D) are
    squared, ``cost`` (M,) is in [-1, 1], and y (M,) has mean 0 and variance 1.
    """
    mean, deviation = _priors(distances.shape[-1])
    inverse_squares = np.exp(-2 * theta[:-3])
    signal, trend, noise = np.exp(theta[-3:])
    s = np.sqrt(5 * (distances @ inverse_squares))
    local = signal * matern(s)
    linear = trend * np.outer(cost, cost)
    covariance = OFFSET_VARIANCE + linear + local
    covariance[np.diag_indices_from(covariance)] += noise + JITTER
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
    """Gaussian process fitted to values y (M,) at inputs x (M, D), of which the last is the cost in [0, 1].

    Without ``theta``, the hyperparameters, noise variance included, are those of the maximum posterior.
    """

    def __init__(self, x: Array, y: Array, categorical: NDArray[np.bool_], theta: Array | None = None) -> None:
        self.x = x
        self.centre = float(np.mean(y))
        self.spread = float(np.std(y)) or 1.0
        self.y = (y - self.centre) / self.spread
        self.kernel = Kernel(self._fit(categorical) if theta is None else theta, categorical)
        covariance = self.kernel(x, x)
        covariance[np.diag_indices_from(covariance)] += self.kernel.noise + JITTER
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
            fit = minimize(
                negative_log_posterior,
                theta,
                args=(distances, cost, self.y),
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"maxiter": 100},
            )
            best = min(best, (float(fit.fun), fit.x), key=lambda pair: pair[0])
        return best[1]

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (N,) of the noise-free values at x (N, D)."""
        cross = self.kernel(x, self.x)
        mean = cross @ self.alpha
        half = solve_triangular(self.lower, cross.T, lower=True)
        variance = np.maximum(self.kernel.variance(x) - np.sum(half * half, axis=0), 1e-12)
        return self.centre + self.spread * mean, self.spread * np.sqrt(variance)

    def draw(self, at: Array, x: Array, normals: Array) -> tuple[Array, Array, Array]:
        """Draw the noise-free values at inputs (M', D), and condition the model of x (N, D) on each draw.

        ``normals`` (S, M') are standard normal numbers. Returns draws (S, M'), means at x (S, N) and their standard
        deviation at x (N,).
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
        return self.centre + self.spread * draws, self.centre + self.spread * means, self.spread * np.sqrt(variance)


def winsorised(losses: Array, price: Array) -> Array:
    """Winsorise losses (M,): lower outliers to a fence, so that bad trials do not distort the model elsewhere.

    The fence is as far above the median as the lowest loss is below it, or at the loss of the cheapest trial if that is
    higher: a trial above both is certainly of no use.
    """
    median, cheapest = float(np.median(losses)), np.min(losses[price == np.min(price)])
    fenced: Array = np.minimum(losses, max(cheapest, 2 * median - np.min(losses)))
    return fenced
