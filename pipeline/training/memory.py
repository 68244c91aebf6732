"""Whether trainings fit into this machine's memory: one upper estimate, by a formula."""

from collections.abc import Mapping
from typing import Any

from models.complexity import closed_form
from models.config import ModelConfig
from models.gated_ngrams import BATCH, FITTED_NUMBERS, LONGEST, TOLD
from pipeline.config import PASS_CHARS, TrainConfig, resolve
from pipeline.errors import InputError
from pipeline.support.machine import GB, memory_of_this_machine, usable_cores
from pipeline.text.batches import PRIOR_NUMBERS, data_of
from pipeline.text.corpus import BASELINE_CHARS, Corpus
from pipeline.training.evaluation import LOGITS_AT_ONCE, ROW_CHARS, ROWS_AT_ONCE
from pipeline.training.hardware import choose_device

PARAMETER_BYTES = 4 * 27  # weights, gradients, moments, EMA and best weights, a step's copies and a checkpoint's
LAYER_BYTES = 300_000  # objects and kernels of a layer of any size
UNIT_BYTES = 4 * 22  # per character, unit and layer of a step: what an LSTM in fp32 keeps for its backward pass
READ_BYTES = 4 * 4  # per character and unit of a text that is scored
SYMBOL_BYTES = 36  # per character and symbol: one-hot and logits, in both precisions, and their gradients
NGRAM_BYTES = 700  # per character that n-grams are fitted on: their tables, and counts without a part
GATE_BYTES = 10  # per number of the evidence in a batch from which the n-grams' gate learns
WORKER_BYTES = 310_000_000  # a worker process before it trains, without memory that it shares with others


def training_bytes(model: ModelConfig, config: TrainConfig, vocab_size: int, train_chars: int, test_chars: int) -> int:
    """Bytes of this machine's memory that a training takes at most; 0 on a device other than the CPU."""
    if choose_device(config.device).type != "cpu":
        return 0
    weights = PARAMETER_BYTES * closed_form(model, vocab_size).parameters + LAYER_BYTES * model.num_layers
    step = config.batch_size * config.sequence_length
    if config.preset != "report":  # its windows overlap: one starts at almost every character
        step = min(step, train_chars)
    read = min(ROWS_AT_ONCE * ROW_CHARS, LOGITS_AT_ONCE // vocab_size, test_chars)
    symbols = SYMBOL_BYTES * vocab_size
    activations = max(
        step * (UNIT_BYTES * model.hidden_size * model.num_layers + symbols),
        read * (READ_BYTES * model.hidden_size + symbols),
    )
    ngrams = NGRAM_BYTES * (train_chars if train_chars <= PASS_CHARS else BASELINE_CHARS)
    numbers = LONGEST * (vocab_size + TOLD)  # of the evidence at a position, for a network on top or the gate
    most = PRIOR_NUMBERS if model.on_top_of == "ngram" else FITTED_NUMBERS
    return max(weights + activations, GATE_BYTES * BATCH * numbers) + ngrams + 2 * min(train_chars * numbers, most)


def most_workers(largest_training: int, memory: int | None = None) -> int:
    """The number of workers, each with a training of ``largest_training`` bytes, that fit into memory; at least 1."""
    return max(1, (memory or memory_of_this_machine()) // (WORKER_BYTES + largest_training))


def worker_count(
    workers: int | None, largest_training: int = 0, cores: int | None = None, memory: int | None = None
) -> int:
    """The number of worker processes: ``workers``, or if that is None (auto), one per usable core that memory allows.

    ``largest_training`` is the memory of the largest training in bytes; ``cores`` and ``memory`` are this machine's.
    """
    return workers if workers is not None else min(cores or usable_cores(), most_workers(largest_training, memory))


def check_can_train(
    corpus: Corpus, model: ModelConfig, config: TrainConfig, workers: int = 1, memory: int | None = None
) -> int:
    """Check that this machine can run such a training in each of ``workers`` processes; return the bytes of one.

    ``memory`` is this machine's by default. Raises InputError for a text that is too short, a device that this machine
    lacks, and too little memory.
    """
    data_of(corpus, config)  # raises InputError for a text that is too short
    train_chars, test_chars = (len(corpus.split(config.preset, split)) for split in ("train", "test"))
    needed = training_bytes(model, config, len(corpus.vocabulary), config.train_chars or train_chars, test_chars)
    what = f"{_shape(model)}, trained in steps of {config.batch_size:,} x {config.sequence_length:,} characters,"
    _check(what, needed, "--hidden-size, --num-layers, --batch-size or sequence_length", memory)
    if workers > 1:
        what, lower = f"{what} in {workers:,} workers at once", f"--workers to {most_workers(needed, memory):,}"
        _check(what, workers * (WORKER_BYTES + needed), lower, memory)
    return needed


def configurations_for(corpus: Corpus, options: Mapping[str, Any]) -> tuple[ModelConfig, TrainConfig]:
    """Resolve options for a text. Raises ConfigError for one not allowed and InputError as ``check_can_train`` does."""
    model, train = resolve(options, corpus.train_chars, len(corpus.vocabulary))
    check_can_train(corpus, model, train)
    return model, train


def check_shape_fits(model: ModelConfig, vocab_size: int) -> None:
    """Raise InputError if this machine's memory is too small to count a model with ptflops."""
    twice = 2 * 4 * closed_form(model, vocab_size).parameters  # the layers alone, and with the output layer
    _check(_shape(model), twice + LAYER_BYTES * model.num_layers, "--hidden-size or --num-layers")


def _shape(model: ModelConfig) -> str:
    return f"--hidden-size {model.hidden_size} with --num-layers {model.num_layers}"


def _check(what: str, needed: int, lower: str, memory: int | None = None) -> None:
    if needed > (available := memory or memory_of_this_machine()):
        raise InputError(
            f"{what} needs about {needed / GB:,.0f} GB of memory; this machine has {available / GB:,.0f} GB: lower "
            f"{lower}"
        )
