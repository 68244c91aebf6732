from dataclasses import replace

import pytest

from pipeline.report.statements.bounds import Bounds
from pipeline.report.statements.evaluators.curves import onset
from pipeline.report.statements.judging import sensitivity
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN, WRONG_REASON
from tests.report.alterations import runs
from tests.report.reproductions import reproduction
from tests.report.statements.judged import judged, statement

GRU = "gru-torch-1x128"  # d2l has no whole training of it, so ours alone count at its end

LARGE = "lstm-scratch-1x1024"  # d2l has none of it


def curves(id=GRU, train=None, val=None, **changes):
    """The reproduction with other curves of a configuration, the same for each seed."""

    def change(run):
        curves = {"train": train or run.train, "val": val or run.val}
        return replace(run, **curves, epochs_planned=len(curves["val"]), **changes)

    return runs(id, change)(reproduction())


def gaps(*tenths, id=GRU):
    """The reproduction with a gap for each tenth of 100 epochs, over a training perplexity of 5."""
    return curves(id, (5.0,) * 100, tuple(5.0 + gap for gap in tenths for _ in range(10)))


# --- levels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first_half", "val", "word", "part"),
    [
        (23.0, 27.0, HOLDS, ""),
        (23.0, 18.0, IN_PART, "training only"),
        (20.0, 24.0, IN_PART, "validation only"),
        (20.0, 18.0, FAILS, ""),
    ],
)
def test_a_start_holds_both_curves_to_their_first_points(first_half, val, word, part):
    verdict = judged(curves(LARGE, val=(val,) + (9.0,) * 49, first_half=first_half), f"{LARGE}-start")
    assert (verdict.word, verdict.part) == (word, part)


def test_a_start_of_an_older_record_is_the_whole_first_epoch_and_says_so():
    verdict = judged(reproduction(), f"{GRU}-start")
    assert "The record lacks the first half epoch" in verdict.because


def test_a_start_takes_no_complete_training():
    found = runs(LARGE, lambda run: replace(run.until(2), epochs_planned=50))(reproduction())
    assert judged(found, f"{LARGE}-start").word != OPEN


def test_a_start_without_any_training_is_open():
    verdict = judged(reproduction(ends={}), f"{GRU}-start")
    assert (verdict.word, verdict.part) == (OPEN, f"training {GRU}")


@pytest.mark.parametrize(
    ("train", "val", "word", "part"),
    [(2.4, 1.6, HOLDS, ""), (1.6, 9.0, IN_PART, "training only"), (2.6, 9.0, FAILS, "")],
)
def test_an_end_holds_both_curves_to_the_last_epoch(train, val, word, part):
    verdict = judged(curves(train=(9.0,) * 99 + (train,), val=(9.0,) * 99 + (val,)), f"{GRU}-end")
    assert (verdict.word, verdict.part) == (word, part)


def test_an_end_shows_the_other_reading_the_lowest_epoch():
    verdict = judged(curves(val=(9.0,) * 50 + (2.1,) + (9.0,) * 49), f"{GRU}-end")
    assert "The lowest validation perplexity is 2.10, which is about that" in verdict.because


def test_an_end_of_one_curve_is_held_to_that_curve():
    found = curves(train=(2.0,) * 100, val=(9.0,) * 100)
    assert judged(found, statement(f"{GRU}-end", curve="training")).word == HOLDS


def test_an_end_of_an_unfinished_training_is_open():
    found = runs(GRU, lambda run: replace(run.until(3), epochs_planned=100))(reproduction())
    verdict = judged(found, f"{GRU}-end")
    assert verdict.word == OPEN
    assert "3 epochs are trained" in verdict.because


def test_seeds_of_d2l_count_where_there_is_one_of_ours():
    verdict = judged(reproduction(seeds=1), "gru-scratch-1x32-end")
    assert "1 seed and 5 of d2l's" in verdict.because


