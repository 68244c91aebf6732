"""What follows from the numbers of an answer: verdicts, intervals and crossings."""

from dataclasses import replace

import pytest

from pipeline.answer.findings import crossings
from tests.answer.made_up import made_up


def test_curves_cross_where_their_straight_lines_in_logarithms_do():
    found = crossings([(10, 4.0), (1000, 2.0)], [(1, 8.0), (10, 8.0), (1000, 1.0)])
    assert found is not None
    assert found[0]
    assert found[1] == pytest.approx([10, 100, 1000])


def test_an_interval_is_by_the_spread_of_all_networks_of_the_kind_and_of_no_other():
    found = made_up()
    steady = tuple(replace(each, test=(3.5, 3.5, 3.5)) if each.family == "on top" else each for each in found.trained)
    found = replace(found, trained=steady)
    assert found.spread("alone").degrees_of_freedom == 2 * 11
    mean = found.mean(found.default)
    assert mean.low is not None
    assert mean.low < mean.mean < 3.66 * 1.01
    assert found.mean(found.largest_on_top).low == 3.5
