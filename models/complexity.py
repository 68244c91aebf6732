"""Parameters and MACs (multiply-accumulate operations) per character of a model: by ptflops, and in closed form.

Both count torch.nn's layers of the model's shape, whatever the implementation; a cell that torch.nn lacks has only the
closed form. With L layers of hidden size h and input size i (h above the first layer), and a vocabulary of V:

    parameters           = sum over layers of Cell.parameters(i, h)  +  (h + 1) V  [+ V e with an embedding of size e]
    macs_per_char        = sum over layers of Cell.macs_per_char(i, h)  +  (h + 1) V, as ptflops counts
    matmul_macs_per_char = sum over layers of Cell.weights(i, h)  +  h V, the matrix products alone

Residual connections add no parameters and no MACs. A model on top of n-grams of K orders has the gates as further
outputs, V + 1 + K in place of V in (h + 1) V and h V, the n-gram model's gate, and the n-grams' own MACs,
``evidence_macs_per_char``. A cell's products of vectors are no layers, and left out. The report counts
the recurrent layers alone, without the output layer, and MACs for 1,024 characters.

ptflops counts with forward hooks on the layers alone. By default it would also replace functions of torch, torch.Tensor
and torch.nn.functional in the whole process while it counts: an interrupt would leave them replaced, every later count
would fail, and the calls of other threads would be counted too.
"""

import io
from dataclasses import dataclass, replace

import torch
from ptflops import get_model_complexity_info
from torch import nn

from models.cells import CELLS
from models.config import ModelConfig
from models.gated_ngrams import GATE_UNITS, LONGEST, NGramModel, gate_inputs, sees_letters

REPORT_CHARS = 1024  # characters for which the report counts MACs
REPORT_SYMBOLS = 28  # of the report's vocabulary

Layers = list[tuple[int, int]]
"""Inputs and outputs of each."""


@dataclass(frozen=True)
class Complexity:
    """Size of a model of one shape, with the output layer; what begins with ``report_`` is as the report counts."""

    parameters: int
    macs_per_char: int
    matmul_macs_per_char: int
    report_parameters: int
    report_macs: int


def closed_form(config: ModelConfig, vocab_size: int, gate_layers: Layers | None = None) -> Complexity:
    """The complexity by the formulas above: exact, without building a model.

    ``gate_layers`` are those of a trained model on top of n-grams, whose gate may have another form than today's.
    """
    cell, hidden = CELLS[config.cell], config.hidden_size
    input_size, above = config.embedding_size or vocab_size, config.num_layers - 1
    parameters, macs, weights = (
        count(input_size, hidden) + above * count(hidden, hidden)
        for count in (cell.parameters, cell.macs_per_char, cell.weights)
    )
    heads = _heads(config, vocab_size, gate_layers)
    head = sum((size + 1) * outputs for size, outputs in heads)
    return Complexity(
        parameters=parameters + head + vocab_size * config.embedding_size,
        macs_per_char=macs + head + _evidence_macs_per_char(config, vocab_size),
        matmul_macs_per_char=weights + sum(size * outputs for size, outputs in heads),
        report_parameters=parameters,
        report_macs=REPORT_CHARS * macs,
    )


def evidence_macs_per_char(vocab_size: int, order: int, is_gated: bool) -> int:
    """MACs of an n-gram model for the distribution of a character, without its gate's layers.

    Each of K orders interpolates the V probabilities of the next lower one: K V. With a gate there are two kinds of
    shares, the entropies and divergences that it sees, and the weighted sum: 5 K V. Look-ups and logarithms count
    nothing.
    """
    return (5 if is_gated else 1) * order * vocab_size


def ngram_macs_per_char(ngrams: NGramModel) -> int:
    """MACs of an n-gram model for the distribution of a character."""
    is_gated = ngrams.gate is not None
    return evidence_macs_per_char(ngrams.tables.vocab_size, ngrams.tables.order, is_gated) + ngrams.gate_numbers


def fit_macs(stored_numbers: int) -> int:
    """MACs to fit an n-gram model of so many shares: each is a quotient, and is added to what its context uses.

    Counting and sorting count nothing, as look-ups do.
    """
    return 2 * stored_numbers


