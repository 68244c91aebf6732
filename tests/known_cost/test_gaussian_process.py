"""The Gaussian process: scikit-learn's kernel, the textbook's predictions, the gradient of the fit, its noise."""

import math

import numpy as np
import pytest
from scipy.optimize import check_grad

from pipeline.known_cost import gaussian_process
from tests.known_cost.observations import observations

THETA = np.log([0.5, 1.5, 0.8, 0.7, 1.3, 0.02])  # three length scales, signal, trend, noise


def test_the_kernel_is_scikit_learns_matern_with_a_constant_and_a_trend():
    from sklearn.gaussian_process.kernels import Matern  # takes half a second to import

    x, _, categorical = observations()
    signs = np.column_stack([x[:, 0], np.eye(3)[x[:, 1].astype(int)] / math.sqrt(2), x[:, 2]])  # one-hot: distance 1
    cost = 2 * x[:, 2] - 1
    expected = 0.7 * Matern([0.5, 1.5, 1.5, 1.5, 0.8], nu=2.5)(signs) + gaussian_process.OFFSET_VARIANCE
    expected += 1.3 * np.outer(cost, cost)
    kernel = gaussian_process.Kernel(THETA, categorical)
    np.testing.assert_allclose(kernel(x, x), expected, rtol=1e-9)
    np.testing.assert_allclose(kernel.variance(x), np.diag(expected), rtol=1e-9)


def test_predictions_agree_with_the_textbook_and_draws_with_predictions():
    x, y, categorical = observations()
    at = observations(20)[0][-5:]
    model = gaussian_process.GaussianProcess(x, y, categorical, THETA)
    kernel, standard = model.kernel, (y - y.mean()) / y.std()
    inverse = np.linalg.inv(kernel(x, x) + 0.02 * np.eye(len(x)))
    mean = y.mean() + y.std() * kernel(at, x) @ inverse @ standard
    variance = kernel.variance(at) - np.sum(kernel(at, x) @ inverse * kernel(at, x), axis=1)
    found_mean, found_std = model.predict(at)
    np.testing.assert_allclose(found_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(found_std, y.std() * np.sqrt(variance), rtol=1e-4)

    normals = np.random.default_rng(0).standard_normal((20_000, len(x)))
    draws, means, std = model.draw(x, at, normals)
    np.testing.assert_allclose(draws.mean(axis=0), model.predict(x)[0], atol=0.01)
    np.testing.assert_allclose(draws.std(axis=0), model.predict(x)[1], rtol=0.05)
    np.testing.assert_allclose(means.mean(axis=0), found_mean, atol=0.02)  # the law of total expectation,
    np.testing.assert_allclose(np.sqrt(means.var(axis=0) + std**2), found_std, rtol=0.05)  # and of total variance


def test_the_gradient_of_the_fit_is_that_of_finite_differences():
    x, y, categorical = observations()
    distances, cost = gaussian_process.squared_distances(x, x, categorical), 2 * x[:, -1] - 1
    error = check_grad(
        lambda theta: gaussian_process.negative_log_posterior(theta, distances, cost, y)[0],
        lambda theta: gaussian_process.negative_log_posterior(theta, distances, cost, y)[1],
        THETA,
    )
    assert error < 1e-3


def test_the_fit_finds_the_noise():
    generator = np.random.default_rng(0)
    x = generator.random((80, 2))
    y = np.sin(3 * x[:, 0]) + x[:, 1] + 0.2 * generator.standard_normal(80)
    model = gaussian_process.GaussianProcess(x, y, np.zeros(2, dtype=bool))
    assert math.sqrt(model.kernel.noise) * model.spread == pytest.approx(0.2, rel=0.2)


def test_a_loss_far_above_the_others_is_lowered_unless_it_is_the_cheapest_trials():
    price = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    losses = np.array([2.1, 1.8, 3.3, 1.5, 1.2])
    assert gaussian_process.winsorised(losses, price).tolist() == pytest.approx([2.1, 1.8, 2.4, 1.5, 1.2])
    cheapest = np.array([3.0, 1.8, 3.3, 1.5, 1.2])
    assert gaussian_process.winsorised(cheapest, price).tolist() == pytest.approx([3.0, 1.8, 3.0, 1.5, 1.2])
    assert gaussian_process.winsorised(losses[:1], price[:1]).tolist() == [2.1]
