"""Scales and labels of the charts that are drawn as SVG."""

import pytest

from pipeline.support.page.svg import Scale, apart


def test_curves_are_drawn_at_the_height_of_their_perplexity():
    scale = Scale(2, 32, 244, 20)
    assert (scale(2), scale(8), scale(32)) == pytest.approx((244, 132, 20))
    assert scale.ticks == [2, 3, 5, 10, 20, 30]


def test_labels_of_lines_that_end_together_do_not_overlap():
    ends = [("a", 1.0, 100.0), ("b", 1.0, 101.0), ("c", 1.0, 243.0), ("d", 1.0, 244.0), ("other", 2.0, 100.0)]
    assert [label.y for label in apart(ends, 20, 244)] == pytest.approx([94.5, 106.5, 232, 244, 100])
