"""A packed model predicts as the model that was packed, in about as many bytes as it has weights."""

import pytest
import torch

from models.config import ModelConfig
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.ngram import ngrams_of
from models.on_top_of_ngram import NgramLanguageModel, language_model
from models.packing import packed, packed_ngrams, unpacked
from models.pruning import pruned
from tests.models.made_up import VOCAB, a_text

TEXT = a_text(3000)
NGRAMS = NGramModel(NGramTables(pruned(ngrams_of(TEXT, VOCAB, LONGEST), VOCAB, 400)), OrderGate(LONGEST))
HELD_OUT = torch.from_numpy(a_text(300, seed=1)).long()[None]
CONFIGS = [
    ModelConfig(hidden_size=20),
    ModelConfig("gru", 3, 8, implementation="scratch", embedding_size=3, residual=True),
    ModelConfig(hidden_size=8, on_top_of="ngram", ngrams=400),
]


def build(config: ModelConfig) -> LanguageModel:
    torch.manual_seed(0)
    model = language_model(config, VOCAB, NGRAMS).eval()
    torch.nn.init.normal_(model.output.weight, std=0.1)
    return model


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("bits", [8, 32])
def test_a_packed_model_predicts_like_the_model(config, bits):
    model = build(config)
    again = unpacked(packed(model, bits), config, VOCAB)
    ours, theirs = (each(HELD_OUT)[0].log_softmax(-1).gather(-1, HELD_OUT[..., None]) for each in (model, again))
    assert (ours - theirs).abs().mean() < 0.03
    if bits == 32:
        for name, weights in model.state_dict().items():
            assert torch.equal(again.state_dict()[name], weights), name


def test_unpacked_ngrams_are_those_that_were_packed_with_nearly_their_shares():
    again = unpacked(packed(build(CONFIGS[-1]), 8), CONFIGS[-1], VOCAB)
    assert isinstance(again, NgramLanguageModel)
    tables, ours = again.tables, NGRAMS.tables
    assert torch.equal(tables.keys, ours.keys)
    for name in ("shares", "lower_shares", "backoff", "lower_backoff"):
        torch.testing.assert_close(getattr(tables, name), getattr(ours, name), rtol=0.15, atol=1e-4)


def test_ngrams_of_a_single_order_take_fewer_bytes_than_those_of_all_with_a_gate():
    single = NGramModel(NGramTables(pruned(ngrams_of(TEXT, VOCAB, 5), VOCAB, 400)), None)
    assert len(packed_ngrams(single)) < 2.5 * 400 < len(packed_ngrams(NGRAMS))


def test_a_weight_takes_a_byte():
    model = build(ModelConfig(hidden_size=100))
    weights = sum(each.numel() for each in model.state_dict().values())
    assert len(packed(model, 8)) < 1.1 * weights < len(packed(model, 32)) / 3