def gate_numbers(most: int) -> int:
    """The parameters of the gate of n-grams pruned to ``most`` (0: all), which are also its MACs for a character."""
    return sum((size + 1) * outputs for size, outputs in _gate_layers(most))


def _gate_layers(most: int) -> Layers:
    return [(gate_inputs(LONGEST, sees_letters(most)), GATE_UNITS), (GATE_UNITS, LONGEST)]


def _heads(config: ModelConfig, vocab_size: int, gate_layers: Layers | None = None) -> Layers:
    """Inputs and outputs of the output layer, and of the gate's layers of a model on top of n-grams."""
    if config.on_top_of != "ngram":
        return [(config.hidden_size, vocab_size)]
    return [(config.hidden_size, vocab_size + 1 + LONGEST), *(gate_layers or _gate_layers(config.ngrams))]


def _evidence_macs_per_char(config: ModelConfig, vocab_size: int) -> int:
    return evidence_macs_per_char(vocab_size, LONGEST, is_gated=True) if config.on_top_of == "ngram" else 0


def _probe(module: nn.Module, inputs: tuple[int, int], printed: bool = False) -> tuple[int, int, str]:
    """Run ptflops on a module and input vectors (time steps, size): MACs, parameters and its print-out."""
    out = io.StringIO()
    macs, parameters = get_model_complexity_info(
        module,
        inputs,
        backend="pytorch",  # the aten backend does not count LSTMs
        as_strings=False,
        print_per_layer_stat=printed,
        verbose=False,
        ost=out,  # the default is sys.stdout at import time
        backend_specific_config={"count_functional": False},  # changes nothing outside the module
    )
    if macs is None or parameters is None:  # how ptflops says that it failed
        raise RuntimeError(f"ptflops could not count {module}: {out.getvalue().strip()}")
    return int(macs), int(parameters), out.getvalue()


def _layers(config: ModelConfig, input_size: int) -> nn.RNNBase:
    """torch.nn's layers of a shape."""
    layers: type[nn.RNNBase] = getattr(nn, CELLS[config.cell].torch_layer)
    return layers(input_size, config.hidden_size, config.num_layers, batch_first=True)  # type: ignore[arg-type]


@torch.random.fork_rng(devices=[])  # initialising weights would advance the caller's generator
def measure(config: ModelConfig, vocab_size: int, gate_layers: Layers | None = None) -> Complexity:
    """The complexity as ptflops measures it; ``matmul_macs_per_char`` is the closed form's, as are ``gate_layers``.

    One time step is measured, since all steps cost the same. Raises RuntimeError if ptflops fails.
    """
    counted = closed_form(config, vocab_size, gate_layers)
    if not CELLS[config.cell].torch_layer:
        return counted
    input_size = config.embedding_size or vocab_size
    macs, parameters, _ = _probe(_layers(config, input_size), (1, input_size))
    heads = _heads(config, vocab_size, gate_layers)
    probes = [_probe(nn.Linear(size, outputs), (1, size)) for size, outputs in heads]
    return replace(
        counted,
        parameters=parameters + sum(probe[1] for probe in probes) + vocab_size * config.embedding_size,
        macs_per_char=macs + sum(probe[0] for probe in probes) + _evidence_macs_per_char(config, vocab_size),
        report_parameters=parameters,
        report_macs=REPORT_CHARS * macs,
    )


@torch.random.fork_rng(devices=[])
def report_print_out(config: ModelConfig, vocab_size: int) -> str:
    """ptflops' printed output as in the report's figures: the recurrent layers alone, 1,024 characters."""
    if not CELLS[config.cell].torch_layer:
        return f"No print-out by ptflops: torch.nn has no {config.cell} layer, so all of these follow from formulas.\n"
    input_size = config.embedding_size or vocab_size
    macs, parameters, printed = _probe(_layers(config, input_size), (REPORT_CHARS, input_size), printed=True)
    return (
        f"{printed}Computational complexity: {macs / 1e6:.2f} MMac ({macs:,} for {REPORT_CHARS:,} characters)\n"
        f"Number of parameters: {parameters / 1e3:.2f} k ({parameters:,})\n"
    )
