"""How much memory a training would need, before anything of it is allocated.

An estimate, held to measured peaks: within a factor of two above a gigabyte (tests/test_memory.py). It counts bytes;
"a copy" is one number for each parameter, "kept" what the way back through a step needs for each of its characters.
"""

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.config import PASS_CHARS, TrainConfig
from pipeline.errors import InputError
from pipeline.evaluation import LOGITS_AT_ONCE, ROW_CHARS, ROWS_AT_ONCE
from pipeline.machine import GB, check_threads, memory_of_this_machine
from pipeline.training import choose_device, choose_precision

FLOAT, HALF = 4, 2
STEP_COPIES = 6  # that a step makes and drops again: masks, casts, norms
WRITE_COPIES = 3  # of what a checkpoint holds, while it is written
LAYER_BYTES = 300_000  # of a layer's objects and kernels, however small it is
KEPT_PER_UNIT = {"rnn": 5, "gru": 14, "lstm": 22}  # numbers, of each layer
KEPT_PER_SYMBOL = 36  # bytes: one-hot and logits, in both precisions, and their gradients
READ_PER_UNIT = 4  # numbers, where nothing is kept for the way back
WORKER_BYTES = 310_000_000  # of a worker process before it trains, not counting what it shares with others


def weight_bytes(model: ModelConfig, config: TrainConfig, vocab_size: int) -> int:
    """Weights, gradients, moments, average, best weights, and the checkpoint that is made of all but the gradients."""
    held = 2 + 2 * (config.optimizer == "adamw") + (config.average > 0)
    copies = held + 1 + STEP_COPIES + WRITE_COPIES * held
    return FLOAT * copies * closed_form(model, vocab_size).parameters + LAYER_BYTES * model.num_layers


def step_bytes(model: ModelConfig, config: TrainConfig, vocab_size: int, train_chars: int) -> int:
    """What a step on a training text of so many characters keeps."""
    if config.preset == "report":  # windows overlap: one starts at almost every character
        chars = min(config.batch_size, train_chars) * min(config.sequence_length, train_chars)
    else:
        chars = min(config.batch_size * config.sequence_length, train_chars, PASS_CHARS)
    precision = choose_precision(config.precision, choose_device(config.device), model, config.batch_size)
    number = HALF if precision == "bf16" else FLOAT
    units = model.hidden_size * model.num_layers
    return chars * (number * KEPT_PER_UNIT[model.cell] * units + KEPT_PER_SYMBOL * vocab_size)


def read_bytes(model: ModelConfig, vocab_size: int, chars: int) -> int:
    """What the scoring of a text of so many characters takes at once."""
    rows = max(1, min(ROWS_AT_ONCE, LOGITS_AT_ONCE // (ROW_CHARS * vocab_size)))
    return min(rows * ROW_CHARS, chars) * (FLOAT * READ_PER_UNIT * model.hidden_size + KEPT_PER_SYMBOL * vocab_size)


def training_bytes(model: ModelConfig, config: TrainConfig, vocab_size: int, train_chars: int, test_chars: int) -> int:
    """What a training takes of this machine's memory; 0 on other devices than the CPU, whose memory is their own."""
    if choose_device(config.device).type != "cpu":
        return 0
    weights, step = weight_bytes(model, config, vocab_size), step_bytes(model, config, vocab_size, train_chars)
    return weights + max(step, read_bytes(model, vocab_size, test_chars))


def most_workers(largest_training: int) -> int:
    """How many worker processes with a training of so many bytes each this machine's memory holds; at least one."""
    return max(1, memory_of_this_machine() // (WORKER_BYTES + largest_training))


def check_training_fits(
    model: ModelConfig,
    config: TrainConfig,
    vocab_size: int,
    train_chars: int,
    test_chars: int,
    workers: int = 1,
) -> None:
    """Refuse, with both figures, a training that this machine's memory can't hold in each of ``workers`` processes.

    Raises InputError; also for --threads that can't be started. On other devices than the CPU the memory is not
    checked: what they have is their own.
    """
    if config.threads is not None:
        check_threads(config.threads)
    needed = training_bytes(model, config, vocab_size, train_chars, test_chars)
    if not needed:
        return
    weights, step = weight_bytes(model, config, vocab_size), step_bytes(model, config, vocab_size, train_chars)
    lower = "--batch-size or --sequence-length" if step > weights else _smaller(model)
    what = f"{_shape(model)}, trained in steps of {config.batch_size:,} x {config.sequence_length:,} characters"
    _check(f"{what},", needed, lower)
    if workers > 1:
        most = most_workers(needed)
        _check(f"{what}, in {workers:,} workers at once", workers * (WORKER_BYTES + needed), f"--workers to {most:,}")


def check_shape_fits(model: ModelConfig, vocab_size: int) -> None:
    """Refuse, with both figures, a model that can't be built here to be measured. Raises InputError."""
    twice = 2 * FLOAT * closed_form(model, vocab_size).parameters  # the layers alone, and with the output layer
    _check(_shape(model), twice + LAYER_BYTES * model.num_layers, _smaller(model))


def _shape(model: ModelConfig) -> str:
    embedding = f" and --embedding-size {model.embedding_size}" if model.embedding_size else ""
    return f"--hidden-size {model.hidden_size} with --num-layers {model.num_layers}{embedding}"


def _smaller(model: ModelConfig) -> str:
    return (
        "--hidden-size, --num-layers or --embedding-size" if model.embedding_size else "--hidden-size or --num-layers"
    )


def _check(what: str, needed: int, lower: str) -> None:
    there = memory_of_this_machine()
    if needed > there:
        raise InputError(
            f"{what} needs about {needed / GB:,.0f} GB of memory; this machine has {there / GB:,.0f} GB: lower {lower}"
        )
