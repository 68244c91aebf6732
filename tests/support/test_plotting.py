"""Numbers on the axes of figures."""

import pytest

from pipeline.support.drawing import drawable, si
from pipeline.support.plotting import plain_number


@pytest.mark.parametrize(
    ("value", "short", "plain"),
    [(999, "999", "999"), (1500, "1.5k", "1,500"), (2e6, "2M", "2,000,000")],
)
def test_numbers_have_a_suffix_or_separators(value, short, plain):
    assert (si(value), plain_number(value)) == (short, plain)


def test_an_infinite_perplexity_is_clipped():
    assert drawable([2.5, float("inf")]) == [2.5, 1e6]
