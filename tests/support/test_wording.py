"""Numbers and lists as the sentences of pages have them."""

from math import inf, nan

import pytest

from pipeline.support.wording import listed, rounded


@pytest.mark.parametrize(
    ("perplexity", "text"),
    [
        (3.684, "3.68"), (999.994, "999.99"), (1000.0, "1,000"), (12345.6, "12,346"),
        (1e6, "over a million"), (inf, "over a million"), (nan, "over a million"),
    ],
)  # fmt: skip
def test_a_perplexity_has_two_decimals_or_fewer_the_larger_it_is(perplexity, text):
    assert rounded(perplexity) == text


@pytest.mark.parametrize(("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), ("abc", "a, b and c")])
def test_a_list_ends_with_and(items, text):
    assert listed(items) == text
