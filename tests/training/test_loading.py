"""A model of a checkpoint predicts as it did, also one of an earlier version, and a forged gate is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models.complexity import measure
from models.gated_ngrams import LONGEST, NGramModel, OrderGate, gate_letters
from models.on_top_of_ngram import NgramLanguageModel
from pipeline.errors import InputError
from pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from pipeline.training.evaluation import text_costs
from pipeline.training.loading import load_model
from tests.data import MADE, unpacked


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked(tmp_path_factory.mktemp("older"))


def test_models_whose_gate_sees_no_letters_predict_as_they_did(older):
    model, ids = load_model(older / "best.safetensors")[0], torch.tensor(MADE["ids"])
    assert isinstance(model, NgramLanguageModel)
    np.testing.assert_allclose(text_costs(model, ids), MADE["on top"], atol=1e-5)
    counted = measure(model.config, model.vocab_size, model.order_gate.layers)
    assert counted.parameters == sum(parameter.numel() for parameter in model.parameters())
    cached = {name: torch.tensor(values) for name, values in json.loads((older / "gate.json").read_text()).items()}
    ngrams = NGramModel(model.tables, OrderGate.from_tensors(cached, LONGEST, model.vocab_size))
    np.testing.assert_allclose(ngrams.costs(ids.numpy()), MADE["n-grams"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("is_letter", lambda letters: letters + 0.5, "by 0 or 1"),
        ("is_letter", lambda letters: letters.char() - 1, "by 0 or 1"),
        ("is_letter", lambda letters: letters[:-1], "by 0 or 1 for each of 30"),
        ("mean", lambda means: means / 0, "not finite"),
        ("deviation", lambda deviations: deviations * torch.inf, "not finite"),
        ("deviation", lambda deviations: deviations * 0, "not positive"),
        ("hidden.weight", lambda weights: weights[:, 1:], "weights of shape"),
        ("hidden.weight", lambda weights: weights.repeat(40, 1), "1,280 units for 10 orders; at most 1,000"),
        ("output.weight", lambda weights: weights[1:], "size mismatch"),
    ],
)
def test_a_forged_gate_is_refused(older, tmp_path, name, change, reason):
    tensors, facts = load_checkpoint(older / "best.safetensors")
    gate = OrderGate(LONGEST, gate_letters(np.array(MADE["ids"]), np.arange(30) % 2 == 0)).state_dict()
    tensors |= {f"model.order_gate.{key}": tensor for key, tensor in gate.items()}
    save_checkpoint(tmp_path / "it", tensors, facts)
    assert load_model(tmp_path / "it")[0].get_buffer("order_gate.is_letter").sum() == 15
    save_checkpoint(tmp_path / "it", tensors | {f"model.order_gate.{name}": change(gate[name]).contiguous()}, facts)
    with pytest.raises(InputError, match=reason):
        load_model(tmp_path / "it")
