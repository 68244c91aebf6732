"""One step as ONNX: kept only if it computes what torch does."""

import pytest
import torch

from models.config import ModelConfig
from models.language_model import LanguageModel
from pipeline.export import onnx_step
from pipeline.export.onnx_step import HOW_TO_INSTALL


def model(cell: str) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(ModelConfig(cell=cell, num_layers=2, hidden_size=6), 9).eval()


def test_without_the_extra_or_where_it_differs_from_torch_there_is_a_reason_and_no_file(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert onnx_step.onnx_step(model("gru")) == (b"", HOW_TO_INSTALL)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    monkeypatch.setattr(onnx_step, "_export", lambda step, parts: b"ONNX")
    monkeypatch.setattr(onnx_step, "_largest_difference", lambda step, exported, parts: 2e-5)
    exported, reason = onnx_step.onnx_step(model("gru"))
    assert (exported, reason.startswith("ONNX differs from torch by 2e-05")) == (b"", True)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_onnx_computes_a_step_as_torch_does_and_names_no_folder(cell):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    exported, reason = onnx_step.onnx_step(model(cell))
    assert exported
    assert reason == ""
    assert b"site-packages" not in exported
