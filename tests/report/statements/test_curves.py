"""Where curves start and end, and the gap between them."""

from dataclasses import replace

import pytest

from pipeline.report.statements.evidence import Bounds
from pipeline.report.statements.kinds import sensitivity, weigh
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN, WRONG_REASON
from tests.report.alterations import judged, runs, statement, untrained
from tests.report.reproductions import reproduction

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


@pytest.mark.parametrize(
    ("train", "val", "curve", "word", "part"),
    [
        (2.4, 1.6, "training and validation", HOLDS, ""),
        (1.6, 9.0, "training and validation", IN_PART, "training only"),
        (2.6, 9.0, "not said", FAILS, ""),
        (2.0, 9.0, "validation", FAILS, ""),
    ],
)
def test_an_end_holds_its_curves_to_the_last_epoch(train, val, curve, word, part):
    found = curves(train=(9.0,) * 99 + (train,), val=(9.0,) * 99 + (val,))
    verdict = judged(found, statement(f"{GRU}-end", curve=curve))
    assert (verdict.word, verdict.part) == (word, part)


@pytest.mark.parametrize("kind", ["start", "end", "gap-early", "gap-onset"])
def test_what_is_not_trained_to_its_epoch_is_open(kind):
    found = untrained(GRU)(reproduction())
    assert (judged(found, f"{GRU}-{kind}").word == OPEN) == (kind != "start")
    assert judged(reproduction(ends={}), f"{GRU}-{kind}").word == OPEN


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
    ("wanted", "tenths", "word", "part"),
    [
        ("lstm-torch-8x32-gap", (-1, 1, 1, 1, 1, 1, 1, 1, 1, 1), HOLDS, ""),
        ("lstm-torch-8x32-gap", (2, 1, 1, 1, 1, 1, 1, 1, 1, 1), IN_PART, "at the last epoch only"),
        ("gru-torch-2x128-gap-growth", (0, 0, 0, 0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7), HOLDS, ""),
        ("gru-torch-2x128-gap-growth", (0, 0, 0, 0, 0.4, 0.8, 1.2, 1.6, 2, 2.4), IN_PART, "gradually"),
        ("gru-torch-2x128-gap-growth", (0, 0, 0, 0, 0, 0, 0.9, 0.9, 0.9, 0.9), IN_PART, "slightly"),
        (f"{GRU}-gap-onset", (0, 1, 1, 1, 1, 1, 1, 1, 1, 1), HOLDS, ""),
        (f"{GRU}-gap-onset", (0, 0, 1, 1, 1, 1, 1, 1, 1, 1), FAILS, ""),
        (statement(f"{GRU}-gap-onset", relation="from-slightly"), (0, 1, 1, 1, 1, 1, 1, 1, 1, 4), IN_PART, "from when"),
    ],
)
def test_the_course_of_a_gap(wanted, tenths, word, part):
    wanted = statement(wanted) if isinstance(wanted, str) else wanted
    verdict = judged(gaps(*tenths, id=wanted.configurations[0]), wanted)
    assert (verdict.word, verdict.part) == (word, part)


@pytest.mark.parametrize(
    ("train", "val", "word"),
    [
        (tuple(10 - 0.08 * epoch for epoch in range(100)), (12.0,) * 50 + (9.0,) * 25 + (9.6,) * 25, HOLDS),
        (
            tuple(10 - 0.08 * epoch for epoch in range(100)),
            (12.0,) * 100,
            IN_PART,
        ),  # not yet: the gap grows
        ((12.0,) * 50 + (9.4,) * 25 + (9.3,) * 25, (12.0,) * 50 + (9.0,) * 25 + (9.6,) * 25, WRONG_REASON),  # no gap
    ],
)
def test_overfitting_is_a_validation_perplexity_that_rises_while_training_falls(train, val, word):
    assert judged(curves(train=train, val=val), f"{GRU}-overfitting").word == word


def test_a_verdict_follows_its_bound():
    found, said = gaps(*(0.9,) * 10), statement(f"{GRU}-gap-early", relation="never-considerable")
    words = [judged(found, said, Bounds(considerable_gap=gap)).word for gap in (1, 0.5)]
    assert words == [HOLDS, FAILS]
    changed = sensitivity(weigh(gaps(0, *9 * [0.9]), [statement(f"{GRU}-gap-onset")]))
    assert (changed["visible_gap"], changed["seconds"]) == ((0, 1), (0, 0))
