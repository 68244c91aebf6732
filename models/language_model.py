"""LanguageModel: character ids and a state in, logits of the next character and the new state out.

Shapes: B batch, T time steps, V vocabulary, L layers, H hidden size.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from models.cells import CELLS, Recurrent
from models.config import ModelConfig

State = Tensor | tuple[Tensor, ...]
"""Hidden state (L, B, H); for the LSTM a pair of hidden and cell state, as torch.nn's layers have it."""

TORCH_LAYERS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def detach(state: State) -> State:
    """Detach the state from its history (truncated backpropagation through time)."""
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def select(state: State, rows: Tensor) -> State:
    """Select rows of the batch by index (N,), which may repeat: state (L, B, H) -> (L, N, H)."""
    return tuple(part[:, rows] for part in state) if isinstance(state, tuple) else state[:, rows]


def drop_weights(weight: Tensor, probability: float) -> Tensor:
    """DropConnect (Wan et al. 2013): zero weights with a probability, in steps of 1/256; rescale the others."""
    threshold = round(256 * probability)
    words = torch.empty(-(-weight.numel() // 8), dtype=torch.int64, device=weight.device)
    random_bytes = words.random_(-(2**63), None).view(torch.uint8)  # eight random bytes from each number
    keep = (random_bytes[: weight.numel()] >= threshold).view(weight.shape)
    return weight * (keep * (256 / (256 - threshold)))


class LanguageModel(nn.Module):
    """Recurrent layers over one-hot or embedded characters, and a linear output layer over the vocabulary."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        input_size = config.embedding_size or vocab_size
        self.embedding = nn.Embedding(vocab_size, input_size) if config.embedding_size else None
        self.core: nn.Module
        if config.implementation == "scratch":
            self.core = Recurrent(
                config.cell,
                input_size,
                config.hidden_size,
                config.num_layers,
                dropout=config.dropout,
                equations=config.equations,
            )
            self._recurrent_weights = [f"cells.{layer}.from_state.weight" for layer in range(config.num_layers)]
        else:
            between_layers = (
                config.dropout if config.num_layers > 1 else 0.0
            )  # torch.nn warns about dropout with one layer
            self.core = TORCH_LAYERS[config.cell](
                input_size, config.hidden_size, config.num_layers, batch_first=True, dropout=between_layers
            )
            self._recurrent_weights = [f"weight_hh_l{layer}" for layer in range(config.num_layers)]
        self.output = nn.Linear(config.hidden_size, vocab_size)
        if config.initialisation == "normal":
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=0.01)
                else:
                    nn.init.zeros_(parameter)

    def initial_state(self, batch_size: int) -> State:
        """The state before the first character: zeros (L, B, H)."""
        config = self.config
        zeros = self.output.weight.new_zeros(config.num_layers, batch_size, config.hidden_size)
        return (zeros, zeros.clone()) if CELLS[config.cell].state_parts == 2 else zeros

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """ids (B, T), state or None (zeros) -> logits (B, T, V), state after the last character."""
        if state is None:
            state = self.initial_state(ids.shape[0])
        if self.embedding is not None:
            x = self.embedding(ids)
        elif self.config.implementation == "scratch":
            x = ids  # a row lookup
        else:
            x = F.one_hot(ids, self.vocab_size).to(self.output.weight.dtype)
        if self.training and self.config.recurrent_dropout:
            weights = {
                name: drop_weights(self.core.get_parameter(name), self.config.recurrent_dropout)
                for name in self._recurrent_weights
            }
            hidden, state = functional_call(self.core, weights, (x, state))
        else:
            hidden, state = self.core(x, state)
        if self.training and self.config.output_dropout:
            mask = F.dropout(torch.ones_like(hidden[:, :1]), self.config.output_dropout)
            hidden = hidden * mask
        return self.output(hidden), state


def with_row_lookup(model: LanguageModel) -> LanguageModel:
    """An inference-only copy whose scratch layers look up a character's input weights.

    torch.nn's layers multiply them by a one-hot vector of the vocabulary's size instead. A model with an embedding or
    scratch layers is returned as it is.
    """
    if model.embedding is not None or model.config.implementation == "scratch":
        return model
    config = replace(model.config, implementation="scratch", equations="torch")
    twin = LanguageModel(config, model.vocab_size).to(model.output.weight.device)
    assert isinstance(twin.core, Recurrent)
    assert isinstance(model.core, nn.RNNBase)
    with torch.no_grad():
        twin.core.load_torch(model.core)
    twin.output = model.output
    return twin.eval()
