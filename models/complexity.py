"""Parameters and MACs (multiply-accumulates) per character of a model's shape: by ptflops, and in closed form.

Both count the torch.nn layers of the shape, whatever the implementation; for a cell that torch.nn lacks there is the
closed form alone. With g gates (1 RNN, 3 GRU, 4 LSTM), layers of hidden size h and input size i (that of the layer
below), and a vocabulary of V:

    parameters           = sum over layers of g h (i + h + 2)  +  (h + 1) V  [+ V e with an embedding of size e]
    macs_per_char        = parameters without the embedding + layers h {1 RNN, 7 GRU, 10 LSTM}, as ptflops counts
    matmul_macs_per_char = sum over layers of g h (i + h)  +  h V, the matrix products alone

Residual connections add no parameters and no MACs: an addition multiplies nothing. A model on top of an n-gram has
two gates, which are outputs: V + 2 in place of V above; the n-gram itself adds look-ups and no MACs. The report counts
the recurrent layers alone, without the output layer, and MACs for 1,024 characters. ptflops is not thread-safe.
"""

import io
from dataclasses import dataclass

import torch
from ptflops import get_model_complexity_info
from torch import Tensor, nn

from models.cells import CELLS
from models.config import ModelConfig
from models.language_model import TORCH_LAYERS

REPORT_CHARS = 1024  # that the report's MACs are counted for
ELEMENTWISE_MACS = {"rnn": 1, "gru": 7, "lstm": 10}  # per unit and step, as ptflops counts gates and activations


@dataclass(frozen=True)
class Complexity:
    """Sizes of one shape; MACs are per character and include the output layer unless the name says otherwise."""

    parameters: int
    macs_per_char: int
    matmul_macs_per_char: int
    report_parameters: int
    report_macs: int


def closed_form(config: ModelConfig, vocab_size: int) -> Complexity:
    """The complexity by the formulas above: exact, without building a model."""
    gates, hidden = CELLS[config.cell].gates, config.hidden_size
    embedding = vocab_size * config.embedding_size
    below = (config.embedding_size or vocab_size) + hidden * (config.num_layers - 1)  # the input sizes of all layers
    core_matmul = gates * hidden * (below + hidden * config.num_layers)
    core = core_matmul + 2 * gates * hidden * config.num_layers
    core_macs = core + config.num_layers * hidden * ELEMENTWISE_MACS[config.cell]
    outputs = _outputs(config, vocab_size)
    head = (hidden + 1) * outputs
    return Complexity(
        parameters=core + head + embedding,
        macs_per_char=core_macs + head,
        matmul_macs_per_char=core_matmul + hidden * outputs,
        report_parameters=core,
        report_macs=REPORT_CHARS * core_macs,
    )


def _outputs(config: ModelConfig, vocab_size: int) -> int:
    """Outputs of a model: logits, and the two gates of one on top of an n-gram."""
    return vocab_size + 2 * (config.on_top_of == "ngram")


class Twin(nn.Module):
    """torch.nn layers and an output layer that take input vectors, as ptflops needs them."""

    def __init__(self, core: nn.RNNBase, outputs: int) -> None:
        super().__init__()
        self.core = core
        self.output = nn.Linear(core.hidden_size, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, input size) -> outputs (B, T, O)."""
        hidden, _ = self.core(x)
        logits: Tensor = self.output(hidden)
        return logits


def _core(config: ModelConfig, vocab_size: int) -> nn.RNNBase:
    """The recurrent layers of a shape, of torch.nn."""
    input_size = config.embedding_size or vocab_size
    return TORCH_LAYERS[config.cell](input_size, config.hidden_size, config.num_layers, batch_first=True)


def _probe(module: nn.Module, chars: int, input_size: int, per_layer: bool = False) -> tuple[int, int, str]:
    """Run ptflops on one sequence of ``chars`` input vectors: MACs, parameters and its print-out."""
    printed = io.StringIO()
    macs, parameters = get_model_complexity_info(
        module,
        (chars, input_size),
        backend="pytorch",  # its other backend counts no LSTM
        as_strings=False,
        print_per_layer_stat=per_layer,
        verbose=False,
        ost=printed,  # its default is the standard output at import time
    )
    if macs is None or parameters is None:  # how ptflops says that it failed
        raise RuntimeError(f"ptflops could not count {module}: {printed.getvalue().strip()}")
    return int(macs), int(parameters), printed.getvalue()


@torch.random.fork_rng(devices=[])  # initial weights draw random numbers
def measure(config: ModelConfig, vocab_size: int) -> Complexity:
    """The complexity as ptflops measures it; ``matmul_macs_per_char`` is the closed form's.

    One time step is enough, since every step costs the same. A cell that torch.nn lacks is not measured: its complexity
    is the closed form's. Not thread-safe.
    """
    if config.cell not in TORCH_LAYERS:
        return closed_form(config, vocab_size)
    input_size = config.embedding_size or vocab_size
    core_macs, core_parameters, _ = _probe(_core(config, vocab_size), 1, input_size)
    macs, parameters, _ = _probe(Twin(_core(config, vocab_size), _outputs(config, vocab_size)), 1, input_size)
    return Complexity(
        parameters=parameters + vocab_size * config.embedding_size,
        macs_per_char=macs,
        matmul_macs_per_char=closed_form(config, vocab_size).matmul_macs_per_char,
        report_parameters=core_parameters,
        report_macs=REPORT_CHARS * core_macs,
    )


@torch.random.fork_rng(devices=[])
def report_print_out(config: ModelConfig, vocab_size: int) -> str:
    """ptflops' print-out as in the report's figures: the recurrent layers alone, 1,024 characters.

    A sentence in its place for a cell that torch.nn lacks.
    """
    if config.cell not in TORCH_LAYERS:
        return f"No print-out by ptflops: torch.nn has no {config.cell} layer, so all of these follow from formulas.\n"
    input_size = config.embedding_size or vocab_size
    macs, parameters, printed = _probe(_core(config, vocab_size), REPORT_CHARS, input_size, per_layer=True)
    return (
        f"{printed}Computational complexity: {macs / 1e6:.2f} MMac ({macs:,} for {REPORT_CHARS:,} characters)\n"
        f"Number of parameters: {parameters / 1e3:.2f} k ({parameters:,})\n"
    )
