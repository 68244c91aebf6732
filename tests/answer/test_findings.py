"""What follows from the numbers of an answer: intervals, crossings, and which side is better at which sizes."""

from dataclasses import replace

import pytest

from pipeline.answer.findings import Segment, percent, segments
from tests.answer.comparisons import comparison
from tests.figures import findings


def test_an_interval_is_by_the_spread_of_all_networks_of_the_kind_and_of_no_other():
    found = findings()
    steady = tuple(replace(each, test=(3.5, 3.5, 3.5)) if each.family == "on top" else each for each in found.trained)
    found = replace(found, trained=steady)
    assert found.spread("size").degrees_of_freedom == 2 * 7
    mean = found.mean(found.systems["network"])
    assert mean.low is not None
    assert mean.low < mean.mean < 3.65 * 1.01
    assert found.mean(steady[-1]).low == 3.5


def test_sizes_are_cut_where_the_curves_cross_and_a_side_is_ahead_where_an_interval_decides():
    found = findings()
    rivals = [each for each in found.rivals if each.unit == "numbers"]
    smallest, _, before, after, largest = (each.size for each in rivals)

    def at_five_sizes(half: float) -> list[Segment]:
        pairs = zip(rivals, (0.2, 0.1, 0.1, -0.1, -0.1), strict=True)
        compared = tuple(replace(each, comparison=comparison(mean, half)) for each, mean in pairs)
        return segments(replace(found, rivals=compared), "numbers")

    for half, side in ((0.05, "ahead"), (0.15, "open")):
        first, second = at_five_sizes(half)
        assert [first.side, second.side] == ["behind", side]
        assert (first.low, first.high, second.high) == pytest.approx((smallest, (before * after) ** 0.5, largest))
        assert second.changes == (percent(-0.1), percent(-0.1))
    (level,) = at_five_sizes(0.25)
    assert (level.side, level.low, level.high, len(level.changes)) == ("open", smallest, largest, 5)
