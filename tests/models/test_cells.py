"""The cells written out from their equations equal torch.nn's, the book's GRU equals the book's equations."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.cells import CELLS
from models.recurrent import Layer, Recurrent

INPUT, HIDDEN, BATCH, STEPS = 5, 7, 3, 6

each_cell = pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
each_depth = pytest.mark.parametrize("layers", [1, 2, 3])
each_convention = pytest.mark.parametrize("equations", ["torch", "book"])


@pytest.fixture(autouse=True)
def _same_numbers() -> None:
    torch.manual_seed(0)


def twins(cell: str, layers: int) -> tuple[Recurrent, nn.RNNBase]:
    """Ours and torch.nn's with the same weights, in double precision."""
    theirs: nn.RNNBase = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell](INPUT, HIDDEN, layers, batch_first=True)
    ours = Recurrent(cell, INPUT, HIDDEN, layers)
    ours.load_torch(theirs)
    return ours.double(), theirs.double()


def in_our_order(module: nn.RNNBase) -> list[Tensor]:
    """torch.nn's weights as ``Recurrent.parameters`` has them."""
    names = ("weight_ih", "bias_ih", "weight_hh", "bias_hh")
    return [getattr(module, f"{name}_l{layer}") for layer in range(module.num_layers) for name in names]


def cells_of(recurrent: Recurrent) -> list[Layer]:
    return [cell for cell in recurrent.cells if isinstance(cell, Layer)]


def random_state(cell: str, layers: int) -> Any:
    """As torch.nn takes it: (L, B, H), for the LSTM a pair."""
    parts = tuple(torch.randn(layers, BATCH, HIDDEN, dtype=torch.double) for _ in range(CELLS[cell].state_parts))
    return parts if len(parts) > 1 else parts[0]


def random_input() -> Tensor:
    return torch.randn(BATCH, STEPS, INPUT, dtype=torch.double)


def parts_of(state: Any) -> list[Tensor]:
    return list(state) if isinstance(state, tuple) else [state]


def scalar(output: Tensor, state: Any) -> Tensor:
    """A sum in which every output and every part of the state has its own weight."""
    random = torch.Generator().manual_seed(1)
    return sum(
        ((t * torch.randn(t.shape, generator=random, dtype=t.dtype)).sum() for t in [output, *parts_of(state)]),
        start=torch.zeros((), dtype=output.dtype),
    )


# --- against torch.nn ------------------------------------------------------------------------------------------------


@each_cell
@each_depth
def test_outputs_and_last_state_agree_with_torch(cell, layers):
    ours, theirs = twins(cell, layers)
    x, state = random_input(), random_state(cell, layers)
    torch.testing.assert_close(ours(x, state), theirs(x, state))


@each_cell
@each_depth
def test_gradients_of_weights_input_and_first_state_agree_with_torch(cell, layers):
    ours, theirs = twins(cell, layers)
    x, state = random_input(), random_state(cell, layers)
    sources = [x, *parts_of(state)]
    for tensor in sources:
        tensor.requires_grad_()
    gradients = [
        torch.autograd.grad(scalar(*module(x, state)), [*sources, *weights])
        for module, weights in ((ours, list(ours.parameters())), (theirs, in_our_order(theirs)))
    ]
    torch.testing.assert_close(gradients[0], gradients[1])


@each_cell
@each_depth
def test_no_state_is_a_state_of_zeros(cell, layers):
    ours, theirs = twins(cell, layers)
    x = random_input()
    zeros = torch.zeros(layers, BATCH, HIDDEN, dtype=torch.double)
    torch.testing.assert_close(ours(x), ours(x, (zeros, zeros) if cell == "lstm" else zeros))
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Layer("rnn", INPUT, HIDDEN), nn.RNNCell(INPUT, HIDDEN)),
        (Layer("gru", INPUT, HIDDEN), nn.GRUCell(INPUT, HIDDEN)),
        (Layer("lstm", INPUT, HIDDEN), nn.LSTMCell(INPUT, HIDDEN)),
    ],
)
def test_one_step_agrees_with_torchs_cell(ours, theirs):
    ours.from_input.load_state_dict({"weight": theirs.weight_ih, "bias": theirs.bias_ih})
    ours.from_state.load_state_dict({"weight": theirs.weight_hh, "bias": theirs.bias_hh})
    x = torch.randn(BATCH, INPUT)
    state = tuple(torch.randn(BATCH, HIDDEN) for _ in range(ours.cell.state_parts))
    output, new_state = ours(x[:, None], state)
    expected = theirs(x, state if len(state) > 1 else state[0])
    torch.testing.assert_close(list(new_state), parts_of(expected))
    assert torch.equal(output[:, 0], new_state[0])


@each_cell
@each_convention
def test_weights_start_within_one_over_the_root_of_the_hidden_size(cell, equations):
    for parameter in Layer(cell, 30, 100, equations).parameters():
        assert 0.09 < parameter.abs().max() <= 0.1


# --- against themselves, by another road -----------------------------------------------------------------------------


@each_cell
@each_depth
@each_convention
def test_two_halves_with_the_state_carried_equal_the_whole(cell, layers, equations):
    ours = Recurrent(cell, INPUT, HIDDEN, layers, equations=equations).double()
    x = random_input()
    output, state = ours(x)
    first, between = ours(x[:, :2])
    second, after = ours(x[:, 2:], between)
    torch.testing.assert_close(torch.cat([first, second], dim=1), output)
    torch.testing.assert_close(after, state)


