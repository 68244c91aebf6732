"""What the report's own numbers decide: sizes, print-outs, times and captions."""

from dataclasses import replace

import pytest

from pipeline.report.statements.verdicts import Word
from tests.report.alterations import judged, row, statement
from tests.report.reproductions import reproduction

HOLDS, IN_PART, WRONG_REASON, FAILS, OPEN = Word

FOUND = reproduction(seeds=1)

DEEP = "gru-torch-2x128-time-against-gru-2x32"
EARLIER = "against gru-scratch-1x32, but not slightly and against gru-scratch-1x8"


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "value", "word"),
    [("rnn-torch-1x128-macs", "20.85 MMac", FAILS), ("print-out-15", "5.95 k; 6.33 MMac", IN_PART)],
)
def test_a_size_is_judged_to_its_last_digit(id, value, word):
    assert judged(FOUND, statement(id, value=value)).word == word


@pytest.mark.parametrize(
    ("id", "alone", "with_print_out"),
    [
        ("gru-torch-1x128-macs", FAILS, IN_PART),  # right of the print-out only
        ("gru-torch-1x128-size-against-lstm", HOLDS, WRONG_REASON),  # the right order by wrong numbers
        ("torch-1x128-same-width", HOLDS, FAILS),
    ],
)
def test_a_print_out_of_another_shape_decides(id, alone, with_print_out):
    assert judged(FOUND, id).word == alone
    assert judged(FOUND, id, among=["print-out-15"]).word == with_print_out


# --- times -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "of", "transcript", "word", "part"),
    [
        ("gru-scratch-1x32-seconds", "gru-scratch-1x32", 63.9, HOLDS, ""),
        ("gru-scratch-1x32-seconds", "gru-scratch-1x32", 64.1, FAILS, ""),
        ("gru-scratch-1x32-seconds", "gru-scratch-1x32", None, OPEN, "not checkable"),
        (DEEP, "gru-torch-2x128", 185.0, HOLDS, ""),
        (DEEP, "gru-torch-2x128", 191.88, FAILS, ""),
        ("gru-scratch-1x128-time-against-earlier", "gru-scratch-1x32", 50.0, IN_PART, EARLIER),
        ("lstm-scratch-1x128-time-against-earlier", "lstm-scratch-1x128", 85.0, IN_PART, "against lstm-scratch-1x32"),
        ("lstm-scratch-best-time", "lstm-scratch-1x128", 300.0, FAILS, ""),
    ],
)
def test_a_time_is_judged_by_its_transcript(id, of, transcript, word, part):
    verdict = judged(row(of, train_seconds_transcript=transcript)(FOUND), id)
    assert (verdict.word, verdict.part) == (word, part)


# --- captions --------------------------------------------------------------------------------------------------------

SIGNPOST = statement("signpost-22-29")

POINTER = "lstm-scratch-1x1024-figure-pointer"


@pytest.mark.parametrize(
    ("wanted", "word"),
    [
        (SIGNPOST, HOLDS),
        (replace(SIGNPOST, configurations=SIGNPOST.configurations[::-1]), FAILS),
        (statement("figure-pointers", figures=("2", "99")), FAILS),
        (statement(POINTER, relation="figure=9"), HOLDS),
    ],
)
def test_a_caption_is_held_to_what_the_figures_show(wanted, word):
    assert judged(FOUND, wanted).word == word
