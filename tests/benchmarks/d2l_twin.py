"""The models of the report as d2l 1.0.3 trains them: its own data, losses, clipping and trainer.

d2l is installed with ``pip install --no-deps d2l==1.0.3``: it pins libraries of 2023, of which it needs none here, and
imports torchvision and IPython, which are put aside. Its GRU and LSTM from scratch stand in the book's chapters alone
(sections 10.1 and 10.2), so they are written here from the book's equations, and run inside d2l's ``RNNLMScratch``.

Shapes: T time steps, B batch, I inputs (the symbols), H hidden size.
"""

import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn

from models.config import ModelConfig
from models.language_model import LanguageModel
from pipeline.text.corpus import Corpus


@contextmanager
def _put_aside(*names: str) -> Iterator[None]:
    """Import what wants these modules and needs nothing of them; afterwards nobody else takes them for there."""
    missing = [name for name in names if name not in sys.modules]
    sys.modules.update({name: MagicMock() for name in missing})
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


with (
    _put_aside("torchvision", "torchvision.transforms", "IPython", "IPython.display", "matplotlib_inline"),
    warnings.catch_warnings(),
):
    warnings.simplefilter("ignore")  # its code is of 2023
    from d2l import torch as d2l

SIGMA = 0.01  # of the book's first weights, in its from-scratch models
BATCH_SIZE, NUM_STEPS, NUM_TRAIN, NUM_VAL = 1024, 32, 10_000, 5_000


class Data(d2l.TimeMachine):
    """d2l's windows of the text, which is at hand already."""

    def __init__(self, corpus: Corpus) -> None:
        self._text = corpus.vocabulary.decode(corpus.ids)
        super().__init__(batch_size=BATCH_SIZE, num_steps=NUM_STEPS, num_train=NUM_TRAIN, num_val=NUM_VAL)

    def _download(self) -> str:
        return self._text


class Curves:
    """What d2l's models plot: exp of each batch's loss. The book averages the points of an epoch; so does ``epoch``."""

    def __init__(self) -> None:
        self.batches: dict[bool, list[float]] = defaultdict(list)

    def plot(self, key: str, value: Tensor, train: bool) -> None:
        self.batches[train].append(value.item())

    def epoch(self) -> tuple[float, float]:
        """Training and validation perplexity since the last call."""
        train, val = (sum(self.batches[which]) / len(self.batches[which]) for which in (True, False))
        self.batches.clear()
        return train, val


class _Gates(d2l.Module):
    """Weights of ``gates`` gates: input (I, H), recurrent (H, H), bias (H), drawn from N(0, 0.01) but for the bias."""

    def __init__(self, num_inputs: int, num_hiddens: int, gates: str) -> None:
        super().__init__()
        self.num_hiddens, self.sigma = num_hiddens, SIGMA
        for gate in gates:
            self.register_parameter(f"W_x{gate}", nn.Parameter(torch.randn(num_inputs, num_hiddens) * SIGMA))
            self.register_parameter(f"W_h{gate}", nn.Parameter(torch.randn(num_hiddens, num_hiddens) * SIGMA))
            self.register_parameter(f"b_{gate}", nn.Parameter(torch.zeros(num_hiddens)))

    def gate(self, gate: str, x: Tensor, h: Tensor) -> Tensor:
        """Before its nonlinearity: x W_x + h W_h + b, (B, H)."""
        weights = dict(self.named_parameters())
        before: Tensor = x @ weights[f"W_x{gate}"] + h @ weights[f"W_h{gate}"] + weights[f"b_{gate}"]
        return before


class GRUScratch(_Gates):
    """Section 10.2, equations 10.2.1 to 10.2.3: the reset is applied before the recurrent multiplication."""

    def __init__(self, num_inputs: int, num_hiddens: int) -> None:
        super().__init__(num_inputs, num_hiddens, "zrh")

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[list[Tensor], Tensor]:
        """(T, B, I) -> T times (B, H), and the last (B, H)."""
        h = inputs.new_zeros(inputs.shape[1], self.num_hiddens) if state is None else state
        outputs = []
        for x in inputs:
            z, r = torch.sigmoid(self.gate("z", x, h)), torch.sigmoid(self.gate("r", x, h))
            h = z * h + (1 - z) * torch.tanh(self.gate("h", x, r * h))
            outputs.append(h)
        return outputs, h


