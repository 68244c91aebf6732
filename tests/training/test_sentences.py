"""Trainings in words: each sentence follows the numbers that it is given."""

import pytest

from pipeline.results import RIVAL_HEADS, picks_and_rivals
from pipeline.training.sentences import ONE_SEED, comparison_table, verdict

RESULT = {
    "corpus": "time-machine", "val_perplexity": 3.79, "val_perplexity_pooled": 3.79,
    "test_perplexity": 3.9, "test_bits_per_char": 1.963,
    "ngram_val_perplexity": 3.655, "ngram_test_perplexity": 3.723, "ngram_order": 7, "ngram_entries": 178_596,
    "single_ngram_order": 7,
    "mixture_val_perplexity": 3.412, "mixture_test_perplexity": 3.487, "mixture_kind": "geometric",
    "mixture_weight": 0.55, "best_epoch": 28, "epochs": 28,
    "parameters": 84508, "stored_numbers": 84508, "macs_per_char": 85788, "train_seconds": 31.5,
    "texts": ["it has been"], "fallback": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("side", "kind", "words"),
    [
        ("behind", "seeds and text", "significantly worse (one seed: +4.8 %, 95 % interval +3.1 to +6.5 %)"),
        ("open", "seeds and text", "not significantly worse (one seed: +4.8 %, 95 % interval +3.1 to +6.5 %)"),
        ("none", "text", f"+4.8 %, 95 % interval of the text alone +3.1 to +6.5 %; {ONE_SEED}"),
        ("none", "", f"+4.8 %; {ONE_SEED}"),
    ],
)
def test_the_verdict_is_on_test_and_says_what_its_interval_is_of(side, kind, words):
    found = {"test_difference_low": 3.1, "test_difference_high": 6.5, "test_interval": kind, "test_verdict": side}
    assert f"On test, the network has 3.900 against 3.723 of the 7-gram: {words}. " in verdict({**RESULT, **found})


def test_a_perplexity_of_another_mean_than_the_tables_is_named():
    worth = {**RESULT, "equal_ngram_order": 3, "val_perplexity_pooled": 3.77}
    assert "3.770 over all characters (the table has the mean over batches)" in verdict(worth)


def test_the_tables_have_the_numbers_of_the_n_gram_the_network_and_both():
    assert comparison_table(RESULT).splitlines()[2:5] == [
        "| 7-gram | 3.655 | 3.723 | 1.896 |",
        "| network | 3.790 | 3.900 | 1.963 |",
        "| both (geometric, 55% network) | 3.412 | 3.487 | 1.802 |",
    ]


def test_a_row_of_an_earlier_version_is_shown_without_a_cost_that_it_does_not_have():
    assert len(picks_and_rivals([{"label": "", "name": "gru-1x8"}])[0]) == len(RIVAL_HEADS)
