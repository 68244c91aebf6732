"""GRU and RNN by hand: torch.nn's results, gradients and parameters."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.config import Kernel, ModelConfig
from models.language_model import LanguageModel

VOCAB, HIDDEN, ROWS, STEPS = 11, 9, 3, 8
TORCH: dict[str, Any] = {"rnn": nn.RNN, "gru": nn.GRU}
each_cell = pytest.mark.parametrize("cell", TORCH)


def build(cell: str, **options: Any) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(ModelConfig(**{"cell": cell, "hidden_size": HIDDEN, **options}), VOCAB)


def pass_through(model: LanguageModel, kernel: Kernel) -> list[Tensor]:
    """Logits, last state, and the gradients of the first state and of all parameters."""
    model.kernel = kernel
    model.zero_grad()
    torch.manual_seed(1)
    ids = torch.randint(VOCAB, (ROWS, STEPS))
    dtype = model.output.weight.dtype
    state = torch.randn(model.config.num_layers, ROWS, HIDDEN, dtype=dtype, requires_grad=True)
    logits, last = model(ids, state)
    ((logits * torch.randn(logits.shape)).sum() + (last * torch.randn(last.shape)).sum()).backward()
    assert isinstance(last, Tensor)
    return [logits, last, state.grad, *(parameter.grad for parameter in model.parameters())]


@each_cell
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["fp32", "fp64"])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "recurrent_dropout": 0.3}, {"embedding_size": 4}, {"num_layers": 2, "residual": True}],
    ids=str,
)
def test_logits_states_and_gradients_equal_torchs(cell, dtype, within, options):
    model = build(cell, **options).to(dtype)
    expected = pass_through(model, "torch")
    for ours, theirs in zip(pass_through(model, "by-hand"), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=within)


@each_cell
def test_bf16_is_near_to_fp32(cell):
    model = build(cell, num_layers=2)
    exact = pass_through(model, "by-hand")
    with torch.autocast("cpu", torch.bfloat16):
        rounded = pass_through(model, "by-hand")
    assert rounded[0].dtype == torch.bfloat16
    for half, single in zip(rounded, exact, strict=True):
        assert (half - single).norm() < 0.02 * single.norm()  # torch's own has up to 0.01


@each_cell
def test_parameters_have_torchs_names_and_first_values(cell):
    core = build(cell, num_layers=2).core
    torch.manual_seed(0)
    theirs = TORCH[cell](VOCAB, HIDDEN, 2).state_dict()
    assert list(core.state_dict()) == list(theirs)
    assert all(torch.equal(value, theirs[name]) for name, value in core.state_dict().items())