class LSTMScratch(_Gates):
    """Section 10.1, equations 10.1.1 to 10.1.5."""

    def __init__(self, num_inputs: int, num_hiddens: int) -> None:
        super().__init__(num_inputs, num_hiddens, "ifoc")

    def forward(
        self, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
        """(T, B, I) -> T times (B, H), and the last two (B, H)."""
        zeros = inputs.new_zeros(inputs.shape[1], self.num_hiddens)
        h, c = (zeros, zeros) if state is None else state
        outputs = []
        for x in inputs:
            i, f, o = (torch.sigmoid(self.gate(gate, x, h)) for gate in "ifo")
            c = f * c + i * torch.tanh(self.gate("c", x, h))
            h = o * torch.tanh(c)
            outputs.append(h)
        return outputs, (h, c)


class LSTM(d2l.RNN):
    """The book's concise LSTM, of any number of layers, as its GRU is."""

    def __init__(self, num_inputs: int, num_hiddens: int, num_layers: int) -> None:
        d2l.Module.__init__(self)
        self.save_hyperparameters()
        self.rnn = nn.LSTM(num_inputs, num_hiddens, num_layers)


def build(
    model: ModelConfig, vocab_size: int, learning_rate: float, curves: Curves, dtype: torch.dtype = torch.float32
) -> Any:
    """d2l's language model of this shape; what it plots goes to ``curves``."""
    hidden, layers = model.hidden_size, model.num_layers
    if model.implementation == "scratch":
        scratch = {"gru": GRUScratch, "lstm": LSTMScratch}[model.cell](vocab_size, hidden)
        language_model = d2l.RNNLMScratch(scratch, vocab_size, lr=learning_rate)
    else:
        cells: dict[str, Callable[[], Any]] = {
            "rnn": lambda: d2l.RNN(vocab_size, hidden),
            "gru": lambda: d2l.GRU(vocab_size, hidden, layers),
            "lstm": lambda: LSTM(vocab_size, hidden, layers),
        }
        language_model = d2l.RNNLM(cells[model.cell](), vocab_size, lr=learning_rate)
        with torch.no_grad():
            language_model(torch.zeros(1, 1, dtype=torch.int64))  # its output layer is lazy
    language_model.plot = curves.plot
    one_hot = language_model.one_hot
    language_model.one_hot = lambda ids: one_hot(ids).to(dtype)  # which is fp32 whatever the weights are
    return language_model.to(dtype)


class Trainer(d2l.Trainer):
    """d2l's trainer, one epoch at a time, without its plots."""

    def begin(self, language_model: Any, data: d2l.DataModule) -> None:
        """What ``fit`` does before its first epoch."""
        self.prepare_data(data)
        self.prepare_model(language_model)
        self.optim = language_model.configure_optimizers()
        self.epoch = self.train_batch_idx = self.val_batch_idx = 0


@torch.no_grad()
def take_weights(language_model: Any, model: LanguageModel) -> None:
    """Give d2l's model the weights of ours of the same shape."""
    ours = dict(model.named_parameters())
    if model.config.implementation == "torch":
        for name, parameter in language_model.rnn.rnn.named_parameters():
            parameter.copy_(ours[f"core.{name}"])
        language_model.linear.weight.copy_(model.output.weight)
        language_model.linear.bias.copy_(model.output.bias)
        return
    gates = {"gru": "rzh", "lstm": "ifco"}[model.config.cell]  # in the order in which ours are stacked
    for theirs, name in (("W_x", "from_input.weight"), ("W_h", "from_state.weight"), ("b_", "from_input.bias")):
        for gate, part in zip(gates, ours[f"core.layers.0.{name}"].chunk(len(gates)), strict=True):
            language_model.rnn.get_parameter(f"{theirs}{gate}").copy_(part.t())
    language_model.W_hq.copy_(model.output.weight.t())
    language_model.b_q.copy_(model.output.bias)
