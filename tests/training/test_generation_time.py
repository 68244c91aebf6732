"""Milliseconds per character: of which models, and how many of them are in memory at a time."""

import weakref

import torch

from models.config import ModelConfig
from models.language_model import LanguageModel
from pipeline.training.timing import generation_ms_per_char


def test_one_model_is_in_memory_at_a_time_and_the_models_take_turns():
    alive: list[weakref.ref[LanguageModel]] = []
    loaded: list[int] = []
    heard: list[tuple[int, int]] = []

    def load(hidden_size: int) -> LanguageModel:
        assert not [model for model in alive if model() is not None]
        model = LanguageModel(ModelConfig("gru", 1, hidden_size), 5).eval()
        alive.append(weakref.ref(model))
        loaded.append(hidden_size)
        return model

    times = generation_ms_per_char(
        [lambda: load(4), lambda: load(8)], chars=3, rounds=2, on_round=lambda done, of: heard.append((done, of))
    )
    assert loaded == [4, 8, 4, 8]
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(times) == 2
    assert min(times) > 0


def test_what_is_slower_takes_longer_and_the_number_of_threads_is_put_back():
    def small() -> LanguageModel:
        return LanguageModel(ModelConfig("rnn", 1, 4), 5).eval()

    def large() -> LanguageModel:
        return LanguageModel(ModelConfig("lstm", 3, 512), 5).eval()

    threads = torch.get_num_threads()
    times = generation_ms_per_char([small, large], chars=20)
    assert times[0] < times[1]
    assert torch.get_num_threads() == threads


def test_of_no_models_there_are_no_times():
    assert generation_ms_per_char([]) == []
