"""The candidate space: every value lies in its range, and units, points and parameters translate into each other."""

import math

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.known_cost.space import CandidateSpace

FINITE = CandidateSpace({"cell": CategoricalDistribution(("rnn", "gru")), "width": IntDistribution(8, 32, step=8)})
CONTINUOUS = CandidateSpace({"rate": FloatDistribution(1e-3, 0.1, log=True), "width": IntDistribution(1, 4, log=True)})


def test_a_finite_space_is_enumerated_whole():
    listed = [FINITE.external(point) for point in FINITE.enumerate()]
    assert listed == [{"cell": cell, "width": width} for cell in ("rnn", "gru") for width in (8, 16, 24, 32)]
    assert FINITE.size() == len(listed)
    assert math.isinf(CONTINUOUS.size())


@pytest.mark.parametrize("high", [0.3, 0.6, 0.7, 1.1])
def test_the_steps_of_a_range_end_where_it_ends_though_arithmetic_misses(high):
    steps = CandidateSpace({"x": FloatDistribution(0, high, step=0.1)})
    assert steps.enumerate()[-1, 0] == high


@pytest.mark.parametrize("space", [FINITE, CONTINUOUS], ids=["finite", "continuous"])
def test_points_of_the_unit_cube_lie_in_the_space_and_have_their_parameters(space):
    points = space.from_unit(np.random.default_rng(0).random((200, 2)))
    for point in points:
        params = space.external(point)
        assert all(space.ranges[name]._contains(value) for name, value in zip(space.ranges, point, strict=True))
        internal = [range_.to_internal_repr(params[name]) for name, range_ in space.ranges.items()]
        np.testing.assert_allclose(internal, point)
    unit = space.to_unit(points)[:, ~space.categorical()]
    assert unit.min() >= 0
    assert unit.max() <= 1


def test_equal_parts_of_the_unit_interval_fall_to_every_value_of_a_finite_range():
    points = FINITE.from_unit(np.repeat((np.arange(400)[:, None] + 0.5) / 400, 2, axis=1))
    assert np.unique(points[:, 0], return_counts=True)[1].tolist() == [200, 200]
    assert np.unique(points[:, 1], return_counts=True)[1].tolist() == [100] * 4
