"""Judging captions by what the table and the print-outs say that the figures show."""

import pytest

from pipeline.report.statements.verdicts import FAILS, HOLDS, OPEN
from tests.report.alterations import row, text
from tests.report.reproductions import TEXT, reproduction
from tests.report.statements.judged import judged, judged_among, statement

FOUND = reproduction(seeds=0)


@pytest.mark.parametrize(
    ("id", "print_out", "because"),
    [
        ("caption-15", "print-out-15", "Figure 15 shows GRU 1x32, by its own print-out. The caption says LSTM."),
        ("caption-27", "print-out-27", "Figure 27 shows LSTM 2x128, by its own print-out. The caption says 8 layers."),
        ("caption-28", "print-out-29", "The caption says 8 units."),
    ],
)
def test_a_caption_is_held_to_the_print_out(id, print_out, because):
    verdict = judged_among(FOUND, id, print_out)
    assert verdict.word == FAILS
    assert because in verdict.because


def test_a_caption_that_names_what_is_shown_holds():
    assert judged(FOUND, "caption-24").word == HOLDS
    assert judged(row("gru-torch-8x32", num_layers=4)(FOUND), "caption-24").word == FAILS


def test_a_pointer_is_to_a_figure_of_its_configuration():
    verdict = judged(FOUND, "lstm-scratch-1x1024-figure-pointer")
    assert verdict.word == FAILS
    assert "Figure 5 is of gru-scratch-1x1024" in verdict.because
    assert judged(FOUND, statement("lstm-scratch-1x1024-figure-pointer", relation="figure=9")).word == HOLDS


@pytest.mark.parametrize("id", ["signpost-2-5", "signpost-22-29"])
def test_figures_are_announced_in_their_order(id):
    wanted = statement(id)
    assert judged(FOUND, wanted).word == HOLDS
    turned = statement(id, configurations=wanted.configurations[::-1])
    assert judged(FOUND, turned).word == FAILS


def test_every_figure_is_of_a_configuration():
    assert judged(FOUND, "figure-pointers").word == HOLDS
    assert judged(FOUND, statement("figure-pointers", figures=("2", "99"))).word == FAILS


def test_sizes_are_printed_of_each():
    assert judged(FOUND, "signpost-22-29-sizes").word == HOLDS
    assert judged(row("gru-torch-8x32", params="")(FOUND), "signpost-22-29-sizes").word == FAILS


def test_the_lines_are_of_the_book_if_it_has_their_prompts():
    assert judged(FOUND, "caption-1").word == HOLDS
    assert judged(text(prompts=TEXT.prompts[:1])(FOUND), "caption-1").word == OPEN
