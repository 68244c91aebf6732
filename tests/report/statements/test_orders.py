"""Comparisons of configurations: perplexity, the gap, generalising, and the best."""

from dataclasses import replace

import pytest

from pipeline.report.statements.kinds import report_statements, weigh
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN, WRONG_REASON
from tests.report.alterations import ends, judged, statement, untrained
from tests.report.reproductions import reproduction

# d2l has no whole training of these, so ours alone count
GRU, LSTM, DEEP, LARGE = "gru-torch-2x128", "lstm-torch-2x128", "gru-torch-8x32", "gru-scratch-1x1024"


def said(relation, kind="perplexity-order", *others, **changes):
    """A statement on GRU and LSTM 2x128, or the others."""
    ids = (GRU, *(others or (LSTM,)))
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
        (said("lower"), (6.0, 9.0), FAILS, ""),
        (said("lower", curve="validation"), (4.0, 9.0), FAILS, ""),
        (said("higher"), (6.0, 9.0), HOLDS, ""),
        (said("far-higher"), (8.0, 11.0), HOLDS, ""),
        (said("far-higher"), (6.0, 9.0), IN_PART, "training, but not by far and validation, but not by far"),
        (said("far-higher"), (4.0, 6.0), FAILS, ""),
        (said("smaller", "gap-order"), (5.0, 6.0), HOLDS, ""),
        (said("smaller", "gap-order"), (5.0, 8.0), FAILS, ""),
        (said("considerably-larger", "gap-order"), (5.0, 8.0), HOLDS, ""),
        (said("considerably-larger", "gap-order"), (5.0, 7.2), IN_PART, "larger, but not considerably"),
        (said("better", "generalises"), (5.0, 6.0), HOLDS, ""),
        (said("better", "generalises"), (4.0, 6.5), WRONG_REASON, ""),  # by validation perplexity, not by the gap
        (said("better", "generalises"), (7.5, 8.0), IN_PART, "the reason (its gap), not the conclusion"),
        (said("better", "generalises"), (4.0, 8.0), FAILS, ""),
        (said("alike", "generalises"), (5.2, 7.3), HOLDS, ""),
        (said("alike", "generalises"), (5.2, 9.0), FAILS, ""),
        (said("better-unseen", "generalises"), (4.0, 6.0), HOLDS, ""),
        (said("worse-unseen", "generalises"), (4.0, 6.0), FAILS, ""),
        (said("best", "best"), (3.0, 6.0), HOLDS, ""),
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
        ("among-lowest", "perplexity-order", (7.0, 7.0), (8.0, 8.0), HOLDS),
        ("among-lowest", "perplexity-order", (5.0, 5.0), (8.0, 8.0), HOLDS),
        ("among-lowest", "perplexity-order", (5.0, 5.0), (4.0, 4.0), FAILS),
        ("higher-than-some", "perplexity-order", (5.0, 5.0), (9.0, 9.0), HOLDS),
        ("higher-than-some", "perplexity-order", (7.0, 7.0), (9.0, 9.0), FAILS),
        ("lower", "perplexity-order", (7.0, 7.0), (5.0, 5.0), FAILS),
        ("smaller", "gap-order", (5.0, 7.0), (5.0, 4.5), FAILS),
    ],
)
def test_one_network_is_compared_with_several(relation, kind, lstm, deep, word):
    assert judged(ended((6.0, 6.0), lstm, deep), said(relation, kind, LSTM, DEEP)).word == word


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
    assert [weigh(found, group, None).verdicts[0].word for group in ([one], many)] == [HOLDS, OPEN]


def test_an_order_of_an_untrained_configuration_is_open():
    verdict = judged(untrained(LSTM)(reproduction()), said("lower"))
    assert (verdict.word, verdict.part) == (OPEN, "training lstm-torch-2x128 to the end")
    third = untrained(DEEP)(ended((6.0, 6.0), (5.0, 5.0)))
    assert judged(third, said("among-lowest", "perplexity-order", LSTM, DEEP)).word == OPEN


# --- reasons ---------------------------------------------------------------------------------------------------------


def test_a_reason_that_is_a_wrong_statement_makes_the_reason_wrong():
    found = ends(gru_torch_2x32=(4.1, 6.4), lstm_torch_2x32=(6.6, 7.4))(reproduction())
    assert judged(found, "deep-2x32-lstm-unsuited").word == WRONG_REASON
