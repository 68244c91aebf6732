"""NgramLanguageModel: a recurrent network that corrects the predictions of n-grams of all orders.

Shapes: B batch, T time steps, V vocabulary, H hidden size, K orders.
"""

from copy import deepcopy

import torch
from torch import Tensor, nn

from models.config import ModelConfig
from models.gated_ngrams import NGramModel, NGramTables, OrderGate, combined
from models.language_model import LanguageModel
from models.recurrent import State, parts_of, state_of


class NgramLanguageModel(LanguageModel):
    """A LanguageModel on top of an n-gram model (``on_top_of="ngram"``), with the same interface.

    own    = W h + b                                                      logits of the network alone (V,)
    logits = (1 + c + u.h) own + sum over orders n of (g_n + v_n.h) log p_n    with the hidden state h (H,)

    g_n are the outputs of the n-gram model's gate, which is trained further. W, b, c, u and v start at zero, so that an
    untrained model predicts as the n-gram model does. The state is a tuple of the recurrent layers' tensors and one
    more (1, B, K - 1): the tables' contexts of 1 to K - 1 characters, 0 for none.
    """

    def __init__(self, config: ModelConfig, vocab_size: int, ngrams: NGramModel) -> None:
        super().__init__(config, vocab_size)
        assert ngrams.gate is not None
        self.tables = deepcopy(ngrams.tables)
        self.order_gate: OrderGate = deepcopy(ngrams.gate).requires_grad_()
        self.gates = nn.Linear(config.hidden_size, 1 + self.tables.order)  # c and u, v
        for parameter in (*self.output.parameters(), *self.gates.parameters()):
            nn.init.zeros_(parameter)
        with torch.no_grad():
            self.gates.bias[0] = 1.0

    def initial_state(self, batch_size: int) -> State:
        """The state before the first character: all zeros."""
        hidden = super().initial_state(batch_size)
        return (*parts_of(hidden), self.tables.keys.new_zeros(1, batch_size, self.tables.order - 1))

    def use_tables(self, tables: NGramTables, state: State, latest: Tensor) -> State:
        """Predict with other n-grams; returns ``state`` with their contexts after the ``latest`` characters (B, N)."""
        self.tables = tables
        none = latest.new_zeros(len(latest), tables.order - 1)
        return (*parts_of(state)[:-1], tables.contexts(latest, none)[None, :, -1, 1:])

    def network_and_model_logits(
        self, ids: Tensor, state: State | None = None, prior: Tensor | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Logits (B, T, V) of the network alone and of the model, and the new state; arguments as for ``forward``.

        ``prior`` (B, T, K, V + 4) replaces the tables' evidence in training: they were fitted on that text. The
        contexts in the state then stay as they are.
        """
        *parts, contexts = self.initial_state(len(ids)) if state is None else state
        hidden, after = self.hidden_states(ids, state_of(tuple(parts)))
        if prior is None:
            found = self.tables.contexts(ids, contexts[0])
            prior, contexts = self.tables(found[:, 1:]), found[None, :, -1, 1:]
        evidence = prior.float()
        own = self.logits(hidden)
        own_gate, by_state = self.gates(hidden).float().split([1, self.tables.order], dim=-1)
        with torch.autocast(evidence.device.type, enabled=False):
            logits = own_gate * own.float() + combined(by_state + self.order_gate(evidence), evidence)
        return own, logits, (*parts_of(after), contexts)

    @torch.no_grad()
    def scale_logits(self, factor: float) -> None:
        """Multiply all logits from now on by a factor, by scaling the weights of the gates."""
        for parameter in (*self.gates.parameters(), *self.order_gate.output.parameters()):
            parameter.mul_(factor)


def language_model(config: ModelConfig, vocab_size: int, ngrams: NGramModel | None) -> LanguageModel:
    """A new model of this configuration; ``ngrams`` is the model that it is on top of, if any."""
    if config.on_top_of == "nothing":
        return LanguageModel(config, vocab_size)
    assert ngrams is not None
    return NgramLanguageModel(config, vocab_size, ngrams)
