"""Recurrent layers written out from their equations, called like torch.nn's RNN, GRU and LSTM.

Shapes: B batch, T time steps, I input size, H hidden size, L layers, G gates (1 RNN, 3 GRU, 4 LSTM).

Every cell has the same two methods, ``initial_state(batch_size)`` and ``cell(x, state) -> (output, state)``; a new cell
is a class here and a line in CELLS (CONTRIBUTING.md lists what it needs elsewhere). A state is a tuple of (B, H)
tensors, the first of which equals the output. The product of the inputs with their weights does not depend on the
state, so ``Recurrent`` computes it for all time steps at once; a cell's ``step`` does the rest.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.config import GATES

CellState = tuple[Tensor, ...]


class Cell(nn.Module):
    """Base class of the cells: input weights (G H, I) and recurrent weights (G H, H), with all gates stacked.

    ``equations="torch"`` has a bias in each of the two products, as torch.nn has; ``"book"`` (d2l.ai) only in the
    first. Biases are left out of the equations below.
    """

    gates: ClassVar[int]
    state_parts: ClassVar[int] = 1

    def __init__(self, input_size: int, hidden_size: int, equations: str = "torch") -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.book = equations == "book"
        self.from_input = nn.Linear(input_size, self.gates * hidden_size)
        self.from_state = nn.Linear(hidden_size, self.gates * hidden_size, bias=not self.book)
        for parameter in self.parameters():  # as torch.nn does, biases included
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

    def initial_state(self, batch_size: int) -> CellState:
        """Zeros, each (B, H), on the device and in the dtype of the weights."""
        weight = self.from_state.weight
        return tuple(weight.new_zeros(batch_size, self.hidden_size) for _ in range(self.state_parts))

    def forward(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """x (B, I), state (tuple of (B, H)) -> output (B, H), new state."""
        return self.step(self.from_input(x), state)

    def step(self, from_input: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """Product of the input and its weights (B, G H), state -> output (B, H), new state."""
        raise NotImplementedError


class RNNCell(Cell):
    """Elman network (Elman 1990, "Finding structure in time"): h' = tanh(W x + U h)."""

    gates = GATES["rnn"]

    def step(self, from_input: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        (h,) = state
        h = torch.tanh(from_input + self.from_state(h))
        return h, (h,)


class GRUCell(Cell):
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078).

    r  = sigmoid(W_r x + U_r h)        reset gate
    z  = sigmoid(W_z x + U_z h)        update gate
    h~ = tanh(W_n x + r * (U_n h))     candidate, equations="torch": reset after the recurrent product, as torch.nn
    h~ = tanh(W_n x + U_n (r * h))     candidate, equations="book": reset before it, as the paper and d2l.ai
    h' = (1 - z) * h~ + z * h
    """

    gates = GATES["gru"]

    def step(self, from_input: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        (h,) = state
        x_r, x_z, x_n = from_input.chunk(3, dim=-1)
        if self.book:
            gate_weight, candidate_weight = self.from_state.weight.split([2 * self.hidden_size, self.hidden_size])
            h_r, h_z = F.linear(h, gate_weight).chunk(2, dim=-1)
            reset, update = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
            candidate = torch.tanh(x_n + F.linear(reset * h, candidate_weight))
        else:
            h_r, h_z, h_n = self.from_state(h).chunk(3, dim=-1)
            reset, update = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
            candidate = torch.tanh(x_n + reset * h_n)
        h = (1 - update) * candidate + update * h
        return h, (h,)


class LSTMCell(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000).

    i, f, o = sigmoid(W x + U h)       input, forget and output gate
    g       = tanh(W_g x + U_g h)      candidate
    c'      = f * c + i * g            cell state
    h'      = o * tanh(c')             hidden state, which is also the output
    """

    gates = GATES["lstm"]
    state_parts = 2

    def step(self, from_input: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        h, c = state
        i, f, g, o = (from_input + self.from_state(h)).chunk(4, dim=-1)  # torch.nn's order of the gates
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)


CELLS: dict[str, type[Cell]] = {"rnn": RNNCell, "gru": GRUCell, "lstm": LSTMCell}


class Recurrent(nn.Module):
    """Layers of one cell over whole sequences, batch first, with dropout between layers.

    Called like ``nn.LSTM(..., batch_first=True)``: a state is (L, B, H), the LSTM's a pair of these. Integer inputs
    stand for one-hot vectors; an embedding lookup in the first layer's weights replaces the product. With ``residual``,
    every layer above the first adds its input, before dropout, to its output.
    """

    def __init__(
        self,
        cell: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        dropout: float = 0.0,
        residual: bool = False,
        equations: str = "torch",
    ) -> None:
        super().__init__()
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.cells = nn.ModuleList(CELLS[cell](size, hidden_size, equations) for size in sizes)
        self.dropout = dropout
        self.residual = residual

    def forward(self, x: Tensor, state: Tensor | CellState | None = None) -> tuple[Tensor, Tensor | CellState]:
        """x (B, T, I) or integer ids (B, T), state or None (zeros) -> outputs (B, T, H), state after the last step."""
        parts = None if state is None else (state if isinstance(state, tuple) else (state,))
        last_states: list[CellState] = []
        for layer, cell in enumerate(self.cells):
            assert isinstance(cell, Cell)
            if layer > 0:
                from_input = cell.from_input(F.dropout(x, self.dropout, self.training))
            elif x.is_floating_point():
                from_input = cell.from_input(x)
            else:
                from_input = F.embedding(x, cell.from_input.weight.t()) + cell.from_input.bias
            cell_state = cell.initial_state(x.shape[0]) if parts is None else tuple(part[layer] for part in parts)
            outputs = []
            for step_input in from_input.unbind(1):
                output, cell_state = cell.step(step_input, cell_state)
                outputs.append(output)
            stacked_outputs = torch.stack(outputs, dim=1)
            x = x + stacked_outputs if self.residual and layer > 0 else stacked_outputs
            last_states.append(cell_state)
        stacked = tuple(torch.stack(part) for part in zip(*last_states, strict=True))
        return x, (stacked if len(stacked) > 1 else stacked[0])

    @torch.no_grad()
    def load_torch(self, module: nn.Module) -> None:
        """Copy the weights of torch.nn's layers of the same shape, one module or a list of them.

        Only for ``equations="torch"``. Raises ValueError for another number of parameters.
        """
        ours: list[Tensor] = []  # in torch.nn's order
        for cell in self.cells:
            assert isinstance(cell, Cell)
            linears = cell.from_input, cell.from_state
            ours += [*(linear.weight for linear in linears), *(linear.bias for linear in linears)]
        for own, theirs in zip(ours, module.parameters(), strict=True):
            own.copy_(theirs)
