"""Layers by hand give the results of torch.nn's, and the book's equations are the book's."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.cells import CELLS
from models.config import Kernel, ModelConfig
from models.language_model import LanguageModel
from models.recurrent import Layer

VOCAB, INPUT, HIDDEN, BATCH, STEPS = 11, 5, 7, 3, 6

each_cell_by_hand = pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if cell.by_hand])


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


def random_input_and_state() -> tuple[Tensor, Tensor]:
    """Tensors (B, T, I) and (1, B, H)."""
    return torch.randn(BATCH, STEPS, INPUT, dtype=torch.double), torch.randn(1, BATCH, HIDDEN, dtype=torch.double)


# --- against torch.nn ------------------------------------------------------------------------------------------------


def passed_through(model: LanguageModel, kernel: Kernel) -> list[Tensor | None]:
    """Logits, last state, and the gradients of the first state and of all parameters."""
    model.use_kernel(kernel)
    model.zero_grad()
    torch.manual_seed(1)
    ids = torch.randint(VOCAB, (BATCH, 8))
    dtype = model.output.weight.dtype
    state = torch.randn(model.config.num_layers, BATCH, HIDDEN, dtype=dtype, requires_grad=True)
    logits, last = model(ids, state)
    ((logits * torch.randn(logits.shape)).sum() + (last * torch.randn(last.shape)).sum()).backward()
    return [logits, last, state.grad, *(parameter.grad for parameter in model.parameters())]


def build(cell: str, **options: Any) -> LanguageModel:
    return LanguageModel(ModelConfig(cell=cell, hidden_size=HIDDEN, **options), VOCAB)


@each_cell_by_hand
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["fp32", "fp64"])
@pytest.mark.parametrize(
    "options",
    [{}, {"num_layers": 2, "recurrent_dropout": 0.3}, {"embedding_size": 4}, {"num_layers": 2, "residual": True}],
    ids=str,
)
def test_layers_by_hand_equal_torchs_gradients_included(cell, dtype, within, options):
    model = build(cell, **options).to(dtype)
    expected = passed_through(model, "torch")
    actual = passed_through(model, "by-hand")
    torch.testing.assert_close(actual, expected, rtol=0, atol=within)


@each_cell_by_hand
def test_layers_by_hand_in_bf16_are_near_to_fp32(cell):
    model = build(cell, num_layers=2)
    exact = passed_through(model, "by-hand")
    with torch.autocast("cpu", torch.bfloat16):
        rounded = passed_through(model, "by-hand")
    for half, single in zip(rounded, exact, strict=True):
        assert half is not None
        assert single is not None
        assert (half - single).norm() < 0.02 * single.norm()  # torch's own has up to 0.01


# --- against the book ------------------------------------------------------------------------------------------------


def book_gru(x: Tensor, h: Tensor, weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """d2l.ai, "Gated Recurrent Units", the equations from scratch: x (T, B, I), h (B, H) -> outputs (T, B, H), h.

    R  = sigmoid(X W_xr + H W_hr + b_r)
    Z  = sigmoid(X W_xz + H W_hz + b_z)
    H~ = tanh(X W_xh + (R * H) W_hh + b_h)
    H  = Z * H + (1 - Z) * H~
    """
    outputs = []
    for step in x:
        reset = torch.sigmoid(step @ weights["xr"] + h @ weights["hr"] + weights["r"])
        update = torch.sigmoid(step @ weights["xz"] + h @ weights["hz"] + weights["z"])
        candidate = torch.tanh(step @ weights["xh"] + (reset * h) @ weights["hh"] + weights["h"])
        h = update * h + (1 - update) * candidate
        outputs.append(h)
    return torch.stack(outputs), h


def test_the_books_gru_equals_the_books_equations_gradients_included():
    ours = Layer("gru", INPUT, HIDDEN, "book").double()
    from_input, from_state, bias = ours.from_input.weight, ours.from_state.weight, ours.from_input.bias
    weights: dict[str, Tensor] = {}
    for i, gate in enumerate(("r", "z", "h")):
        rows = slice(i * HIDDEN, (i + 1) * HIDDEN)
        weights |= {f"x{gate}": from_input[rows].T, f"h{gate}": from_state[rows].T, gate: bias[rows]}
    x, h = random_input_and_state()
    output, state = ours(x, h)
    book_output, book_state = book_gru(x.transpose(0, 1), h[0], weights)
    results = (output, state), (book_output.transpose(0, 1), book_state[None])
    torch.testing.assert_close(*results)
    of_output, of_state = torch.randn_like(output), torch.randn_like(state)
    totals = ((of_output * output).sum() + (of_state * state).sum() for output, state in results)
    gradients = [torch.autograd.grad(total, list(ours.parameters())) for total in totals]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_books_other_cells_are_torchs_without_the_second_bias(cell):
    theirs = getattr(nn, CELLS[cell].torch_layer)(INPUT, HIDDEN, batch_first=True).double()
    nn.init.zeros_(theirs.bias_hh_l0)
    ours = Layer(cell, INPUT, HIDDEN, "book").double()
    ours.from_input.load_state_dict({"weight": theirs.weight_ih_l0, "bias": theirs.bias_ih_l0})
    ours.from_state.load_state_dict({"weight": theirs.weight_hh_l0})
    x, h = random_input_and_state()
    state = (h, torch.randn_like(h)) if cell == "lstm" else h
    torch.testing.assert_close(ours(x, state), theirs(x, state))
