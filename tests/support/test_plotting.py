"""Numbers on the axes of figures."""

import pytest

from pipeline.support.drawing import drawable, si


@pytest.mark.parametrize(("value", "short"), [(999, "999"), (1500, "1.5k"), (2e6, "2M")])
def test_numbers_have_a_suffix(value, short):
    assert si(value) == short


def test_an_infinite_perplexity_is_clipped():
    assert drawable([2.5, float("inf")]) == [2.5, 1e6]
