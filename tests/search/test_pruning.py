"""Stopping hopeless trials: what is ahead, new or on a plateau goes on; what could not catch up stops, with numbers."""

import pickle
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.search.pruning import FinishedCurve, PruningRule, PruningStop

RULE = PruningRule()
EPOCHS = 4


def falling(start: float, macs: int) -> FinishedCurve:
    """A curve as most are: it loses 20, 10 and 5 % in the epochs after its first."""
    return FinishedCurve(macs, (start, start * 0.8, start * 0.72, start * 0.684))


def so_far(start: float) -> list[float]:
    """The first two epochs of a curve as most are."""
    return list(falling(start, 1).val_perplexities[:2])


FINISHED = [falling(6 + 0.3 * n, 2000 - 50 * n) for n in range(12)]  # the best ends at 4.10, with 2,000 MACs
PLATEAU = 16.9  # the perplexity of the letters' frequencies
TAKING_OFF = FinishedCurve(2000, (PLATEAU, PLATEAU, 7.0, 4.0))
STAYING = FinishedCurve(2000, (PLATEAU, PLATEAU, PLATEAU, PLATEAU))

perplexities = st.floats(1, 2800)
curves = st.lists(perplexities, min_size=1, max_size=EPOCHS)
macs = st.integers(1, 10**7)
finished_curves = st.lists(
    st.builds(FinishedCurve, macs, st.lists(perplexities, min_size=1, max_size=EPOCHS).map(tuple)), max_size=25
)
rules = st.builds(
    PruningRule,
    st.integers(4, 12),
    st.integers(1, 3),
    st.integers(1, 4),
    slack=st.floats(0, 2),
    noise=st.floats(0, 0.2),
)


def test_a_curve_that_could_not_catch_up_is_stopped():
    assert RULE.reason_to_stop(so_far(9.0), EPOCHS, 2000, FINISHED)


def test_a_curve_that_may_catch_up_goes_on():
    assert RULE.reason_to_stop(so_far(6.1), EPOCHS, 2000, FINISHED) == ""


def test_the_reason_has_the_numbers():
    reason = RULE.reason_to_stop([9.25, 7.4], EPOCHS, 3456, FINISHED)
    assert reason.startswith("epoch 2 of 4 at 7.40; ")
    factor = 0.684 / 0.8
    margin = factor**0.2 / 1.0202  # slack and noise
    found = re.search(r"even x ([\d.]+), more than the 5 most similar .* ends at ([\d.]+),", reason)
    assert found is not None
    assert float(found[1]) == pytest.approx(factor * margin, abs=0.006)
    assert float(found[2]) == pytest.approx(7.4 * factor * margin, abs=0.006)
    assert reason.endswith("4.10 is already reached with 2,000 MACs per character (3,456 here)")


def test_nothing_is_stopped_before_enough_trials_have_finished():
    assert RULE.reason_to_stop(so_far(8.0), EPOCHS, 2000, FINISHED[: RULE.min_finished - 1]) == ""
    assert RULE.reason_to_stop(so_far(8.0), EPOCHS, 2000, FINISHED[: RULE.min_finished])


def test_nothing_is_stopped_after_its_first_epoch():
    from_the_first = replace(RULE, min_epochs=1)
    assert from_the_first.reason_to_stop([9.0], EPOCHS, 2000, FINISHED)
    assert RULE.reason_to_stop([9.0], EPOCHS, 2000, FINISHED) == ""


def test_a_curve_of_another_length_is_no_continuation_but_its_perplexity_is_reached():
    short = [FinishedCurve(trial.macs_per_char, trial.val_perplexities[:2]) for trial in FINISHED]
    assert RULE.reason_to_stop(so_far(9.0), EPOCHS, 2000, short) == ""
    excellent = FinishedCurve(2000, (4.5, 2.0))
    assert RULE.reason_to_stop(so_far(6.1), EPOCHS, 2000, FINISHED) == ""
    assert "2.00 is already reached" in RULE.reason_to_stop(so_far(6.1), EPOCHS, 2000, [*FINISHED, excellent])


def test_only_trials_with_at_most_its_macs_count_as_reached():
    smallest = min(trial.macs_per_char for trial in FINISHED)
    assert RULE.reason_to_stop(so_far(9.2), EPOCHS, smallest - 1, FINISHED) == ""


def test_equal_macs_count_as_reached():
    trials = [replace(trial, macs_per_char=500) for trial in FINISHED]
    assert RULE.reason_to_stop(so_far(9.0), EPOCHS, 499, trials) == ""
    assert "with 500 MACs per character (500 here)" in RULE.reason_to_stop(so_far(9.0), EPOCHS, 500, trials)


def test_a_plateau_is_not_stopped_where_none_was_seen():
    assert RULE.reason_to_stop([PLATEAU, PLATEAU], EPOCHS, 2000, FINISHED) == ""
    assert RULE.reason_to_stop([PLATEAU, PLATEAU, PLATEAU], EPOCHS, 2000, FINISHED) == ""


def test_a_plateau_is_not_stopped_where_a_similar_one_took_off_later():
    seen = [*FINISHED, *[STAYING] * 4, TAKING_OFF]
    assert RULE.reason_to_stop([PLATEAU, PLATEAU], EPOCHS, 2000, seen) == ""


def test_a_plateau_is_stopped_after_the_epoch_by_which_the_others_had_taken_off():
    seen = [*FINISHED, *[STAYING] * 4, TAKING_OFF]
    assert RULE.reason_to_stop([PLATEAU, PLATEAU, PLATEAU], EPOCHS, 2000, seen)


