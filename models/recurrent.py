"""Recurrent layers over whole sequences, batch first, called like ``nn.LSTM(..., batch_first=True)``.

Shapes: B batch, T time steps, I input size, H hidden size, L layers, G gates.

A state is (L, B, H), the LSTM's a pair of these. ``Recurrent`` has the cells written out from their equations,
``ResidualLayers`` torch.nn's layers with connections that torch.nn lacks.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import by_hand
from models.cells import CELLS

CellState = tuple[Tensor, ...]  # of one layer: tensors (B, H)

State = Tensor | tuple[Tensor, ...]
"""Hidden state (L, B, H), for the LSTM a pair of hidden and cell state, as in torch.nn.

The state of an ``NgramLanguageModel`` is a tuple with one more tensor.
"""


def torch_layers(cell: str) -> Callable[..., nn.RNNBase]:
    """torch.nn's layers of a cell; those that ``by_hand`` computes too are its modules."""
    layers: Callable[..., nn.RNNBase] = getattr(by_hand if CELLS[cell].by_hand else nn, CELLS[cell].torch_layer)
    return layers


def parts_of(state: State) -> tuple[Tensor, ...]:
    """The tensors of a state, which is one of them or a tuple."""
    return state if isinstance(state, tuple) else (state,)


def state_of(parts: tuple[Tensor, ...]) -> State:
    """Inverse of ``parts_of``."""
    return parts if len(parts) > 1 else parts[0]


class Layer(nn.Module):
    """One layer of a cell: input weights (G H, I) and recurrent weights (G H, H), with all gates stacked."""

    def __init__(self, cell: str, input_size: int, hidden_size: int, equations: str = "torch") -> None:
        super().__init__()
        self.cell = CELLS[cell]
        self.hidden_size = hidden_size
        self.book = equations == "book"
        rows = self.cell.gates * hidden_size
        self.from_input = nn.Linear(input_size, rows)
        if self.cell.recurrent_weights:
            self.from_state = nn.Linear(hidden_size, rows, bias=not self.book)
        for parameter in self.parameters():  # as torch.nn does, biases included
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

    def initial_state(self, batch_size: int) -> CellState:
        """Zeros, each (B, H), on the device and in the dtype of the weights."""
        zeros = self.from_input.weight.new_zeros
        return tuple(zeros(batch_size, self.hidden_size) for _ in range(self.cell.state_parts))

    def forward(self, x: Tensor, state: CellState) -> tuple[Tensor, CellState]:
        """x (B, T, I) or integer ids (B, T), state (tuple of (B, H)) -> outputs (B, T, H), new state.

        The product of the inputs and their weights does not depend on the state, so it is computed for all time steps
        at once. That of ids, which stand for one-hot vectors, is a lookup of rows.
        """
        if x.is_floating_point():
            from_input = self.from_input(x)
        else:
            from_input = F.embedding(x, self.from_input.weight.t()) + self.from_input.bias
        outputs = []
        for step_input in from_input.unbind(1):
            state = self.cell.step(self, step_input, state)
            outputs.append(state[0])
        return torch.stack(outputs, dim=1), state


class Recurrent(nn.Module):
    """Layers of one cell, with dropout between layers.

    With ``residual``, every layer above the first adds its input, before dropout, to its output.
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
        self.cells = nn.ModuleList(Layer(cell, size, hidden_size, equations) for size in sizes)
        self.dropout = dropout
        self.residual = residual

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """x (B, T, I) or integer ids (B, T), state or None (zeros) -> outputs (B, T, H), state after the last step."""
        last_states: list[CellState] = []
        for index, layer in enumerate(self.cells):
            assert isinstance(layer, Layer)
            dropped = F.dropout(x, self.dropout, self.training) if index else x
            first = layer.initial_state(len(x)) if state is None else tuple(part[index] for part in parts_of(state))
            outputs, last = layer(dropped, first)
            x = x + outputs if self.residual and index else outputs
            last_states.append(last)
        return x, state_of(tuple(torch.stack(part) for part in zip(*last_states, strict=True)))

    @torch.no_grad()
    def load_torch(self, module: nn.Module) -> None:
        """Copy the weights of torch.nn's layers of the same shape, one module or a list of them.

        Only for ``equations="torch"``. Raises ValueError for another number of parameters.
        """
        ours: list[Tensor] = []  # in torch.nn's order
        for layer in self.cells:
            assert isinstance(layer, Layer)
            linears = layer.from_input, layer.from_state
            ours += [*(linear.weight for linear in linears), *(linear.bias for linear in linears)]
        for own, theirs in zip(ours, module.parameters(), strict=True):
            own.copy_(theirs)


class ResidualLayers(nn.Module):
    """torch.nn's one-layer modules with residual connections and dropout between layers, as in ``Recurrent``."""

    def __init__(self, cell: str, input_size: int, hidden_size: int, num_layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(torch_layers(cell)(size, hidden_size, batch_first=True) for size in sizes)
        self.dropout = dropout

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x (B, T, I) or, by hand, ids (B, T); state -> outputs (B, T, H), state of all layers."""
        last_states: list[tuple[Tensor, ...]] = []
        for index, layer in enumerate(self.layers):
            dropped = F.dropout(x, self.dropout, self.training) if index else x
            first = state_of(tuple(part[index : index + 1] for part in parts_of(state)))
            output, last = layer(dropped, first)
            x = x + output if index else output
            last_states.append(parts_of(last))
        return x, state_of(tuple(torch.cat(part) for part in zip(*last_states, strict=True)))
