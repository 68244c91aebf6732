"""Recurrent layers over whole sequences, batch first, called like ``nn.LSTM(..., batch_first=True)``.

Shapes: B batch, T time steps, I input size, H hidden size, L layers, G gates.

A state is (L, B, H), the LSTM's a pair of these. ``Layer`` has the cells written out from their equations.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models import by_hand
from models.cells import CELLS
from models.config import ModelConfig

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
    """One layer of a cell: input weights (G H, I) and recurrent weights (G H, H), with all gates stacked.

    The cell's further weights (H,) are attributes by their names.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int, equations: str = "torch") -> None:
        super().__init__()
        self.cell = CELLS[cell]
        self.book = equations == "book"
        rows = self.cell.gates * hidden_size
        self.from_input = nn.Linear(input_size, rows)
        if self.cell.recurrent_weights:
            self.from_state = nn.Linear(hidden_size, rows, bias=not self.book)
        for name in self.cell.vectors:
            self.register_parameter(name, nn.Parameter(torch.empty(hidden_size)))
        for parameter in self.parameters():  # as torch.nn does, biases included
            nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x (B, T, I) or integer ids (B, T), state (1, B, H) -> outputs (B, T, H), new state.

        The product of the inputs and their weights does not depend on the state, so it is computed for all time steps
        at once. That of ids, which stand for one-hot vectors, is a lookup of rows.
        """
        if x.is_floating_point():
            from_input = self.from_input(x)
        else:
            from_input = F.embedding(x, self.from_input.weight.t()) + self.from_input.bias
        parts = tuple(part[0] for part in parts_of(state))
        outputs = []
        for step_input in from_input.unbind(1):
            parts = self.cell.step(self, step_input, parts)
            outputs.append(parts[0])
        return torch.stack(outputs, dim=1), state_of(tuple(part[None] for part in parts))


class Recurrent(nn.Module):
    """Layers of one cell with dropout between layers: of class ``Layer``, or torch.nn's, one each.

    If ``residual``, every layer above the first adds its input, before dropout, to its output.
    """

    def __init__(self, config: ModelConfig, input_size: int) -> None:
        super().__init__()
        sizes = [input_size] + [config.hidden_size] * (config.num_layers - 1)
        self.layers = nn.ModuleList(
            torch_layers(config.cell)(size, config.hidden_size, batch_first=True)
            if config.by_torch
            else Layer(config.cell, size, config.hidden_size, config.equations)
            for size in sizes
        )
        self.dropout, self.residual = config.dropout, config.residual

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """x (B, T, I) or integer ids (B, T), state (L, B, H) -> outputs (B, T, H), state after the last step."""
        last_states: list[tuple[Tensor, ...]] = []
        for index, layer in enumerate(self.layers):
            dropped = F.dropout(x, self.dropout, self.training) if index else x
            outputs, last = layer(dropped, state_of(tuple(part[index : index + 1] for part in parts_of(state))))
            x = x + outputs if self.residual and index else outputs
            last_states.append(parts_of(last))
        return x, state_of(tuple(torch.cat(part) for part in zip(*last_states, strict=True)))

    @torch.no_grad()
    def load_torch(self, module: nn.Module) -> None:
        """Copy the weights of torch.nn's layers of the same shape, one module or a list of them, into ``Layer``s.

        Only for ``equations="torch"``. Raises ValueError for another number of parameters.
        """
        ours = [  # in torch.nn's order
            layer.get_parameter(name)
            for layer in self.layers
            for name in ("from_input.weight", "from_state.weight", "from_input.bias", "from_state.bias")
        ]
        for own, theirs in zip(ours, module.parameters(), strict=True):
            own.copy_(theirs)
