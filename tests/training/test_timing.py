"""How long models take to generate a character."""

import weakref

import numpy as np
import pytest

from models.config import ModelConfig
from models.gated_ngrams import NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.ngram import KneserNey
from pipeline.training.timing import generation_ms_per_char


@pytest.mark.parametrize("order", [1, 3])
def test_networks_and_n_grams_take_turns_with_one_network_in_memory(monkeypatch, order):
    alive: list[weakref.ref[LanguageModel]] = []
    turns: list[str] = []
    read: list[int] = []
    ngram = NGramModel(NGramTables(KneserNey(np.arange(300) % 7 % 5, 5, order)), OrderGate(order))
    distributions = NGramModel.log_probabilities

    def load(hidden_size: int) -> LanguageModel:
        assert not [model for model in alive if model() is not None]
        model = LanguageModel(ModelConfig("gru", 1, hidden_size), 5).eval()
        alive.append(weakref.ref(model))
        turns.append(str(hidden_size))
        return model

    def reading(model, ids, context):
        turns.append("n-gram")
        read.append(context)
        return distributions(model, ids, context)

    monkeypatch.setattr(NGramModel, "log_probabilities", reading)
    times = generation_ms_per_char([lambda: load(4), ngram, lambda: load(8)], chars=4, rounds=2)
    assert turns == ["4", *["n-gram"] * 4, "8"] * 3
    assert read == [min(done + 1, order - 1) for done in range(4)] * 3
    assert len(times) == 3
    assert min(times) > 0
