"""A packed model can be read back from its bytes, as its copy with rounded weights; eight bits take a byte."""

import lzma

import numpy as np
import pytest
import torch

from models.config import ModelConfig
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.ngram import ngrams_of
from models.on_top_of_ngram import language_model
from models.packing import coded, decoded, packed, packed_ngrams, rounded
from models.pruning import pruned
from tests.models.made_up import VOCAB, a_text

TEXT = a_text(3000)
NGRAMS = NGramModel(NGramTables(pruned(ngrams_of(TEXT, VOCAB, LONGEST), VOCAB, 400)), OrderGate(LONGEST))
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


def weights_in(data: bytes, model: LanguageModel) -> dict[str, torch.Tensor]:
    """The weights at the end of ``packed`` bytes, for a model of the same shape."""
    stream, learned, found = lzma.decompress(data), dict(model.named_parameters()), {}
    bits = stream[0]
    for name, like in reversed(model.state_dict().items()):
        rows, width = len(like) if like.dim() > 1 else 1, 4 if bits == 32 or name not in learned else 1 + (bits > 8)
        numbers = np.frombuffer(stream[-width * like.numel() :], np.uint8)
        stream = stream[: -len(numbers)]
        if width == 4:
            values = numbers.view(np.float32)
        else:
            steps, stream = np.frombuffer(stream[-4 * rows :], np.float32), stream[: -4 * rows]
            values = numbers.reshape(width, -1).T.copy().view(f"i{width}").reshape(rows, -1) * steps[:, None]
        found[name] = torch.from_numpy(values.copy()).view_as(like)
    return found


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("bits", [4, 8, 9, 16, 32])
def test_a_packed_model_has_the_rounded_weights(config, bits):
    model = build(config)
    again, expected = weights_in(packed(model, bits), model), model if bits == 32 else rounded(model, bits)
    for name, weights in expected.state_dict().items():
        assert torch.equal(again[name], weights), name
    for name, ours in model.named_parameters():
        assert (ours - again[name]).abs().max() <= 1.01 * ours.abs().max() / (2**bits - 3)


def test_coded_ngrams_are_those_that_were_coded_with_nearly_their_shares():
    ours = NGRAMS.tables
    tables = decoded(coded(ours), VOCAB)
    assert torch.equal(tables.keys, ours.keys)
    for name in ("shares", "lower_shares", "backoff", "lower_backoff"):
        torch.testing.assert_close(getattr(tables, name), getattr(ours, name), rtol=0.15, atol=1e-4)


def test_ngrams_of_a_single_order_take_fewer_bytes_than_those_of_all_with_a_gate():
    single = NGramModel(NGramTables(pruned(ngrams_of(TEXT, VOCAB, 5), VOCAB, 400)), None)
    assert len(packed_ngrams(single)) < 2.5 * 400 < len(packed_ngrams(NGRAMS))


def test_a_weight_takes_a_byte():
    model = build(ModelConfig(hidden_size=100))
    weights = sum(tensor.numel() for tensor in model.state_dict().values())
    sizes = [len(packed(model, bits)) / weights for bits in (6, 8, 10, 32)]
    assert sizes[0] < 0.85 < sizes[1] < 1.1 < sizes[2] < 1.5 < sizes[3] / 2
