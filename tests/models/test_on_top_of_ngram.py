"""A network on top of n-grams: untrained it is the n-gram model, and it is used like any other model."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.config import Decoding, ModelConfig
from models.gated_ngrams import NGramModel, NGramTables, OrderGate, gate_letters
from models.generation import complete
from models.language_model import detach, with_row_lookup
from models.ngram import KneserNey
from models.on_top_of_ngram import NgramLanguageModel
from tests.models.made_up import IS_LETTER, VOCAB, a_text

TEXT = a_text(600)
HELD_OUT = torch.from_numpy(np.concatenate([a_text(40, seed=1), [5, 1, 5, 1, 1, 0, 3]]).astype(np.int64))


def build(order: int = 4, trained: bool = False, **options: Any) -> NgramLanguageModel:
    """A model on top of n-grams of TEXT; ``trained``: with weights other than those it starts with."""
    torch.manual_seed(0)
    config = ModelConfig(**{"hidden_size": 5, "on_top_of": "ngram", **options})
    gate = OrderGate(order, gate_letters(TEXT, IS_LETTER) if order > 1 else None)
    torch.nn.init.normal_(gate.output.weight, std=0.3)
    ngrams = NGramModel(NGramTables(KneserNey(TEXT, VOCAB, order)), gate)
    model = NgramLanguageModel(config, VOCAB, ngrams).eval()
    if trained:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return model


def log_probabilities(model: NgramLanguageModel, ids: Tensor) -> Tensor:
    logits: Tensor = model(ids)[0]
    return logits.log_softmax(-1).detach()


# --- the n-grams -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [1, 2, 5])
def test_an_untrained_model_is_the_ngram_model(order):
    model = build(order)
    expected = NGramModel(model.tables, model.order_gate).log_probabilities(HELD_OUT.numpy(), 1)
    small = HELD_OUT.to(torch.uint8)  # as a vocabulary encodes a text
    torch.testing.assert_close(log_probabilities(model, small[None, :-1])[0], expected)


def test_a_model_moves_to_a_device_without_the_ngram_model_that_others_use():
    ngrams = NGramModel(NGramTables(KneserNey(TEXT, VOCAB, 3)), OrderGate(3))
    model = NgramLanguageModel(ModelConfig(hidden_size=2, on_top_of="ngram"), VOCAB, ngrams).to("meta")
    assert model.tables.keys.is_meta
    assert not ngrams.tables.keys.is_meta


def test_all_of_the_logits_are_scaled():
    model = build(trained=True)
    before = model(HELD_OUT[None])[0].detach()
    model.scale_logits(0.8)
    torch.testing.assert_close(model(HELD_OUT[None])[0].detach(), 0.8 * before)


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("cut", [1, 2, 20])
def test_two_segments_with_the_state_carried_equal_the_whole(cell, cut):
    model = build(trained=True, cell=cell)
    ids = torch.stack([HELD_OUT, HELD_OUT.flip(0)])
    logits, state = model(ids)
    first, between = model(ids[:, :cut])
    second, after = model(ids[:, cut:], detach(between))
    torch.testing.assert_close(torch.cat([first, second], dim=1), logits)
    torch.testing.assert_close(after, state)


def test_with_other_ngrams_the_rest_of_a_text_is_predicted_as_by_a_model_of_those():
    model, other = build(trained=True), build(trained=True)
    other.tables = NGramTables(KneserNey(a_text(900, seed=2), VOCAB, 4))
    expected, ids = log_probabilities(other, HELD_OUT[None]), HELD_OUT[None]
    state = model.use_tables(other.tables, model(ids[:, :20])[1], ids[:, :20])
    for at in range(20, ids.shape[1]):
        logits, state = model(ids[:, at : at + 1], detach(state))
        torch.testing.assert_close(logits[:, 0].log_softmax(-1), expected[:, at])


def test_a_given_evidence_replaces_the_tables():
    model = build(trained=True)
    text = np.append(HELD_OUT.numpy(), 0)
    prior = torch.cat(list(model.tables.about(text, 1, len(text))))[None]
    by_tables, given, other = (
        model.network_and_model_logits(HELD_OUT[None], None, each)[1] for each in (None, prior, 0 * prior)
    )
    torch.testing.assert_close(given, by_tables)
    assert not torch.equal(other, by_tables)


def test_a_model_with_row_lookup_reads_as_the_model_itself():
    model = build(trained=True)
    twin = with_row_lookup(model)
    assert twin.config.implementation == "scratch"
    torch.testing.assert_close(twin(HELD_OUT[None]), model(HELD_OUT[None]))


@pytest.mark.parametrize("method", ["greedy", "sample", "beam"])
def test_it_generates_like_any_other_model(method):
    model, prompt = build(trained=True), [0, 1]
    (text,) = complete(model, [prompt, [2]], 8, Decoding(method=method))[:1]
    (alone,) = complete(model, [prompt], 8, Decoding(method=method))
    assert text == alone
    if method == "greedy":
        for end in range(8):
            assert text[end] == int(log_probabilities(model, torch.tensor([prompt + text[:end]]))[0, -1].argmax())
