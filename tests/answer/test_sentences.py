"""The three sentences, for numbers of every kind."""

from dataclasses import replace

import pytest

from pipeline.answer.findings import Findings
from pipeline.answer.sentences import alone, answer_note, answer_table, below, three_sentences
from tests.answer.made_up import comparison, made_up


def with_sizes(factor: float) -> Findings:
    """Networks alone whose perplexities are so many times the made-up ones."""
    found = made_up()
    return replace(
        found, trained=tuple(replace(each, test=tuple(factor * p for p in each.test)) for each in found.trained)
    )


def test_a_network_that_is_ahead_is_better_than_counting():
    assert alone(made_up()) == (
        "Alone: the LSTM 1x192, trained for 46 s, has a test perplexity of 3.66 ± 0.02 (3 seeds); the n-grams "
        "of orders 1 to 10, fitted in 5.2 s, have 3.57. The network's is 1.6 % lower (-2.3 to -0.9 % by the seeds; "
        "-2.9 to -0.2 % by the text): the network is better than counting."
    )
    behind = alone(made_up(alone=comparison(0.05)))
    assert "The network's is 3.5 % higher" in behind
    assert behind.endswith(": counting is better than the network.")


@pytest.mark.parametrize(
    ("seeds", "text", "reason"),
    [
        (0.01, 0.03, "as the interval by the text includes zero."),
        (0.03, 0.01, "as the interval by the seeds includes zero."),
        (0.03, 0.03, "as the interval by the seeds and that by the text includes zero."),
    ],
)
def test_what_an_interval_leaves_open_is_called_open(seeds, text, reason):
    assert alone(made_up(alone=comparison(-0.02, seeds, text))).endswith(
        f": which of the two is better is open, {reason}"
    )


def test_the_curves_may_cross_twice():
    sentence = below(made_up())
    assert sentence.startswith("Below 44,000 stored numbers (down to 3,400, the least that both have): networks are ")
    assert "; from 44,000 to 57,000, n-grams are; above 57,000, networks are." in sentence
    assert sentence.endswith(
        "The LSTM 1x64 has 4.20 ± 0.02 (3 seeds) with 26,000 numbers, the 4-gram 4.59 with 17,000."
    )


def test_the_note_and_the_table_have_a_row_for_every_model():
    found = made_up()
    sentences = three_sentences(found)
    note = answer_note(found, sentences)
    assert note.count("\n| ") == 2 + len(found.counted) + len(found.trained)
    text = answer_table(found, sentences, "run  http://there")
    assert all(f"\n  {each.name}" in text for each in found.counted)
    assert "LSTM 1x192 on 10,000" in text
