"""A model that learns from the text that it has scored: it looks at nothing later, and it gains where texts change."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from models.config import ModelConfig, Partner
from models.gated_ngrams import NGramModel, NGramTables, OrderGate, gate_letters
from models.ngram import KneserNey
from models.on_top_of_ngram import language_model
from pipeline.training.adaptive import AdaptiveModel, DynamicNetwork, fit_weights, gradient_scales, mixed_costs

VOCAB, REFIT_CHARS = 6, 48
BEFORE = ([0, 1, 2], [0, 3, 4, 1], [0, 5, 5], [0, 2, 3, 1, 4])  # the words of the training text, and other ones
AFTER = ([0, 4, 4, 2], [0, 1, 5, 3, 3], [0, 2, 2, 5, 1, 1])


def a_text(words: tuple[list[int], ...], characters: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.concatenate([words[i] for i in draw.integers(len(words), size=characters)])[:characters]


TRAIN = a_text(BEFORE, 1000)
CHANGING = np.concatenate([a_text(BEFORE, 30, seed=1), a_text(AFTER, 80, seed=2)])


@cache
def ngrams() -> NGramModel:
    torch.manual_seed(0)
    gate = OrderGate(4, gate_letters(TRAIN, [True] * VOCAB))
    return NGramModel(NGramTables(KneserNey(TRAIN, VOCAB, 4)), gate.requires_grad_(False))


def adaptive(on_top_of: Partner, every: int = REFIT_CHARS) -> AdaptiveModel:
    """A model that is as new: of its networks, the first learns."""
    ngram = ngrams()
    torch.manual_seed(0)
    model = language_model(ModelConfig(hidden_size=5, on_top_of=on_top_of), VOCAB, ngram).eval()
    torch.nn.init.normal_(model.output.weight, std=0.1)  # zeros on top of n-grams
    scales = gradient_scales(model, TRAIN[:200], None)
    return AdaptiveModel([DynamicNetwork(model, scales, rate) for rate in (0.01, 0.0)], ngram, TRAIN, every)


def log_probabilities(on_top_of: Partner, ids: np.ndarray, cuts: tuple[int, ...] = ()) -> Tensor:
    """Log-probabilities (n, M, V) before each character of ``ids`` but the first, read in pieces."""
    model = adaptive(on_top_of)
    read = torch.cat([model.read(piece) for piece in np.split(ids, cuts)])
    assert model.refits == (len(ids) - 2) // REFIT_CHARS
    return read


both = pytest.mark.parametrize("on_top_of", ["nothing", "ngram"])


@both
def test_a_text_that_is_read_in_pieces_costs_the_same(on_top_of):
    whole, in_pieces = (log_probabilities(on_top_of, CHANGING, cuts) for cuts in ((), (1, 2, 3, 20, 49, 50, 100)))
    torch.testing.assert_close(in_pieces, whole, atol=1e-4, rtol=1e-4)


def test_networks_and_n_grams_read_alone_what_they_read_together():
    together = log_probabilities("nothing", CHANGING)
    networks, ngrams = adaptive("nothing"), adaptive("nothing")
    networks.counts, ngrams.networks = False, []
    assert torch.equal(networks.read(CHANGING), together[:, :2])
    assert torch.equal(ngrams.read(CHANGING), together[:, 2:])


@both
def test_a_change_of_later_characters_changes_no_prediction_before_them(on_top_of):
    at, changed = 1 + REFIT_CHARS, CHANGING.copy()
    changed[at:] = (changed[at:] + 1) % VOCAB
    before, after = log_probabilities(on_top_of, CHANGING), log_probabilities(on_top_of, changed)
    assert torch.equal(after[:at], before[:at])
    assert not torch.equal(after[at], before[at])


def test_what_adapts_beats_what_does_not_where_the_text_changes():
    val, test = (np.concatenate([a_text(BEFORE, 30, seed), a_text(AFTER, 170, seed)]) for seed in (3, 4))
    nats = {}
    for every, members in {1000: [1, 2], REFIT_CHARS: [0, 2, 3, 4]}.items():
        on_val, on_test = (adaptive("ngram", every).read(ids)[:, members] for ids in (val, test))
        weights = fit_weights(on_val, torch.from_numpy(val[1:]))
        nats[every] = float(mixed_costs(on_test, weights, torch.from_numpy(test[1:])).mean())
    assert nats[REFIT_CHARS] < 0.9 * nats[1000]
