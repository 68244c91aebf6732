"""The four sentences, for numbers of every kind."""

from dataclasses import replace

import pytest

from pipeline.answer.sentences import alone, answer_note, answer_table, four_sentences, small, together
from tests.answer.made_up import comparison, made_up


@pytest.mark.parametrize(
    ("mean", "verdict"),
    [
        (-0.05, "The network is better: the network's is 3.4 % lower (-4.7 to -2.1 %)."),
        (0.05, "Counting is better: the network's is 3.5 % higher (+2.1 to +5.0 %)."),
        (0.01, "They are level: the network's is 0.7 % higher (-0.7 to +2.1 %)."),
    ],
)
def test_the_interval_over_seeds_and_text_decides_which_side_is_better(mean, verdict):
    assert alone(made_up(network=comparison(mean))).endswith(verdict)


def test_what_is_together_is_compared_with_the_controls_that_there_are():
    found = made_up()
    assert "better than two networks mixed (-2.7 %) and better than two n-grams mixed (-2.7 %)" in together(found)
    level = {**found.compared, "mixed against two networks": comparison(-0.01)}
    said = together(replace(found, compared=level))
    assert "level with two networks mixed (-0.7 %) and better than two n-grams mixed (-2.7 %)" in said
    one_seed = {key: each for key, each in found.compared.items() if "two networks" not in key}
    assert "two networks" not in together(replace(found, compared=one_seed))


def test_every_crossing_is_said_in_both_units():
    assert small(made_up()) == (
        "Small: by stored numbers, from 3,400 to 61,000 pruned n-grams are better (2.8 to 16.1 %) and from 61,000 to "
        "180,000 both are level (-0.5 to -1.0 %). By bytes when shipped, from 4 kB to 23 kB pruned n-grams are better "
        "(5.0 to 5.7 %) and from 23 kB to 170 kB networks are better (0.7 to 2.3 %, significant at 1 of 3 sizes)."
    )


def test_the_note_and_what_is_printed_have_a_row_for_every_model_and_every_comparison():
    found = made_up()
    sentences = four_sentences(found)
    note = answer_note(found, sentences)
    assert note.count("\n| ") == 4 + len(found.models) + len(found.compared) + len(found.rivals)
    text = answer_table(found, sentences, "run  http://there")
    assert all(f"\n  {each.name}" in text for each in found.models)
