"""What follows from the numbers of an answer: intervals, crossings, and which side is better at which sizes."""

from dataclasses import replace

import pytest

from pipeline.answer.findings import crossings, segments
from tests.answer.made_up import made_up, rivals


def test_curves_cross_where_their_straight_lines_in_logarithms_do():
    found = crossings([(10, 4.0), (1000, 2.0)], [(1, 8.0), (10, 8.0), (1000, 1.0)])
    assert found is not None
    assert found[0]
    assert found[1] == pytest.approx([10, 100, 1000])


def test_an_interval_is_by_the_spread_of_all_networks_of_the_kind_and_of_no_other():
    found = made_up()
    steady = tuple(replace(each, test=(3.5, 3.5, 3.5)) if each.family == "on top" else each for each in found.trained)
    found = replace(found, trained=steady)
    assert found.spread("size").degrees_of_freedom == 2 * 7
    mean = found.mean(found.systems["network"])
    assert mean.low is not None
    assert mean.low < mean.mean < 3.65 * 1.01
    assert found.mean(steady[-1]).low == 3.5


def test_sizes_are_cut_where_the_curves_cross_and_a_side_is_ahead_where_an_interval_decides():
    found = made_up()
    pieces = {half: segments(replace(found, rivals=rivals(found, half)), "numbers") for half in (0.003, 0.02, 9.0)}
    assert [each.side for each in pieces[0.003]] == ["behind", "ahead"]
    assert [each.side for each in pieces[0.02]] == ["behind", "open"]
    assert [each.side for each in pieces[9.0]] == ["open"]
    first, second = pieces[0.02]
    assert (first.low, first.high, second.high) == pytest.approx((3_400, second.low, 176_000))
    assert [each.network.name for each in second.rivals] == ["LSTM 1x128", "LSTM 1x192"]
