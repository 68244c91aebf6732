"""Layers written out from their equations, by hand, and torch.nn's: one result; the book's equations are the book's."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.cells import CELLS
from models.config import Kernel, ModelConfig
from models.language_model import LanguageModel
from models.recurrent import Layer, Recurrent, State, parts_of, state_of

VOCAB, INPUT, HIDDEN, BATCH, STEPS = 11, 5, 7, 3, 6

each_cell = pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if cell.torch_layer])
each_cell_by_hand = pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if cell.by_hand])


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


def twins(cell: str, layers: int) -> tuple[Recurrent, nn.RNNBase]:
    """Ours and torch.nn's with the same weights, in double precision."""
    theirs: nn.RNNBase = getattr(nn, CELLS[cell].torch_layer)(INPUT, HIDDEN, layers, batch_first=True)
    ours = Recurrent(ModelConfig(cell, layers, HIDDEN, "scratch"), INPUT)
    ours.load_torch(theirs)
    return ours.double(), theirs.double()


def only_layer(recurrent: Recurrent) -> Layer:
    (layer,) = recurrent.layers
    assert isinstance(layer, Layer)
    return layer


def random_state(cell: str, layers: int) -> State:
    """As torch.nn takes it: (L, B, H), for the LSTM a pair."""
    parts = (torch.randn(layers, BATCH, HIDDEN, dtype=torch.double) for _ in range(CELLS[cell].state_parts))
    return state_of(tuple(parts))


def random_input() -> Tensor:
    return torch.randn(BATCH, STEPS, INPUT, dtype=torch.double)


def scalar(output: Tensor, state: State) -> Tensor:
    """A sum in which every output and every part of the state has its own weight."""
    random = torch.Generator().manual_seed(1)
    terms = [(t * torch.randn(t.shape, generator=random, dtype=t.dtype)).sum() for t in (output, *parts_of(state))]
    return torch.stack(terms).sum()


# --- against torch.nn ------------------------------------------------------------------------------------------------


@each_cell
@pytest.mark.parametrize("layers", [1, 3])
def test_outputs_states_and_gradients_agree_with_torch(cell, layers):
    ours, theirs = twins(cell, layers)
    x, state = random_input(), random_state(cell, layers)
    torch.testing.assert_close(ours(x, state), theirs(x, state))
    sources = [x, *parts_of(state)]
    for tensor in sources:
        tensor.requires_grad_()
    names = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")  # as ``Recurrent.parameters`` has them
    in_our_order = [getattr(theirs, f"{name}_l{layer}") for layer in range(layers) for name in names]
    gradients = [
        torch.autograd.grad(scalar(*module(x, state)), [*sources, *weights])
        for module, weights in ((ours, list(ours.parameters())), (theirs, in_our_order))
    ]
    torch.testing.assert_close(gradients[0], gradients[1])


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


@each_cell
def test_a_torch_model_has_torchs_parameters_names_and_first_values(cell):
    theirs = getattr(nn, CELLS[cell].torch_layer)(VOCAB, HIDDEN, 2).state_dict()
    torch.manual_seed(0)
    ours = build(cell, num_layers=2).core.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


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
    ours = Recurrent(ModelConfig("gru", 1, HIDDEN, "scratch", "book"), INPUT).double()
    layer = only_layer(ours)
    from_input, from_state, bias = layer.from_input.weight, layer.from_state.weight, layer.from_input.bias
    weights: dict[str, Tensor] = {}
    for i, gate in enumerate(("r", "z", "h")):
        rows = slice(i * HIDDEN, (i + 1) * HIDDEN)
        weights |= {f"x{gate}": from_input[rows].T, f"h{gate}": from_state[rows].T, gate: bias[rows]}
    x, h = random_input(), random_state("gru", 1)
    output, state = ours(x, h)
    book_output, book_state = book_gru(x.transpose(0, 1), h[0], weights)
    torch.testing.assert_close(output, book_output.transpose(0, 1))
    torch.testing.assert_close(state[0], book_state)
    gradients = [
        torch.autograd.grad(scalar(o, s), list(ours.parameters()))
        for o, s in ((output, state), (book_output.transpose(0, 1), book_state[None]))
    ]
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_books_other_cells_are_torchs_without_the_second_bias(cell):
    _, theirs = twins(cell, 1)
    nn.init.zeros_(theirs.get_parameter("bias_hh_l0"))
    ours = Recurrent(ModelConfig(cell, 1, HIDDEN, "scratch", "book"), INPUT).double()
    layer = only_layer(ours)
    layer.from_input.load_state_dict({"weight": theirs.weight_ih_l0, "bias": theirs.bias_ih_l0})
    layer.from_state.load_state_dict({"weight": theirs.weight_hh_l0})
    x, state = random_input(), random_state(cell, 1)
    torch.testing.assert_close(ours(x, state), theirs(x, state))


# --- between layers --------------------------------------------------------------------------------------------------


def test_dropout_acts_between_layers_with_the_rest_scaled_up():
    ours = Recurrent(ModelConfig("lstm", 2, 50, "scratch", dropout=0.25), INPUT).double()
    x = torch.randn(20, 30, INPUT, dtype=torch.double)
    below, above = (layer for layer in ours.layers if isinstance(layer, Layer))
    seen: list[Tensor] = []
    above.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    zeros = torch.zeros(2, 20, 50, dtype=torch.double)
    sent = below(x, (zeros[:1], zeros[:1]))[0]
    output, (h, _) = ours(x, (zeros, zeros))
    zero = seen[0] == 0
    torch.testing.assert_close(seen[0][~zero], sent[~zero] / 0.75)
    assert zero.double().mean() == pytest.approx(0.25, abs=0.01)
    assert torch.equal(h[0], sent[:, -1])  # the lower layer's own state is whole
    assert (output != 0).all()  # and so is what leaves the last layer
