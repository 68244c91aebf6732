"""What this machine offers a training: device, precision, threads, and whether its memory suffices."""

import ctypes
import sys

import torch

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.config import PASS_CHARS, TrainConfig
from pipeline.errors import InputError
from pipeline.support.machine import GB, check_threads, memory_of_this_machine, usable_cores
from pipeline.training.evaluation import LOGITS_AT_ONCE, ROW_CHARS, ROWS_AT_ONCE

BF16_STEP_UNITS = 8192  # rows times units

# --- what the machine offers -----------------------------------------------------------------------------------------


def choose_device(device: str) -> torch.device:
    """auto: cuda, else mps, else cpu. Raises InputError for one that this machine lacks."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, there in has.items() if there))
    if not has[device]:
        there = ", ".join(name for name, is_there in has.items() if is_there)
        raise InputError(f"--device {device} is not there; this machine has {there} (or use auto)")
    return torch.device(device)


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies in bfloat16 (CPU: AMX or AVX512-BF16); elsewhere it would only be slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # no public ones as of torch 2.13
        return any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return False


def choose_precision(precision: str, device: torch.device, model: ModelConfig, batch_size: int) -> str:
    """auto: bf16 where it pays.

    On a CPU, scratch layers stay in fp32: casting each step costs more than it saves. So do torch.nn's GRU and RNN,
    which are dispatched step by step (only the LSTM goes through oneDNN whole), unless a step is BF16_STEP_UNITS wide:
    at 16 rows, a training step of a GRU 1x16 takes 4.7 ms in fp32 and 8.0 in bf16, one of a GRU 2x256 44 and 43.
    """
    if precision != "auto":
        return precision
    pays = has_bf16(device)
    if device.type == "cpu":
        stepwise = model.cell != "lstm" and batch_size * model.hidden_size < BF16_STEP_UNITS
        pays = pays and model.implementation == "torch" and not stepwise
    return "bf16" if pays else "fp32"


def choose_threads(threads: int | None) -> int:
    """One where the user says nothing: layers of this size gain nothing from a second one, and a second one that
    has to wait for another program's costs ten times the step (measured)."""
    return threads or 1


def keep_freed_memory() -> None:
    """Ask glibc to keep what is freed: returning the same megabytes to the kernel each step costs up to half of it."""
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library: nothing to tune
        return
    m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
    mallopt(m_mmap_max, 0)
    mallopt(m_trim_threshold, 2**30)
    mallopt(m_top_pad, 2**26)


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


def worker_count(workers: int | None, largest_training: int = 0) -> int:
    """--workers; with auto one for each core that this process may use, if the memory holds so many trainings.

    ``largest_training``: the bytes that the largest of them takes.
    """
    return workers if workers is not None else min(usable_cores(), most_workers(largest_training))
