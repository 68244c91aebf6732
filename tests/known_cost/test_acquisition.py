"""The acquisition: the improvement by draws and by hand, and the chance of success at the mode of its posterior."""

import math

import numpy as np
import pytest
from scipy.special import expit

from pipeline.known_cost import acquisition
from tests.known_cost.observations import observations


def test_expected_hypervolume_improvement_is_the_mean_over_draws():
    draws = np.random.default_rng(0).standard_normal(200_000)
    front_cost = np.array([1.0, 2.0, 4.0, 3.0, 2.0, 6.0])  # the last three are beaten, and beyond the limit
    front = np.array([1.5, 1.0, 0.3, 1.2, 1.4, 0.1])
    edges, levels = acquisition.front_segments(front_cost, front, 2.0, 5.0)
    cost, mean, std = np.array([0.5, 1.7, 4.5, 6.0]), np.array([1.4, 0.9, 0.5, 0.1]), np.array([0.3, 0.5, 0.4, 0.2])
    found = acquisition.expected_hypervolume_improvement(cost, mean, std, edges, levels)
    for i in range(len(cost)):
        values, area = mean[i] + std[i] * draws, 0.0
        for left, right, level in ((-math.inf, 1, 2.0), (1, 2, 1.5), (2, 4, 1.0), (4, 5, 0.3)):
            width = max(0.0, right - max(left, cost[i]))
            area += width * np.mean(np.maximum(level - values, 0)) if width else 0.0
        assert found[i] == pytest.approx(area, rel=0.01, abs=1e-9)


def test_the_chance_of_success_is_at_the_mode_of_its_posterior():
    x, _, categorical = observations(30)
    succeeded = x[:, 0] + x[:, 2] < 1
    model = acquisition.SuccessModel(x, succeeded, categorical)
    log_odds = model._covariance(x, x) @ model.slope
    np.testing.assert_allclose(model.slope, succeeded - expit(acquisition.SUCCESS_LOG_ODDS + log_odds), atol=1e-6)
    chances = model.probability(x)
    assert chances[succeeded].min() > 0.5 > chances[~succeeded].max()


def test_failing_has_a_direction():
    """Beyond trials that failed a trial fails too; on the other side of those that succeeded it does not."""
    x = np.array([[0.45], [0.5], [0.6], [0.65]])
    model = acquisition.SuccessModel(x, np.array([True, True, False, False]), np.zeros(1, dtype=bool))
    beyond, before = model.probability(np.array([[1.0], [0.0]]))
    assert beyond < 0.2
    assert before > 0.9
