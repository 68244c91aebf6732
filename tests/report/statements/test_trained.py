"""What trainings decide: where curves start and end, the gap between them, and comparisons of configurations."""

from dataclasses import replace

import pytest

from pipeline.report.statements.kinds import report_statements, weigh
from pipeline.report.statements.verdicts import Word
from tests.report.alterations import ends, judged, runs, statement, untrained
from tests.report.reproductions import reproduction

HOLDS, IN_PART, WRONG_REASON, FAILS, OPEN = Word

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
    ("first_half", "val", "part"), [(23.0, 18.0, "training only"), (20.0, 24.0, "validation only")]
)
def test_a_start_holds_both_curves_to_their_first_points(first_half, val, part):
    verdict = judged(curves(LARGE, val=(val,) + (9.0,) * 49, first_half=first_half), f"{LARGE}-start")
    assert (verdict.word, verdict.part) == (IN_PART, part)


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


def test_what_is_not_trained_to_its_epoch_is_open():
    found = untrained(GRU)(reproduction())
    words = {kind: judged(found, f"{GRU}-{kind}").word for kind in ("start", "end", "gap-early", "gap-onset")}
    assert [kind for kind, word in words.items() if word != OPEN] == ["start"]


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
        ("gru-torch-2x128-gap-growth", (0, 0, 0, 0, 0.4, 0.8, 1.2, 1.6, 2, 2.4), IN_PART, "gradually"),
        ("gru-torch-2x128-gap-growth", (0, 0, 0, 0, 0, 0, 0.9, 0.9, 0.9, 0.9), IN_PART, "slightly"),
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
        (tuple(10 - 0.08 * epoch for epoch in range(100)), (12.0,) * 100, IN_PART),  # not yet: the gap grows
        ((12.0,) * 50 + (9.4,) * 25 + (9.3,) * 25, (12.0,) * 50 + (9.0,) * 25 + (9.6,) * 25, WRONG_REASON),  # no gap
    ],
)
def test_overfitting_is_a_validation_perplexity_that_rises_while_training_falls(train, val, word):
    assert judged(curves(train=train, val=val), f"{GRU}-overfitting").word == word


# --- comparisons of configurations -----------------------------------------------------------------------------------

# d2l has no whole training of these, so ours alone count
DEEP_GRU, DEEP_LSTM, DEEPEST = "gru-torch-2x128", "lstm-torch-2x128", "gru-torch-8x32"


def said(relation, kind="perplexity-order", *others, **changes):
    """A statement on GRU and LSTM 2x128, or the others."""
    ids = (DEEP_GRU, *(others or (DEEP_LSTM,)))
    return replace(statement("deep-2x32-perplexity"), kind=kind, configurations=ids, relation=relation, **changes)


def ended(gru, lstm=(5.0, 7.0), deep=(16.5, 16.9)):
    """The reproduction in which the three networks end at these perplexities in training and validation."""
    return ends(gru_torch_2x128=gru, lstm_torch_2x128=lstm, gru_torch_8x32=deep)(reproduction())


@pytest.mark.parametrize(
    ("wanted", "gru", "word", "part"),
    [
        (said("lower"), (4.0, 6.0), HOLDS, ""),
        (said("lower"), (4.0, 9.0), IN_PART, "training"),
        (said("lower"), (6.0, 6.0), IN_PART, "validation"),
        (said("lower", curve="validation"), (4.0, 9.0), FAILS, ""),
        (said("far-higher"), (8.0, 11.0), HOLDS, ""),
        (said("far-higher"), (6.0, 9.0), IN_PART, "training, but not by far and validation, but not by far"),
        (said("smaller", "gap-order"), (5.0, 6.0), HOLDS, ""),
        (said("considerably-larger", "gap-order"), (5.0, 8.0), HOLDS, ""),
        (said("considerably-larger", "gap-order"), (5.0, 7.2), IN_PART, "larger, but not considerably"),
        (said("better", "generalises"), (5.0, 6.0), HOLDS, ""),
        (said("better", "generalises"), (4.0, 6.5), WRONG_REASON, ""),  # by validation perplexity, not by the gap
        (said("better", "generalises"), (7.5, 8.0), IN_PART, "the reason (its gap), not the conclusion"),
        (said("alike", "generalises"), (5.2, 7.3), HOLDS, ""),
        (said("alike", "generalises"), (5.2, 9.0), FAILS, ""),
        (said("worse-unseen", "generalises"), (4.0, 6.0), FAILS, ""),
        (said("not-better", "best"), (3.0, 6.0), FAILS, ""),
        (said("best-by-gap", "best"), (3.0, 6.0), WRONG_REASON, ""),
    ],
)
def test_two_networks_are_compared(wanted, gru, word, part):
    verdict = judged(ended(gru), wanted)
    assert (verdict.word, verdict.part) == (word, part)


@pytest.mark.parametrize(
    ("relation", "kind", "lstm", "deep", "word"),
    [
        ("among-lowest", "perplexity-order", (5.0, 5.0), (8.0, 8.0), HOLDS),
        ("among-lowest", "perplexity-order", (5.0, 5.0), (4.0, 4.0), FAILS),
        ("higher-than-some", "perplexity-order", (5.0, 5.0), (9.0, 9.0), HOLDS),
        ("higher-than-some", "perplexity-order", (7.0, 7.0), (9.0, 9.0), FAILS),
        ("smaller", "gap-order", (5.0, 7.0), (5.0, 4.5), FAILS),
    ],
)
def test_one_network_is_compared_with_several(relation, kind, lstm, deep, word):
    assert judged(ended((6.0, 6.0), lstm, deep), said(relation, kind, DEEP_LSTM, DEEPEST)).word == word


def test_what_is_too_close_to_call_is_open_and_says_how_many_seeds_it_takes():
    verdict = judged(ended((4.99, 6.99)), said("lower"))
    assert verdict.word == OPEN
    assert "seeds each of gru-torch-2x128 and lstm-torch-2x128" in verdict.part
    half = judged(ended((4.0, 6.99)), said("lower"))
    assert (half.word, half.part.partition(":")[0]) == (IN_PART, "training; open")


def test_a_comparison_of_many_is_held_to_a_stricter_level():
    found = ended((4.92, 6.0), (5.05, 7.0))
    one = replace(said("lower", curve="training"), id="one")
    many = [one, *(each for each in report_statements() if each.kind == "perplexity-order")]
    assert [weigh(found, group).verdicts[0].word for group in ([one], many)] == [HOLDS, OPEN]


def test_an_order_of_an_untrained_configuration_is_open():
    verdict = judged(untrained(DEEP_LSTM)(reproduction()), said("lower"))
    assert (verdict.word, verdict.part) == (OPEN, "training lstm-torch-2x128 to the end")
    third = untrained(DEEPEST)(ended((6.0, 6.0), (7.0, 7.0)))
    assert judged(third, said("higher-than-some", "perplexity-order", DEEP_LSTM, DEEPEST)).word == OPEN


# --- reasons ---------------------------------------------------------------------------------------------------------


def test_a_reason_that_is_a_wrong_statement_makes_the_reason_wrong():
    found = ends(gru_torch_2x32=(4.1, 6.4), lstm_torch_2x32=(6.6, 7.4))(reproduction())
    assert judged(found, "deep-2x32-lstm-unsuited").word == WRONG_REASON
