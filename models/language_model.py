"""LanguageModel: character ids and a state in, logits of the next character and the new state out.

Shapes: B batch, T time steps, V vocabulary, L layers, H hidden size.
"""

from copy import copy
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from models import by_hand
from models.cells import CELLS
from models.config import Kernel, ModelConfig
from models.recurrent import Recurrent, State, parts_of, state_of, torch_layers


def detach(state: State) -> State:
    """Detach the state from its history (truncated backpropagation through time)."""
    return state_of(tuple(part.detach() for part in parts_of(state)))


def drop_weights(weight: Tensor, probability: float) -> Tensor:
    """DropConnect (Wan et al. 2013): zero each weight with a probability and rescale the others.

    The probability is rounded to a multiple of 1/256, so that one random byte decides on each weight.
    """
    threshold = round(256 * probability)
    words = torch.empty(-(-weight.numel() // 8), dtype=torch.int64, device=weight.device)
    random_bytes = words.random_(-(2**63), None).view(torch.uint8)  # eight random bytes from each int64
    keep = torch.ge(random_bytes[: weight.numel()], threshold, out=weight.new_empty(weight.numel()))  # 1 or 0
    return weight * keep.mul_(256 / (256 - threshold)).view(weight.shape)


def one_hot(ids: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """ids (...) -> one-hot vectors (..., size) in ``dtype`` or autocast's, without F.one_hot's int64 copy."""
    if torch.is_autocast_enabled(ids.device.type):
        dtype = torch.get_autocast_dtype(ids.device.type)
    return torch.zeros(*ids.shape, size, dtype=dtype, device=ids.device).scatter_(-1, ids[..., None], 1)


class LanguageModel(nn.Module):
    """Character language model: one-hot or embedded characters, recurrent layers and a linear output layer."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        input_size = config.embedding_size or vocab_size
        self.embedding = nn.Embedding(vocab_size, input_size) if config.embedding_size else None
        self.core: nn.Module
        if config.by_torch and not config.residual:
            dropout = config.dropout if config.num_layers > 1 else 0.0  # torch.nn warns about dropout with one layer
            self.core = torch_layers(config.cell)(
                input_size, config.hidden_size, config.num_layers, batch_first=True, dropout=dropout
            )
        else:
            self.core = Recurrent(config, input_size)
        names = [name for name, _ in self.core.named_parameters()]
        self._recurrent_weights = [name for name in names if "weight_hh" in name or "from_state.weight" in name]
        self.output = nn.Linear(config.hidden_size, vocab_size)
        self.kernel: Kernel = "torch"  # set by ``use_kernel``
        if config.initialisation == "normal":
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=0.01)
                else:
                    nn.init.zeros_(parameter)

    def initial_state(self, batch_size: int) -> State:
        """The state before the first character: zeros (L, B, H), for the LSTM a pair of these."""
        config, new_zeros = self.config, self.output.weight.new_zeros
        parts = range(CELLS[config.cell].state_parts)
        return state_of(tuple(new_zeros(config.num_layers, batch_size, config.hidden_size) for _ in parts))

    def forward(self, ids: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """ids (B, T) of any integer type, state or None (zeros) -> logits (B, T, V), state after the last character."""
        _, logits, state = self.network_and_model_logits(ids.long(), state)
        return logits, state

    def network_and_model_logits(
        self, ids: Tensor, state: State | None = None, prior: Tensor | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Logits of the network alone and of the whole model, here the same, and the new state; as ``forward``.

        ``prior`` is only for a model on top of n-grams.
        """
        hidden, state = self.hidden_states(ids, self.initial_state(ids.shape[0]) if state is None else state)
        logits = self.logits(hidden)
        return logits, logits, state

    def hidden_states(self, ids: Tensor, state: State) -> tuple[Tensor, State]:
        """ids (B, T), state -> outputs of the last layer (B, T, H) after output dropout, new state."""
        if self.embedding is not None:
            x = self.embedding(ids)
        elif not self.config.by_torch or by_hand.applies(self, self.kernel == "by-hand"):
            x = ids  # the first layer looks up rows of its weights
        else:  # (T, B, V) in memory, the layout in which torch.nn computes
            x = one_hot(ids.t(), self.vocab_size, self.output.weight.dtype).transpose(0, 1)
        if self.training and self.config.recurrent_dropout:
            weights = {
                name: drop_weights(self.core.get_parameter(name), self.config.recurrent_dropout)
                for name in self._recurrent_weights
            }
            hidden, state = functional_call(self.core, weights, (x, state))
        else:
            hidden, state = self.core(x, state)
        if self.training and self.config.output_dropout:  # one mask for all time steps
            mask = F.dropout(torch.ones_like(hidden[:, :1]), self.config.output_dropout)
            hidden = hidden * mask
        return hidden, state

    def logits(self, hidden: Tensor) -> Tensor:
        """Outputs of the last layer (B, T, H) -> logits (B, T, V)."""
        if hidden.dtype == torch.bfloat16:  # (T, B, H) in memory: saves a copy; in fp32 it would change the rounding
            return self.output(hidden.transpose(0, 1)).transpose(0, 1)  # type: ignore[no-any-return]
        return self.output(hidden)  # type: ignore[no-any-return]

    @torch.no_grad()
    def scale_logits(self, factor: float) -> None:
        """Multiply all logits from now on by a factor, by scaling the weights of the output layer."""
        for parameter in self.output.parameters():
            parameter.mul_(factor)

    def use_kernel(self, kernel: Kernel) -> None:
        """Compute torch.nn's GRU and RNN layers by torch.nn ("torch") or ``models.by_hand`` ("by-hand")."""
        self.kernel = kernel
        for module in self.modules():
            if isinstance(module, by_hand.ByHand):
                module.by_hand = kernel == "by-hand"


def with_row_lookup(model: LanguageModel) -> LanguageModel:
    """Convert torch.nn's layers to scratch layers, which look up a character's input weights, for inference only.

    torch.nn's layers multiply the weights by a one-hot vector of the vocabulary's size instead. The copy shares all
    other layers with the model. A model with an embedding or scratch layers is returned unchanged.
    """
    if model.embedding is not None or not model.config.by_torch:
        return model
    twin = copy(model)
    twin.config = replace(model.config, implementation="scratch")
    core = Recurrent(twin.config, model.vocab_size)
    core.load_torch(model.core)
    twin._modules = model._modules | {"core": core.to(model.output.weight.device)}
    return twin.eval()
