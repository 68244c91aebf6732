"""Pareto fronts, as counted by the definitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.support.pareto import front_mask, hypervolume, knee

CORNER = (10.0, 10.0)
coordinate = st.integers(0, 12).map(float)  # few values, so that many are equal, and some beyond the reference
points_of = st.lists(st.tuples(coordinate, coordinate), max_size=12)


def dominates(one, other):
    return one[0] <= other[0] and one[1] <= other[1] and one != other


@given(points_of)
def test_the_front_is_what_nothing_dominates(points):
    expected = [not any(dominates(other, point) for other in points) for point in points]
    assert front_mask([x for x, _ in points], [y for _, y in points]).tolist() == expected


@given(points_of)
def test_the_hypervolume_is_the_number_of_unit_squares_that_a_point_dominates(points):
    squares = sum(any(x <= i and y <= j for x, y in points) for i in range(10) for j in range(10))
    assert hypervolume(points, CORNER) == pytest.approx(squares)


def test_the_knee_is_the_point_furthest_below_the_chord():
    assert knee([(0, 10), (1, 4), (2, 2), (5, 1), (10, 0)]) == 2  # sums of the scaled coordinates: 1, .5, .4, .6, 1