# --- the gap ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relation", "held", "missed"),
    [
        ("not-visible-at-first", (0.4, 3, 3, 3, 3, 3, 3, 3, 3, 3), (0.6, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
        ("not-considerable-at-first", (0.9, 3, 3, 3, 3, 3, 3, 3, 3, 3), (1.1, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
        ("never-visible", (0.4,) * 10, (0, 0, 0, 0.6, 0, 0, 0, 0, 0, 0)),
        ("never-considerable", (0.9,) * 10, (0, 0, 0, 1.1, 0, 0, 0, 0, 0, 0)),
        ("visible-at-last", (0, 0, 0, 0, 0, 0, 0, 0, 0, 0.6), (3, 3, 3, 3, 3, 3, 3, 3, 3, 0.4)),
        ("considerable-at-last", (0, 0, 0, 0, 0, 0, 0, 0, 0, 1.1), (3, 3, 3, 3, 3, 3, 3, 3, 3, 0.9)),
        ("grows-throughout", range(10), (0, 1, 2, 3, 3, 4, 5, 6, 7, 8)),
    ],
)
def test_a_gap_is_held_to_its_bound(relation, held, missed):
    said = statement(f"{GRU}-gap-early", relation=relation)
    assert [judged(gaps(*tenths), said).word for tenths in (held, missed)] == [HOLDS, FAILS]


@pytest.mark.parametrize(
    ("tenths", "word", "part"),
    [
        ((-1, 1, 1, 1, 1, 1, 1, 1, 1, 1), HOLDS, ""),
        ((2, 1, 1, 1, 1, 1, 1, 1, 1, 1), IN_PART, "at the last epoch only"),
        ((0,) * 10, FAILS, ""),
    ],
)
def test_a_constant_gap_has_its_size_at_every_epoch(tenths, word, part):
    id = "lstm-torch-8x32"
    verdict = judged(gaps(*tenths, id=id), f"{id}-gap")
    assert (verdict.word, verdict.part) == (word, part)


@pytest.mark.parametrize(
    ("tenths", "word", "part"),
    [
        ((0, 0, 0, 0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), HOLDS, ""),
        ((0, 0, 0, 0, 0.4, 0.8, 1.2, 1.6, 2, 2.4), IN_PART, "gradually"),
        ((0, 0, 0, 0, 0, 0, 0.9, 0.9, 0.9, 0.9), IN_PART, "slightly"),
        ((3, 3, 3, 3, 2, 1, 0, 0, 0, 0), FAILS, ""),
    ],
)
def test_a_gap_that_grows_slightly_and_gradually(tenths, word, part):
    id = "gru-torch-2x128"
    verdict = judged(gaps(*tenths, id=id), f"{id}-gap-growth")
    assert (verdict.word, verdict.part) == (word, part)


def test_overfitting_is_a_validation_perplexity_that_rises_while_training_falls():
    train = tuple(10 - 0.08 * epoch for epoch in range(100))
    rising = (12.0,) * 50 + (9.0,) * 25 + (9.6,) * 25
    words = [judged(curves(train=train, val=val), f"{GRU}-overfitting").word for val in (rising, (12.0,) * 100)]
    assert words == [HOLDS, IN_PART]  # in the second the gap grows, and that is no overfitting yet


def test_overfitting_without_a_gap_has_a_wrong_reason():
    train = (12.0,) * 50 + (9.4,) * 25 + (9.3,) * 25
    assert judged(curves(train=train, val=(12.0,) * 50 + (9.0,) * 25 + (9.6,) * 25), f"{GRU}-overfitting").word == (
        WRONG_REASON
    )


def test_an_onset_is_the_epoch_after_which_the_gap_stays_visible():
    run = replace(reproduction()[GRU].runs[0], train=(5.0,) * 6, val=(6.0, 5.0, 6.0, 5.4, 5.5, 5.6))
    assert (onset(run, 0.5), onset(run, 1.0)) == (5, 7)


@pytest.mark.parametrize(
    ("tenths", "word"), [((0, 1, 1, 1, 1, 1, 1, 1, 1, 1), HOLDS), ((0, 0, 1, 1, 1, 1, 1, 1, 1, 1), FAILS)]
)
def test_a_gap_opens_near_its_epoch(tenths, word):
    assert judged(gaps(*tenths), f"{GRU}-gap-onset").word == word


def test_seeds_that_never_have_a_visible_gap_are_counted():
    assert "of which 3 end below it" in judged(gaps(*(0,) * 10), f"{GRU}-gap-onset").because


def test_an_onset_may_say_how_much_the_gap_grows_from_there():
    verdict = judged(gaps(0, 1, 1, 1, 1, 1, 1, 1, 1, 4), statement(f"{GRU}-gap-onset", relation="from-slightly"))
    assert (verdict.word, verdict.part) == (IN_PART, "from when")


def test_a_gap_of_an_unfinished_training_is_open():
    found = runs(GRU, lambda run: replace(run.until(3), epochs_planned=100))(reproduction())
    verdict = judged(found, f"{GRU}-gap-early")
    assert (verdict.word, verdict.part) == (OPEN, f"training {GRU} to the end")


def test_a_verdict_on_a_gap_follows_its_bound():
    found, said = gaps(*(0.9,) * 10), statement(f"{GRU}-gap-early", relation="never-considerable")
    assert [judged(found, said, Bounds().scaled("considerable_gap", factor)).word for factor in (1, 0.5)] == [
        HOLDS,
        FAILS,
    ]


def test_an_onset_follows_the_bound_of_a_visible_gap():
    changed = sensitivity(gaps(0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9), [statement(f"{GRU}-gap-onset")])
    assert changed["visible_gap"] == (0, 1)
