"""The front of a search: intervals by hand, probabilities in known cases, and the picks."""

from math import exp, inf, log, log10, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.search.front import Trial, evaluate_front, hypervolume_by_trial, picks
from pipeline.support.pareto import hypervolume
from pipeline.training.differences import SEED_SPREADS
from tests.search.candidates import ALL, candidate

REFERENCE = (28.0, 1_000_000.0)


# --- means and intervals ---------------------------------------------------------------------------------------------


def test_the_interval_predicts_one_more_seed_by_students_t_with_the_pooled_deviation_of_the_logarithm():
    one, two = (4.0, 4.2, 4.4), (8.0, 8.2)
    evaluated = evaluate_front([candidate("a", 100, *one), candidate("b", 50, *two)], REFERENCE)
    squares = sum((log(v) - np.mean(np.log(values))) ** 2 for values in (one, two) for v in values)
    deviation = sqrt(squares / 3)
    assert evaluated.spread.degrees_of_freedom == 3
    assert evaluated.spread.deviation == pytest.approx(deviation)
    t = 3.182446305284263  # 97.5 % of Student's t with 3 degrees of freedom, of the printed tables
    mean = (4.0 * 4.2 * 4.4) ** (1 / 3)
    val = evaluated.points[1].val
    assert val.mean == pytest.approx(mean)
    factor = exp(t * deviation * sqrt(1 + 1 / 3))  # of one more training
    assert val.ends == pytest.approx((mean / factor, mean * factor))


def test_who_has_one_run_borrows_the_spread_of_the_others():
    evaluated = evaluate_front([candidate("a", 100, 4.0, 4.2), candidate("b", 50, 8.0)], REFERENCE)
    single, double = evaluated.points
    assert single.val.mean == 8.0
    (low, high), (low_of_two, high_of_two) = single.val.ends or (0, 0), double.val.ends or (0, 0)
    assert log(high / low) == pytest.approx(sqrt(2 / 1.5) * log(high_of_two / low_of_two))


def test_seeds_that_happen_to_agree_do_not_make_the_interval_narrower_than_that_of_the_default_network():
    agreeing = [candidate("a", 100, 4.0, 4.002, 4.001), candidate("b", 50, 8.0, 8.001)]
    known = SEED_SPREADS["network against n-grams"]  # in bits
    evaluated = evaluate_front(agreeing, REFERENCE)
    half = 2.085963447265837 * (known.deviation or 0.0) * log(2) * sqrt(1 + 1 / 3)  # t of 20 degrees of freedom
    for estimated in (evaluated.points[1].val, evaluated.points[1].test):
        assert estimated
        assert estimated.ends == pytest.approx((estimated.mean / exp(half), estimated.mean * exp(half)))
    assert evaluated.spread.degrees_of_freedom == 20


def test_without_a_second_seed_there_is_no_interval():
    evaluated = evaluate_front([candidate("a", 100, 4.0), candidate("b", 50, 8.0)], REFERENCE)
    assert evaluated.spread.deviation is None
    for point in evaluated.points:
        assert point.val.low is point.val.high is None
        assert str(point.val) == f"{point.val.mean:.2f}"
    assert "nan" not in repr(evaluated)


def test_nothing_above_the_perplexity_of_the_reference_is_on_the_front():
    evaluated = evaluate_front([candidate("a", 100, 6.0), candidate("b", 200, 4.0)], (5.0, 1e6))
    assert [point.candidate.name for point in evaluated.front] == ["b"]
    assert evaluated.hypervolume == pytest.approx(log10(1e6 / 200))


def test_what_diverged_with_a_seed_is_not_on_the_front_and_does_not_widen_the_intervals_of_others():
    steady = candidate("steady", 100, 4.0, 4.1)
    diverged = candidate("diverged", 200, 4.0, inf)
    alone, beside = evaluate_front([steady], REFERENCE), evaluate_front([steady, diverged], REFERENCE)
    assert beside.spread == alone.spread
    assert beside.points[1].val.mean == inf
    assert not beside.points[1].on_front


# --- the front -------------------------------------------------------------------------------------------------------


def test_points_stand_by_macs_and_the_front_is_that_of_the_means():
    evaluated = evaluate_front(ALL, REFERENCE)
    assert [point.candidate.name for point in evaluated.points] == ["tiny", "knee", "worse", "lean", "best"]
    assert [point.candidate.name for point in evaluated.front] == ["tiny", "knee", "lean", "best"]


def test_the_hypervolume_is_in_perplexity_times_decades_within_the_reference():
    evaluated = evaluate_front([candidate("a", 10_000, 8.0), candidate("b", 100_000, 3.0)], REFERENCE)
    assert evaluated.hypervolume == pytest.approx(1 * (28 - 8) + 1 * (28 - 3))
    assert evaluate_front([candidate("a", 10_000, 8.0)], (28.0, 99e3), "stored-numbers").hypervolume == 20  # 9,900
    assert evaluate_front([candidate("a", 2_000_000, 8.0), candidate("b", 10, 30.0)], REFERENCE).hypervolume == 0


perplexities = st.lists(st.floats(1, 28), min_size=1, max_size=3)


@given(st.lists(st.tuples(st.integers(1, 10**6), perplexities), min_size=1, max_size=8))
def test_whatever_the_runs_nothing_is_nan_and_the_picks_are_on_the_front(drawn):
    candidates = [candidate(str(i), macs, *values) for i, (macs, values) in enumerate(drawn)]
    evaluated = evaluate_front(candidates, REFERENCE)
    assert "nan" not in repr(evaluated)
    assert any(point.on_front for point in evaluated.points)
    points = [(log10(c.sizes["macs_per_char"]), c.mean_val_perplexity) for c in candidates]
    assert evaluated.hypervolume == pytest.approx(hypervolume(points, (log10(REFERENCE[1]), REFERENCE[0])))
    for pick in picks(evaluated).values():
        assert pick.point.on_front
        assert "nan" not in pick.sentence


def test_the_hypervolume_by_trial_grows_and_a_failed_trial_adds_nothing():
    trials = [
        Trial("gru", 10_000, None),
        Trial("gru", 100_000, 8.0),
        Trial("rnn", 100, 28.0),
        Trial("rnn", 10_000, 8.0),
    ]
    assert hypervolume_by_trial(trials, REFERENCE) == pytest.approx([0, 20, 20, 40])
