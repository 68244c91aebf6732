"""Sentences of the page: they count and name what was measured."""

from dataclasses import replace

import pytest

from pipeline.report.page.sentences import (
    answer,
    best_pooled,
    equal_texts,
    limitations,
    reproduced_points,
    with_labels,
)
from tests.report.page.pages import VERDICTS, cut, of_few, with_runs
from tests.report.reproductions import reproduction

FOUND = reproduction()


def test_the_answer_counts_the_verdicts_and_names_the_level_that_is_furthest():
    counted, furthest, _ = answer(FOUND, VERDICTS)
    assert counted.startswith(
        "Of the report's 258 statements 52 are reproduced and 52 in part, 52 right for a wrong reason, 51 not "
        "reproduced and 51 open"
    )
    assert furthest == (
        "The perplexity furthest from the report's is LSTM torch 1x128's: about 1 is reported, and it ends at 2.07 in "
        "training and 10.03 in validation (at best 7.27, epoch 66)."
    )


def windowed(value: float):
    """The GRU 2x32 with the windowed perplexity of a training on the same text, and a 4-gram of 5.46."""
    found = of_few("gru-torch-2x32")
    (only,) = found.configurations
    same = (replace(only.runs[0], windowed=value),)
    return replace(found, configurations=(replace(only, same_text=same),))


def test_the_answer_compares_averages_of_one_kind():
    found = of_few("gru-torch-2x32")
    best = f"{best_pooled(found.configurations[0]):.2f}"
    assert answer(found, ())[-1] == (
        f"The 1 network loses to a 4-gram that counts the same characters (best {best} against 5.46)."
    )


@pytest.mark.parametrize(("value", "is_named"), [(5.08, True), (5.9, False)])
def test_the_recipe_is_named_where_another_one_beats_the_4_gram(value, is_named):
    sentence = answer(windowed(value), ())[-1]
    assert f"by another recipe GRU torch 2x32 reaches {value:.2f} on them" in sentence
    assert ("it is the recipe that loses and not the network" in sentence) == is_named


def test_networks_that_beat_the_4_gram_are_counted():
    found = of_few("gru-torch-2x32", "lstm-torch-2x32")
    better = replace(found, text=replace(found.text, windowed={4: 6.6}))
    assert answer(better, ())[-1].startswith("1 of 2 networks beat a 4-gram")


def test_without_windowed_n_grams_the_answer_leaves_them_out():
    assert "gram" not in "".join(answer(replace(FOUND, text=replace(FOUND.text, windowed={})), VERDICTS))


def test_texts_that_return_letter_for_letter_are_counted_and_named():
    found = of_few("lstm-torch-2x128", "gru-torch-2x32", seeds=2)
    one, other = found["lstm-torch-2x128"].runs
    found = with_runs(found, "lstm-torch-2x128", (one, replace(other, texts=one.texts[:1])))
    assert equal_texts(found["lstm-torch-2x128"]) == []
    samples = found["lstm-torch-2x128"].reported.samples
    found = with_runs(found, "lstm-torch-2x128", (one, replace(other, texts=samples)))
    assert equal_texts(found["lstm-torch-2x128"]) == [prompt for prompt, _ in samples]
    assert dict(reproduced_points(found, VERDICTS))["Texts"].startswith(
        "Equal letter for letter: LSTM torch 2x128 (3 of 3), "
    )
    assert answer(found, VERDICTS)[0].endswith("; the texts of LSTM torch 2x128 return letter for letter.")


def test_the_first_point_is_that_of_the_half_epoch_or_said_to_be_missing():
    found = of_few("gru-torch-2x32", seeds=1)
    (run,) = found.configurations[0].runs
    assert dict(reproduced_points(found, VERDICTS))["Starts"].endswith("draws first, was not recorded.")
    with_half = with_runs(found, "gru-torch-2x32", (replace(run, first_half=22.7),))
    assert dict(reproduced_points(with_half, VERDICTS))["Starts"].endswith("half epoch: 22.70 to 22.70 here.")


def test_what_is_missing_stands_last_with_its_reason():
    found = of_few("gru-torch-2x32", "gru-scratch-1x1024", seeds=1)
    short = replace(cut(found["gru-scratch-1x1024"].runs[0], 2), stopped="--max-seconds 150")
    found = with_runs(found, "gru-scratch-1x1024", (short,))
    assert limitations(found)[-1] == "GRU scratch 1x1024 was stopped after 2 of 50 epochs (--max-seconds 150)."


def test_a_sentence_has_labels_in_the_place_of_ids_but_not_within_other_names():
    assert with_labels("gru-torch-1x32s, gru-scratch-1x32-start: gru-scratch-1x32, lstm-torch-8x32.", FOUND) == (
        "gru-torch-1x32s, gru-scratch-1x32-start: GRU scratch 1x32, LSTM torch 8x32."
    )
