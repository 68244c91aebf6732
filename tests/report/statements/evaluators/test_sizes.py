"""Judging sizes: the report's own numbers against ptflops, and what a print-out of another shape decides."""

from dataclasses import replace

import pytest

from pipeline.report.statements.bounds import Bounds
from pipeline.report.statements.evaluators.sizes import as_printed
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, WRONG_REASON
from tests.report.alterations import sizes
from tests.report.reproductions import reproduction
from tests.report.statements.judged import judged, judged_among, statement

FOUND = reproduction(seeds=0)


@pytest.mark.parametrize(
    ("id", "value", "word"),
    [
        ("rnn-torch-1x128-parameters", "22 k", FAILS),
        ("rnn-torch-1x128-parameters", "20 k", HOLDS),
        ("rnn-torch-1x128-parameters", "20.22 k", HOLDS),
        ("rnn-torch-1x128-parameters", "20,224", HOLDS),
        ("rnn-torch-1x128-parameters", "20225", FAILS),
        ("rnn-torch-1x128-macs", "21 MMac", HOLDS),
        ("rnn-torch-1x128-macs", "20.8 MMac", HOLDS),
        ("rnn-torch-1x128-macs", "20.85 MMac", FAILS),
    ],
)
def test_a_size_is_judged_to_its_last_digit(id, value, word):
    assert judged(FOUND, statement(id, value=value)).word == word


def test_how_near_the_last_digit_is_a_bound():
    wide = Bounds().scaled("last_digit", 2)
    assert judged(FOUND, "lstm-torch-8x32-parameters").word == FAILS
    assert judged(FOUND, "lstm-torch-8x32-parameters", wide).word == HOLDS


def test_a_print_out_is_judged_by_the_shape_that_it_names():
    verdict = judged(FOUND, "print-out-15")
    assert verdict.word == HOLDS
    assert "The print-out itself says GRU(28, 32), not GRU(28, 128), which has 60,672 parameters" in verdict.because
    assert judged(FOUND, statement("print-out-15", relation="gru-1x128")).word == FAILS
    half = judged(FOUND, statement("print-out-15", value="5.95 k; 6.33 MMac"))
    assert (half.word, half.part) == (IN_PART, "5.95 k")


def test_a_shape_is_written_as_torch_prints_it():
    assert as_printed("gru-2x32") == "GRU(28, 32, num_layers=2)"
    assert as_printed("rnn-1x128") == "RNN(28, 128)"


def test_a_size_that_is_of_the_print_out_only_is_right_in_part():
    verdict = judged_among(FOUND, "gru-torch-1x128-macs", "print-out-15")
    assert (verdict.word, verdict.part) == (IN_PART, "as the size of GRU(28, 32), which was printed")
    assert judged(FOUND, "gru-torch-1x128-macs").word == FAILS


def test_numbers_of_another_shape_are_a_wrong_reason_for_a_right_order():
    against_lstm, against_rnn = "gru-torch-1x128-size-against-lstm", "gru-torch-1x128-size-against-rnn"
    assert judged_among(FOUND, against_lstm, "print-out-15").word == WRONG_REASON
    assert judged_among(FOUND, against_rnn, "print-out-15").word == FAILS
    assert judged(FOUND, against_lstm).word == HOLDS


@pytest.mark.parametrize(
    ("factor", "word", "part"),
    [(0.5, HOLDS, ""), (0.8, HOLDS, ""), (0.9, IN_PART, "less, but not considerably"), (1.1, FAILS, "")],
)
def test_considerably_less_has_a_bound(factor, word, part):
    lstm = FOUND["lstm-torch-2x32"].complexity
    found = sizes("gru-torch-2x32", int(factor * lstm.report_parameters), int(factor * lstm.report_macs))(FOUND)
    verdict = judged(found, "deep-2x32-size")
    assert (verdict.word, verdict.part) == (word, part)


def test_both_sizes_have_to_be_in_the_order():
    lstm = FOUND["lstm-torch-2x32"].complexity
    found = sizes("gru-torch-2x32", lstm.report_parameters // 2, lstm.report_macs * 2)(FOUND)
    assert judged(found, "deep-2x32-size").word == FAILS


def test_nothing_is_smaller_than_itself():
    verdict = judged(FOUND, "lstm-torch-2x128-size-against-itself")
    assert verdict.word == FAILS
    assert "Read by the caption it is lstm-torch-8x32 (67,072 and 71,303,168), which is smaller." in verdict.because


def test_the_same_number_of_units_is_read_off_the_print_outs():
    wanted = statement("torch-1x128-same-width")
    assert judged_among(FOUND, wanted, "print-out-15").word == FAILS
    assert judged(FOUND, replace(wanted, configurations=wanted.configurations[:2])).word == HOLDS
