"""Whose spread of seeds is known: trainings as it was measured on, and no others."""

import pytest

from pipeline.config import chosen_options, resolve
from pipeline.training.differences import SEED_SPREADS, measured_key


@pytest.mark.parametrize(
    ("options", "is_time_machine", "known"),
    [
        ({}, False, "network against n-grams"),
        ({"preset": "best"}, False, "LSTM 1x384 against n-grams"),
        ({"on_top_of": "ngram"}, False, "on top against n-grams"),
        ({"hidden_size": 32}, True, "LSTM 1x32 against n-grams"),
        ({"hidden_size": 32}, False, ""),
        ({"hidden_size": 24}, True, ""),
        ({"cell": "gru"}, True, ""),
        ({"epochs": 1}, True, ""),
        ({"learning_rate": 0.1}, True, ""),
        ({"preset": "report"}, True, ""),
        ({"preset": "report", "hidden_size": 192}, True, ""),
        ({"on_top_of": "ngram", "ngrams": 9000}, True, ""),
    ],
)
def test_a_spread_of_seeds_counts_only_for_what_it_was_measured_on(options, is_time_machine, known):
    model, train = resolve(options, 156_000, 28)
    key = measured_key(model, train.preset, chosen_options(model, train, 156_000, 28), is_time_machine)
    assert key == known
    assert not key or key in SEED_SPREADS
