"""Whose spread of seeds is known: trainings as it was measured on, and no others."""

import pytest

from pipeline.config import chosen_options, resolve
from pipeline.training.differences import SEED_SPREADS, measured_key


@pytest.mark.parametrize(
    ("options", "text", "known"),
    [
        ({}, "my-book-raw", "network against n-grams"),
        ({"preset": "best"}, "my-book-raw", "LSTM 1x384 against n-grams"),
        ({"on_top_of": "ngram"}, "my-book-raw", "on top against n-grams"),
        ({"hidden_size": 32}, "time-machine", "LSTM 1x32 against n-grams"),
        ({"hidden_size": 32}, "my-book-raw", ""),
        ({"hidden_size": 24}, "time-machine", ""),
        ({"cell": "gru"}, "time-machine", ""),
        ({"epochs": 1}, "time-machine", ""),
        ({"learning_rate": 0.1}, "time-machine", ""),
        ({"preset": "report"}, "time-machine", ""),
        ({"preset": "report", "hidden_size": 192}, "time-machine", ""),
        ({"on_top_of": "ngram", "ngrams": 9000}, "time-machine", ""),
    ],
)
def test_a_spread_of_seeds_counts_only_for_what_it_was_measured_on(options, text, known):
    model, train = resolve(options, 156_000, 28)
    key = measured_key(model, train.preset, chosen_options(model, train, 156_000, 28), text)
    assert key == known
    assert not key or key in SEED_SPREADS
