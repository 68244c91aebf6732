"""Sentences and banners of the page: they count and name what was measured."""

from dataclasses import replace
from functools import partial
from statistics import geometric_mean

import pytest

from pipeline.report.corrections import corrections
from pipeline.report.page.page import pages
from pipeline.report.page.sentences import _best_sentence
from pipeline.report.reproduction import RecordedTraining
from tests.report.alterations import runs, text
from tests.report.page.pages import (
    Page,
    cut,
    of_few,
    page,
    with_runs,
)
from tests.report.reproductions import reproduction, weighed

FOUND = reproduction()
pytestmark = pytest.mark.usefixtures("undrawn")


def test_the_summary_counts_what_was_measured():
    words = page().texts["summary"]
    assert "17 of 17 configurations were trained for all their epochs." in words
    assert "6.58 (gru-torch-2x32, epoch 85)" in words
    assert "none of the 17 networks is better than a 4-gram" in words
    assert "Of 36 statements 9 reproduced, 0 in part" in words
    assert (
        "lstm-torch-1x128, which ends at 2.07 in training and at 10.03 in validation, after 7.27 at epoch 66" in words
    )
    assert "by validation (gru-1x32, 3.72) has a perplexity of 3.81 on held-out test text, behind a Kneser-Ney" in words


def test_the_best_of_the_stream_preset_is_chosen_by_validation_and_its_test_perplexity_told():
    found = of_few("gru-torch-2x32", "lstm-torch-2x32", seeds=1)
    figures = {"gru-torch-2x32": (9.0, 3.5), "lstm-torch-2x32": (3.0, 3.9)}
    for id, (val, test) in figures.items():
        stream = tuple(replace(run, val=(val,) * 26, test_perplexity=test) for run in found[id].stream)
        changed = [replace(each, stream=stream) if each.id == id else each for each in found.configurations]
        found = replace(found, configurations=tuple(changed))
    words = Page(pages(found).html).texts["summary"]
    assert "by validation (lstm-2x32, 3.00) has a perplexity of 3.90 on held-out test text, behind" in words
    assert "3.50" not in words


def test_other_epochs_than_the_protocols_are_said_first():
    found = of_few("gru-torch-2x32", seeds=1)
    run = replace(cut(found.configurations[0].runs[0], 10), epochs_planned=10)
    both = pages(with_runs(found, "gru-torch-2x32", (run,)))
    assert "trained for 10 epochs, where the protocol has 100" in Page(both.html).texts[""]
    assert not [p for p in page().all("p") if p.get("class") == "banner"]


def test_the_summary_and_the_corrections_have_one_rule_for_what_beats_counting():
    def ending(run: RecordedTraining, pooled: float) -> RecordedTraining:
        return replace(run, val_pooled=(pooled,) * run.epochs)

    for pooled in (5.40, 5.50):  # by the 4-gram with context, 5.33, none would
        found = runs("gru-torch-2x32", partial(ending, pooled=pooled))(FOUND)
        is_ahead = pooled < 5.46
        assert (
            "so that 1 of the 17 networks is better than a 4-gram" in _best_sentence(found, found.configurations)
        ) == is_ahead
        assert ("1 of the 17 beats a 4-gram (5.46)" in corrections(weighed(found))[11].instead) == is_ahead


def test_the_summary_names_both_averages_and_both_kinds_of_context():
    sentence = _best_sentence(FOUND, FOUND.configurations)
    best_runs = FOUND["gru-torch-2x32"].runs
    best = geometric_mean([run.best_val for run in best_runs])
    pooled = geometric_mean([run.val_pooled[run.best_epoch - 1] for run in best_runs])
    assert f"a validation perplexity of {best:.2f} (gru-torch-2x32, epoch " in sentence
    assert f"averaged as the book does it, and {pooled:.2f} pooled over all characters" in sentence
    assert "5.46 for order 4, 5.20 for order 5 and 5.06 for order 6 where each window of 32 starts without" in sentence
    assert "5.33 for order 4, 5.03 for order 5 and 4.89 for order 6 with it" in sentence
    other = text(windowed={}, val_perplexities={1: 16.9})(FOUND)
    assert "gram" not in _best_sentence(other, other.configurations)