@each_cell
@each_convention
def test_layers_equal_the_cells_one_step_at_a_time(cell, equations):
    ours = Recurrent(cell, INPUT, HIDDEN, 2, equations=equations).double()
    x = random_input()
    lower, upper = cells_of(ours)
    lower_state, upper_state = lower.initial_state(BATCH), upper.initial_state(BATCH)
    outputs = []
    for step in range(STEPS):
        between, lower_state = lower(x[:, step : step + 1], lower_state)
        output, upper_state = upper(between, upper_state)
        outputs.append(output)
    together, state = ours(x)
    torch.testing.assert_close(torch.cat(outputs, dim=1), together)
    for part, low, up in zip(parts_of(state), lower_state, upper_state, strict=True):
        torch.testing.assert_close(part, torch.stack([low, up]))


@each_cell
@each_convention
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_characters_are_read_as_one_hot_vectors_gradients_included(cell, equations, dtype):
    ours = Recurrent(cell, INPUT, HIDDEN, 2, equations=equations).double()
    ids = torch.randint(INPUT, (BATCH, STEPS))
    results = []
    for x in (ids.to(dtype), F.one_hot(ids, INPUT).double()):
        output, state = ours(x)
        results.append([output, *parts_of(state), *torch.autograd.grad(scalar(output, state), [*ours.parameters()])])
    torch.testing.assert_close(results[0], results[1])


@each_cell
@each_convention
def test_gradients_pass_gradcheck(cell, equations):
    ours = Layer(cell, 3, 4, equations).double()
    x = torch.randn(2, 3, dtype=torch.double, requires_grad=True)
    state = [torch.randn(2, 4, dtype=torch.double, requires_grad=True) for _ in range(ours.cell.state_parts)]
    weights = list(ours.parameters())

    def step(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        new_state: tuple[Tensor, ...] = ours(x[:, None], rest[: len(state)])[1]
        return new_state  # the weights are in ``rest`` so that they are checked too

    assert torch.autograd.gradcheck(step, [x, *state, *weights])


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
    ours = Recurrent("gru", INPUT, HIDDEN, equations="book").double()
    (cell,) = cells_of(ours)
    from_input, from_state, bias = cell.from_input.weight, cell.from_state.weight, cell.from_input.bias
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
    ours = Recurrent(cell, INPUT, HIDDEN, equations="book").double()
    (layer,) = cells_of(ours)
    layer.from_input.load_state_dict({"weight": theirs.weight_ih_l0, "bias": theirs.bias_ih_l0})
    layer.from_state.load_state_dict({"weight": theirs.weight_hh_l0})
    x, state = random_input(), random_state(cell, 1)
    torch.testing.assert_close(ours(x, state), theirs(x, state))


def test_the_books_gru_is_another_than_torchs():
    ours, _ = twins("gru", 1)
    book = Recurrent("gru", INPUT, HIDDEN, equations="book").double()
    with torch.no_grad():
        cells_of(ours)[0].from_state.bias.zero_()
        book.load_state_dict({name: t for name, t in ours.state_dict().items() if name != "cells.0.from_state.bias"})
    x, state = random_input(), random_state("gru", 1)
    assert (ours(x, state)[0] - book(x, state)[0]).abs().max() > 1e-3


# --- dropout and states ----------------------------------------------------------------------------------------------


@each_cell
def test_dropout_is_off_in_evaluation(cell):
    ours = Recurrent(cell, INPUT, HIDDEN, 3, dropout=0.9).double()
    x = random_input()
    dropped = ours(x)[0]
    kept = ours.eval()(x)[0]
    assert not torch.equal(dropped, kept)
    ours.dropout = 0.0
    assert torch.equal(ours(x)[0], kept)
    assert torch.equal(ours.train()(x)[0], kept)


def test_dropout_acts_between_layers_with_the_rest_scaled_up():
    ours = Recurrent("lstm", INPUT, 50, 2, dropout=0.25).double()
    x = torch.randn(20, 30, INPUT, dtype=torch.double)
    below = Recurrent("lstm", INPUT, 50).double()
    below.cells[0].load_state_dict(ours.cells[0].state_dict())
    seen: list[Tensor] = []
    cells_of(ours)[1].from_input.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    output, (h, _) = ours(x)
    sent = below(x)[0]
    zero = seen[0] == 0
    torch.testing.assert_close(seen[0][~zero], sent[~zero] / 0.75)
    assert zero.double().mean() == pytest.approx(0.25, abs=0.01)
    assert torch.equal(h[0], sent[:, -1])  # the lower layer's own state is whole
    assert (output != 0).all()  # and so is what leaves the last layer


@each_cell
def test_one_layer_has_nowhere_to_drop(cell):
    ours = Recurrent(cell, INPUT, HIDDEN, 1, dropout=0.9)
    x = random_input().float()
    assert torch.equal(ours.train()(x)[0], ours.eval()(x)[0])


@each_cell
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_initial_states_are_zeros_in_the_dtype_of_the_weights(cell, dtype):
    state = Layer(cell, INPUT, HIDDEN).to(dtype).initial_state(BATCH)
    assert len(state) == (2 if cell == "lstm" else 1)
    for part in state:
        assert torch.equal(part, torch.zeros(BATCH, HIDDEN, dtype=dtype))


@each_cell
def test_initial_states_are_on_the_device_of_the_weights(cell):
    state = Layer(cell, INPUT, HIDDEN).to("meta").initial_state(BATCH)
    assert {part.device.type for part in state} == {"meta"}


@each_cell
@each_depth
def test_states_have_the_shape_of_torchs(cell, layers):
    ours, theirs = twins(cell, layers)
    x = random_input()
    assert [part.shape for part in parts_of(ours(x)[1])] == [part.shape for part in parts_of(theirs(x)[1])]
    assert isinstance(ours(x)[1], tuple) == isinstance(theirs(x)[1], tuple)
