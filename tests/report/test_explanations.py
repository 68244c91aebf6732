"""Explanations of three errors of the report: the sentences follow the numbers."""

from dataclasses import replace

import pytest

from pipeline.report.explanations import EXPLANATIONS, explanations
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.evidence import LAST_TRAIN
from tests.report.alterations import TRAINED, each, ends, same_text, streams, text
from tests.report.reproductions import ENDS, reproduction, training, weighed

FOUND = reproduction()
STATES: dict[str, Reproduction] = {
    "three seeds": FOUND,
    "one seed": reproduction(1),
    "untrained": reproduction(0),
    "quick": reproduction(quick=True),
    "no stream": streams()(FOUND),
    "same text": same_text(5.1)(FOUND),
    "stream fails": streams(16.8)(FOUND),
    "eight layers train": TRAINED(FOUND),
    "eight layers overfit": ends(gru_torch_8x32=(14.5, 16.9))(FOUND),
    "an older record": text(train_unigram=None, stream_val_unigram=None, stream_test_unigram=None)(FOUND),
    "LSTM trains to 1": ends(lstm_torch_1x128=(1.1, 9.9))(FOUND),
    "not ended": each(
        FOUND, lambda one: replace(one, runs=(training(one.reported, *ENDS[one.id], epochs=9),), stream=())
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_there_are_three_explanations_of_a_paragraphs_length_whatever_was_run(state):
    found = explanations(weighed(STATES[state]))
    assert [one.title for one in found] == list(EXPLANATIONS)
    for one in found:
        assert 80 <= len(one.text.split()) <= 180, (one.title, len(one.text.split()))
        assert one.text.endswith(".")
        assert "\n" not in one.text


def explanation(state: str, index: int) -> str:
    return explanations(weighed(STATES[state]))[index].text


def test_figure_15_is_recognised_by_the_formula():
    assert "3 x 32 x (28 + 32 + 2) = 5,952" in explanation("three seeds", 0)
    assert "60.67 k parameters and 63.05 MMac" in explanation("three seeds", 0)
    assert "parameters in all, without the output layer" in explanation("three seeds", 0)
    assert 3 * 32 * (28 + 32 + 2) == 5_952


def test_perplexity_1_is_told_by_the_curves_of_the_runs():
    end = weighed(FOUND).mean("lstm-torch-1x128", LAST_TRAIN)
    assert f"training ends at {end}. " in explanation("three seeds", 1)
    assert "10,032 characters" in explanation("three seeds", 1)
    assert "about 1 is reached in not even the training curve" in explanation("three seeds", 1)
    assert "about 1 is reached in only the training curve" in explanation("LSTM trains to 1", 1)
    assert "9 of 100 epochs" in explanation("not ended", 1)


def test_eight_layers_are_told_by_what_the_shape_does_elsewhere():
    failed = "the letters' frequencies give 16.86. So it is the recipe that failed, not the depth."
    assert f"gets to 3.72 in validation (1 seed), where {failed}" in explanation("three seeds", 2)
    assert "`tmlm reproduce` would show" in explanation("no stream", 2)
    assert "on the same characters the shape of gru-torch-8x32 gets to 4.80" in explanation("same text", 2)
    assert "So that recipe fails too" in explanation("stream fails", 2)
    assert "gradient" not in explanation("no stream", 2)
    assert "the recipe trains it" in explanation("eight layers train", 2)


def test_eight_layers_are_told_by_their_training_too():
    stuck = "the training text's own frequencies give 17.07: nothing was learnt by heart"
    assert stuck in explanation("three seeds", 2)
    for state in ("eight layers train", "eight layers overfit", "an older record", "untrained"):
        assert "nothing was learnt by heart" not in explanation(state, 2)
