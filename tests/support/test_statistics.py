"""Means over seeds, their intervals, and the difference of two means."""

from math import inf, log
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit
from scipy.stats import norm, ttest_ind

from pipeline.support.statistics import (
    Estimate,
    PairedComparison,
    Spread,
    block_bootstrap,
    difference,
    estimate,
    holm,
    paired,
    pooled_spread,
    wider,
)

NUMBERS = st.lists(st.floats(-5, 5), min_size=2, max_size=6)


@given(NUMBERS, NUMBERS)
def test_a_difference_is_by_welchs_test(first, second):
    if min(np.ptp(first), np.ptp(second)) < 1e-3:
        return
    (ours, p), theirs = difference(first, second), ttest_ind(first, second, equal_var=False)
    assert ours.mean == pytest.approx(fmean(first) - fmean(second))
    assert ours.ends == pytest.approx(tuple(theirs.confidence_interval(0.95)), rel=1e-6, abs=1e-9)
    assert p == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)


def test_where_a_side_has_no_spread_of_its_own_the_known_one_takes_its_place():
    half = stdtrit(20, 0.975) * 0.1 * (1 + 1 / 3) ** 0.5
    for second in ([2.0, 2.0, 2.0], [1.9, 2.0, 2.1]):
        assert difference([1.0], second, Spread(0.1, 20))[0].ends == pytest.approx((-1 - half, -1 + half))
    assert difference([1.0, 1.0], [2.0, 2.0])[1] is None


def test_holms_p_values_grow_with_the_number_of_tests_and_keep_their_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_interval_of_a_perplexity_is_symmetric_in_the_logarithm():
    mean = estimate([2.0, 8.0])
    assert mean.mean == pytest.approx(4)
    assert mean.low is not None
    assert mean.high is not None
    assert mean.low * mean.high == pytest.approx(16)


def test_a_single_seed_is_its_own_mean_to_the_last_digit_and_has_no_interval():
    mean = estimate([4.606060606060606])
    assert (mean.mean, mean.low, mean.high) == (4.606060606060606, None, None)


def test_a_single_seed_has_the_interval_of_a_spread_that_is_known():
    mean = estimate([5.0], spread=Spread(0.1, 4))
    assert mean.high == pytest.approx(5 * np.exp(stdtrit(4, 0.975) * 0.1))


def test_a_spread_is_pooled_over_groups_and_leaves_out_single_runs_and_what_diverged():
    groups = [np.log([2.0, 4.0]), np.log([3.0, 3.0, 3.0]), np.log([9.0]), np.log([5.0, inf])]
    spread = pooled_spread(groups)
    assert spread.degrees_of_freedom == 3
    assert spread.deviation == pytest.approx((2 * log(2**0.5) ** 2 / 3) ** 0.5)


def test_the_bootstrap_of_independent_values_has_the_usual_interval():
    values = np.random.default_rng(1).normal(2.0, 1.0, 5000)
    found = block_bootstrap(values, block=10)
    assert found.mean == pytest.approx(values.mean())
    assert found.half == pytest.approx(1.96 / 5000**0.5, rel=0.15)


def test_a_short_last_block_weighs_as_many_values_as_it_has():
    found = block_bootstrap(np.array([1.0] * 10 + [2.0]), block=10)
    assert found.mean == pytest.approx(12 / 11)
    assert (found.low, found.high) == (1.0, 2.0)


def test_from_three_seeds_on_their_own_spread_counts_where_its_interval_is_wider():
    known, own = Spread(1.0, 20), np.array([-0.5, 0.0, 0.5])
    assert wider(known, [np.array([0.0, 9.0])]) == known
    assert wider(known, [0.8 * own]) == known
    assert wider(known, [own]) == Spread(0.5, 2), "t(2) is twice as wide"


@given(st.floats(0.01, 10))
def test_a_detectable_difference_is_found_in_80_of_100_cases(half):
    """By a spread of seeds that is known: of the normal distribution."""
    found = PairedComparison(Estimate(0.0), Estimate(0.0), Estimate(0.0, -half, half), 10**6).detectable(0.99)
    assert norm.cdf((found - half) / (half / norm.ppf(0.995))) == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(-0.05, -0.01, "ahead"), (0.01, 0.05, "behind"), (-0.05, 0.01, "open")]
)
def test_a_verdict_needs_an_interval_over_both_without_zero(low, high, verdict):
    one = Estimate(0.03, 0.01, 0.05)
    assert PairedComparison(one, one, Estimate((low + high) / 2, low, high)).verdict == verdict


def test_differences_have_students_interval_of_seeds_the_bootstraps_of_the_text_and_one_by_both():
    """Of both, the squared distances to the ends add up."""
    differences = np.random.default_rng(0).normal(-0.1, 1.0, (3, 4000))
    found = paired(differences, block=50)
    means = differences.mean(axis=1)
    assert found.over_seeds.mean == pytest.approx(means.mean())
    half = 4.303 * means.std(ddof=1) / 3**0.5
    assert found.over_seeds.low == pytest.approx(means.mean() - half, rel=1e-3)
    assert found.over_text.mean == pytest.approx(differences.mean())
    squares = [(each.mean - each.low) ** 2 for each in (found.over_seeds, found.over_text) if each.low is not None]
    assert found.over_both.low == pytest.approx(found.over_both.mean - sum(squares) ** 0.5)


def test_without_a_spread_of_seeds_or_a_second_block_of_text_there_is_no_verdict():
    values = np.random.default_rng(0).normal(9, 1, (1, 400))
    for found in (paired(values, block=10), paired(values, block=400, spread=Spread(0.1, 4))):
        assert (found.over_both.ends, found.verdict) == (None, "open")
    assert paired(values, block=10, spread=Spread(0.1, 4)).verdict == "behind"
