"""Fronts of two objectives: closed forms, and the same as counting by the definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.search.front import dominated_area, front_mask, hypervolume, knee

REFERENCE = (10.0, 10.0)
coordinate = st.integers(0, 12).map(float)  # few values, so that many are equal, and some beyond the reference
points_of = st.lists(st.tuples(coordinate, coordinate), max_size=12)


def on_front(points):
    """front_mask of points (x, y), as a list."""
    return front_mask([x for x, _ in points], [y for _, y in points]).tolist()


def dominates(one, other):
    return one[0] <= other[0] and one[1] <= other[1] and one != other


@given(points_of)
def test_the_front_is_what_nothing_dominates(points):
    expected = [not any(dominates(other, point) for other in points) for point in points]
    assert on_front(points) == expected


def test_equal_points_are_on_the_front_together():
    assert on_front([(1, 1), (1, 1), (2, 2), (2, 2), (0, 3), (0, 4)]) == [1, 1, 0, 0, 1, 0]


@given(points_of)
def test_the_hypervolume_is_the_number_of_unit_squares_that_a_point_dominates(points):
    squares = sum(any(x <= i and y <= j for x, y in points) for i in range(10) for j in range(10))
    assert hypervolume(points, REFERENCE) == pytest.approx(squares)


@pytest.mark.parametrize(
    ("points", "area"),
    [([], 0), ([(4, 7)], 6 * 3), ([(0, 0)], 100), ([(2, 6), (5, 3)], 8 * 4 + 5 * 3), ([(10, 0), (0, 10), (11, 11)], 0)],
)
def test_the_hypervolume_of_few_points(points, area):
    assert hypervolume(points, REFERENCE) == pytest.approx(area)


@given(points_of, st.tuples(coordinate, coordinate))
def test_another_point_never_lowers_the_hypervolume_and_a_dominated_one_leaves_it(points, new):
    before, after = hypervolume(points, REFERENCE), hypervolume([*points, new], REFERENCE)
    assert after >= before
    if any(dominates(point, new) for point in points):
        assert after == before


@given(points_of.filter(len), st.randoms(use_true_random=False))
def test_order_does_not_matter(points, random):
    shuffled = random.sample(points, len(points))
    assert hypervolume(shuffled, REFERENCE) == pytest.approx(hypervolume(points, REFERENCE))
    assert knee_point(shuffled) == knee_point(points)


def knee_point(points):
    return points[knee(points)]


def test_many_draws_of_y_at_once_are_as_one_by_one():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 9, 20), rng.integers(0, 9, (50, 20))
    masks, areas = front_mask(x, y), dominated_area(x, y, REFERENCE)
    for row, mask, area in zip(y, masks, areas, strict=True):
        points = np.stack([x, row], axis=1)
        assert mask.tolist() == front_mask(x, row).tolist()
        assert area == pytest.approx(hypervolume(points, REFERENCE))


def test_the_knee_is_the_point_furthest_below_the_chord():
    assert knee([(0, 10), (1, 4), (2, 2), (5, 1), (10, 0)]) == 2  # sums of the scaled coordinates: 1, .5, .4, .6, 1


def test_the_knee_is_the_same_in_any_units():
    points = np.array([(0, 10), (1, 4), (2, 2), (5, 1), (10, 0)], dtype=float)
    assert knee(points * (1e6, 1e-3) + (7, 3)) == knee(points)


@pytest.mark.parametrize("points", [[(3, 4)], [(3, 4), (5, 1)], [(0, 10), (8, 9), (10, 0)], [(2, 2), (2, 2)]])
def test_without_a_point_below_the_chord_the_knee_is_the_lowest_x(points):
    assert knee(points) == 0


def test_a_front_without_points_has_neither_members_nor_knee():
    assert on_front([]) == []
    with pytest.raises(ValueError, match="without points"):
        knee([])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        hypervolume([(1, bad)], REFERENCE)
    with pytest.raises(ValueError, match="finite"):
        front_mask([1], [bad])