def test_a_curve_that_has_just_taken_off_is_told_from_one_that_lies_flat():
    flat = [FinishedCurve(2000, (7.5, 7.1, 7.0, 7.0)) for _ in range(8)]
    steep = [TAKING_OFF] * 5
    assert RULE.reason_to_stop([7.5, 7.1, 7.0], EPOCHS, 2000, flat + steep)
    assert RULE.reason_to_stop([PLATEAU, 14.0, 7.0], EPOCHS, 2000, flat + steep) == ""


def test_of_curves_at_one_height_those_with_similar_macs_say_how_it_goes_on():
    small = [FinishedCurve(1000, (7.0, 6.0, 5.9, 5.8)) for _ in range(8)]
    large = [FinishedCurve(100_000, (7.0, 6.0, 4.5, 4.0)) for _ in range(5)]
    best = FinishedCurve(900, (6.5, 5.5, 4.5, 4.2))
    assert RULE.reason_to_stop([7.0, 6.0], EPOCHS, 1000, [best, *small, *large])
    assert RULE.reason_to_stop([7.0, 6.0], EPOCHS, 100_000, [best, *small, *large]) == ""


def test_the_best_epoch_counts_not_the_last():
    best_early = [FinishedCurve(2000, (7.0, 4.0, 9.0, 9.0)), FinishedCurve(2000, (7.0, 6.5, 9.0, 9.0))] * 5
    reason = RULE.reason_to_stop([7.0, 6.0, 20.0], EPOCHS, 2000, best_early)
    assert reason.startswith("epoch 3 of 4 at 6.00; ")
    assert "4.00 is already reached" in reason


def test_the_last_epoch_and_no_epoch_are_not_stopped():
    assert RULE.reason_to_stop([], EPOCHS, 2000, FINISHED) == ""
    assert RULE.reason_to_stop([6.2] * (EPOCHS - 1), EPOCHS, 2000, FINISHED)
    assert RULE.reason_to_stop([6.2] * EPOCHS, EPOCHS, 2000, FINISHED) == ""


@pytest.mark.parametrize("more_careful", [lambda by: replace(RULE, slack=by), lambda by: replace(RULE, noise=by)])
def test_a_more_careful_rule_stops_fewer(more_careful):
    starts = [6 + 0.02 * n for n in range(100)]
    stopped = [
        sum(bool(more_careful(by).reason_to_stop(so_far(start), EPOCHS, 2000, FINISHED)) for start in starts)
        for by in (0, 0.1, 0.2)
    ]
    assert all(more > fewer for more, fewer in pairwise(stopped))


@given(rules, curves, macs, finished_curves)
def test_a_curve_that_is_already_ahead_is_never_stopped(rule, curve, macs_per_char, finished):
    reached = [min(trial.val_perplexities) for trial in finished if trial.macs_per_char <= macs_per_char]
    curve = [*curve[:-1], min([curve[-1], *reached])]
    assert rule.reason_to_stop(curve, EPOCHS, macs_per_char, finished) == ""


@given(rules, curves, macs, finished_curves, st.randoms(use_true_random=False))
def test_the_order_of_the_finished_trials_does_not_matter(rule, curve, macs_per_char, finished, random):
    shuffled = random.sample(finished, len(finished))
    first, second = (rule.reason_to_stop(curve, EPOCHS, macs_per_char, trials) for trials in (finished, shuffled))
    assert first == second


@given(rules, st.lists(perplexities, min_size=EPOCHS, max_size=EPOCHS), macs, finished_curves)
def test_the_repeat_of_a_trial_on_the_front_is_never_stopped(rule, curve, macs_per_char, finished):
    reached = [min(trial.val_perplexities) for trial in finished if trial.macs_per_char <= macs_per_char]
    curve = [*curve[:-1], min([curve[-1], *reached])]
    on_the_front = FinishedCurve(macs_per_char, tuple(curve))
    careful = replace(rule, noise=rule.noise + 1e-9)  # of exp and log
    for done in range(1, EPOCHS):
        assert careful.reason_to_stop(curve[:done], EPOCHS, macs_per_char, [*finished, on_the_front]) == ""


def test_a_perplexity_that_cant_be_is_refused():
    for value in (0.5, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite number of at least 1"):
            FinishedCurve(10, (5.0, value))
        with pytest.raises(ValueError, match="finite number of at least 1"):
            RULE.reason_to_stop([value], EPOCHS, 2000, FINISHED)
    with pytest.raises(ValueError, match="macs_per_char is 0"):
        FinishedCurve(0, (5.0,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 0}, "neighbours is 0; it must be 1 to min_finished"),
        ({"neighbours": 11}, "neighbours is 11"),
        ({"min_epochs": 0}, "min_epochs is 0; it must be 1 or more"),
        ({"slack": -0.1}, "slack is -0.1; it must be 0 or more"),
        ({"noise": float("nan")}, "noise is nan"),
    ],
)
def test_a_rule_says_what_it_allows(options, message):
    with pytest.raises(ValueError, match=message):
        PruningRule(**options)


def test_a_stop_for_one_trial_pickles_and_says_that_it_is_hopeless():
    stop = pickle.loads(pickle.dumps(PruningStop(RULE, 2000, tuple(FINISHED))))
    reason = RULE.reason_to_stop(so_far(9), EPOCHS, 2000, FINISHED)
    assert reason
    assert stop(so_far(9), EPOCHS) == f"hopeless: {reason}"
    assert stop(so_far(5), EPOCHS) == ""
