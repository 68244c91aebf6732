"""Recurrent cells: one class each, with everything that the program has to know of a cell.

Shapes: B batch, I input size, H hidden size, G gates.

To add a cell, write a class and a line in CELLS; tests/test_cells.py checks that it trains, loads, samples and so on. A
state is a tuple of (B, H) tensors, the first of which is also the cell's output. ``models/recurrent.py`` has the module
that holds a layer's weights and calls ``step``. Importable without torch, as the command line's options list CELLS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from torch import Tensor

    from models.recurrent import CellState, Layer


class Cell:
    """Base class of the cells. Biases are left out of the equations below.

    A layer has input weights (G H, I) and, but for a cell with ``recurrent_weights = False``, recurrent weights
    (G H, H), with all gates stacked. ``equations="torch"`` has a bias in each of the two products, as torch.nn has;
    ``"book"`` (d2l.ai) only in the first. ``vectors`` names further weights (H,), such as the peepholes of an LSTM.
    """

    gates: ClassVar[int]
    elementwise_macs: ClassVar[int]  # per unit and step: sums and products of gates, as ptflops counts them
    learning_rates: ClassVar[tuple[float, float]]  # peak, of a small model and of a larger one, which the recipe scales
    small_size: ClassVar[int] = 128  # most units of all layers together in a small model
    recurrent_dropout: ClassVar[tuple[float, float]] = (0.0, 0.0)  # smallest and largest that the preset stream chooses
    state_parts: ClassVar[int] = 1
    recurrent_weights: ClassVar[bool] = True
    vectors: ClassVar[tuple[str, ...]] = ()  # names of further weights (H,), attributes of ``layer`` in ``step``
    torch_layer: ClassVar[str] = ""  # name of torch.nn's layers; without it, all models of the cell run by ``step``
    by_hand: ClassVar[bool] = False  # whether models/by_hand.py computes torch.nn's layers on a CPU

    @staticmethod
    def step(layer: Layer, from_input: Tensor, state: CellState) -> CellState:
        """Product of the input and its weights, with bias (B, G H); state -> new state.

        ``layer.from_state(h)`` is the product of a state and the recurrent weights, (B, G H). Use all of it, its bias
        included: parameters and MACs are counted with it.
        """
        raise NotImplementedError

    @classmethod
    def weights(cls, input_size: int, hidden_size: int) -> int:
        """Number of weights of a layer without biases, which is also the MACs per character of its matrix products."""
        return cls.gates * hidden_size * (input_size + hidden_size * cls.recurrent_weights)

    @classmethod
    def parameters(cls, input_size: int, hidden_size: int) -> int:
        """Number of parameters of a layer with the biases of ``equations="torch"``."""
        vectors = cls.gates * (1 + cls.recurrent_weights) + len(cls.vectors)
        return cls.weights(input_size, hidden_size) + hidden_size * vectors

    @classmethod
    def macs_per_char(cls, input_size: int, hidden_size: int) -> int:
        """MACs (multiply-accumulate operations) per character of a layer, as ptflops counts: biases are included."""
        return cls.parameters(input_size, hidden_size) + cls.elementwise_macs * hidden_size


class RNNCell(Cell):
    """Elman network (Elman 1990, "Finding structure in time"): h' = tanh(W x + U h)."""

    gates = 1
    elementwise_macs = 1
    learning_rates = (0.015, 0.008)
    recurrent_dropout = (0.05, 0.05)
    torch_layer = "RNN"
    by_hand = True

    @staticmethod
    def step(layer: Layer, from_input: Tensor, state: CellState) -> CellState:
        (h,) = state
        return ((from_input + layer.from_state(h)).tanh(),)


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078).

    r  = sigmoid(W_r x + U_r h)        reset gate
    z  = sigmoid(W_z x + U_z h)        update gate
    h~ = tanh(W_n x + r * (U_n h))     candidate, equations="torch": reset after the recurrent product, as torch.nn
    h~ = tanh(W_n x + U_n (r * h))     candidate, equations="book": reset before it, as the paper and d2l.ai
    h' = (1 - z) * h~ + z * h
    """

    gates = 3
    elementwise_macs = 7
    learning_rates = (0.02, 0.01)
    recurrent_dropout = (0.0, 0.15)
    torch_layer = "GRU"
    by_hand = True

    @staticmethod
    def step(layer: Layer, from_input: Tensor, state: CellState) -> CellState:
        (h,) = state
        x_r, x_z, x_n = from_input.chunk(3, dim=-1)
        if layer.book:
            gate_weight, candidate_weight = layer.from_state.weight.split([2 * h.shape[-1], h.shape[-1]])
            h_r, h_z = (h @ gate_weight.t()).chunk(2, dim=-1)
            reset, update = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
            candidate = (x_n + (reset * h) @ candidate_weight.t()).tanh()
        else:
            h_r, h_z, h_n = layer.from_state(h).chunk(3, dim=-1)
            reset, update = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
            candidate = (x_n + reset * h_n).tanh()
        return ((1 - update) * candidate + update * h,)


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000).

    i, f, o = sigmoid(W x + U h)       input, forget and output gate
    g       = tanh(W_g x + U_g h)      candidate
    c'      = f * c + i * g            cell state
    h'      = o * tanh(c')             hidden state, which is also the output
    """

    gates = 4
    elementwise_macs = 10
    learning_rates = (0.03, 0.02)
    small_size = 192
    recurrent_dropout = (0.0, 0.45)
    state_parts = 2
    torch_layer = "LSTM"

    @staticmethod
    def step(layer: Layer, from_input: Tensor, state: CellState) -> CellState:
        h, c = state
        i, f, g, o = (from_input + layer.from_state(h)).chunk(4, dim=-1)  # torch.nn's order of the gates
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


CELLS: dict[str, type[Cell]] = {"rnn": RNNCell, "gru": GRUCell, "lstm": LSTMCell}
