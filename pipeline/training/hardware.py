"""The hardware of a training: device, precision and threads, and whether this machine's memory holds it.

``choose_hardware`` resolves a configuration once; the memory check and the training loop are handed its result.
"""

import ctypes
import sys
from dataclasses import dataclass

import torch

from models.complexity import closed_form
from models.config import Kernel, ModelConfig
from pipeline.config import ON_REPORTS_TEXT, PASS_CHARS, PresetName, TrainConfig
from pipeline.errors import InputError
from pipeline.support.machine import GB, check_threads, memory_of_this_machine, usable_cores
from pipeline.text.corpus import BASELINE_CHARS
from pipeline.training.evaluation import LOGITS_AT_ONCE, ROW_CHARS, ROWS_AT_ONCE

BF16_STEP_UNITS = 8192  # rows times units from which on a step of a GRU or RNN is faster in bf16 on a CPU

# --- memory: bytes, and how many of them are held at once

FLOAT, HALF = 4, 2  # bytes of a number in fp32 and in bf16

STEP_COPIES = 6  # of the parameters, that a step makes and drops again: masks, casts, norms

WRITE_COPIES = 3  # of a checkpoint's content while it is written

LAYER_BYTES = 300_000  # a layer's objects and kernels, however small it is

KEPT_PER_UNIT = {"rnn": 5, "gru": 14, "lstm": 22}  # numbers per character, unit and layer that the backward pass needs

KEPT_PER_SYMBOL = 36  # bytes per character: one-hot and logits, in both precisions, and their gradients

NGRAM_PER_CHAR = 130  # bytes: the peak while the n-gram of the mixture is fitted; the fitted model takes less

READ_PER_UNIT = 4  # numbers per character and unit without a backward pass

PRIOR_BYTES, FITTED_BYTES = 2, 300  # of a log-probability, and of a character that n-grams are fitted on

WORKER_BYTES = 310_000_000  # a worker process before it trains, not counting what it shares with others


@dataclass(frozen=True)
class Hardware:
    """What one training runs on: the device, the precision of its arithmetic ("fp32" or "bf16"), and its threads.

    ``kernel``: what computes a training step of the recurrent layers.
    """

    device: torch.device
    precision: str
    threads: int
    kernel: Kernel = "torch"


def choose_hardware(model: ModelConfig, config: TrainConfig) -> Hardware:
    """Resolve what a configuration leaves at auto. Raises InputError for a device that this machine lacks.

    On the report's text, auto is fp32, as the report's own trainings.
    """
    device = choose_device(config.device)
    is_fp32 = config.preset in ON_REPORTS_TEXT and config.precision == "auto"
    precision = choose_precision("fp32" if is_fp32 else config.precision, device, model, config.batch_size)
    kernel = choose_kernel(device, precision, model, config.preset)
    return Hardware(device, precision, choose_threads(config.threads), kernel)


def choose_device(device: str) -> torch.device:
    """The device of this name; auto: cuda, else mps, else cpu. Raises InputError for one that this machine lacks."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, there in has.items() if there))
    if not has[device]:
        there = ", ".join(name for name, is_there in has.items() if is_there)
        raise InputError(f"--device {device} is not there; this machine has {there} (or use auto)")
    return torch.device(device)


def has_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 instructions (CPU: AMX or AVX512-BF16); emulated, bf16 would only be slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # no public ones as of torch 2.13
        return any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return False


def choose_precision(precision: str, device: torch.device, model: ModelConfig, batch_size: int) -> str:
    """The precision of this name; auto: bf16 where it is faster, else fp32.

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


def choose_kernel(device: torch.device, precision: str, model: ModelConfig, preset: PresetName) -> Kernel:
    """The kernel of a training: by hand for torch.nn's GRU and RNN on a CPU, where it was faster at every size.

    Forward and backward pass in the better precision of each, torch.nn and by hand (Intel with AMX, milliseconds):

    GRU  16 x 32 characters  8 units 3.6 2.2  128 units 6.4 4.2  256 units 13.2 8.0
         32 x 64             512 units 94 56      1,024 x 32      128 units 155 70
    RNN  16 x 32             8 units 1.3 0.8  128 units 2.2 1.3  256 units 3.9 2.6
         32 x 64             512 units 30 16      1,024 x 32      128 units 43 17

    The report's preset in fp32 keeps torch.nn, as the report's own trainings.
    """
    stepwise = model.implementation == "torch" and model.cell in ("rnn", "gru")
    as_reported = (preset, precision) == ("report", "fp32")
    return "by-hand" if stepwise and device.type == "cpu" and not as_reported else "torch"


def choose_threads(threads: int | None) -> int:
    """``threads``, by default 1: layers of this size gain nothing from a second thread.

    One that has to wait for another program's makes a step ten times as long (measured).
    """
    return threads or 1


def keep_freed_memory() -> None:
    """Make glibc keep freed memory: returning it to the kernel takes up to half of each step's time."""
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


def weight_bytes(model: ModelConfig, config: TrainConfig, vocab_size: int) -> int:
    """Bytes of weights, gradients, moments, EMA and best weights, and of the checkpoint of all but the gradients."""
    held = 2 + 2 * (config.optimizer == "adamw") + (config.average > 0)
    copies = held + 1 + STEP_COPIES + WRITE_COPIES * held
    return FLOAT * copies * closed_form(model, vocab_size).parameters + LAYER_BYTES * model.num_layers


def step_bytes(model: ModelConfig, config: TrainConfig, vocab_size: int, train_chars: int, precision: str) -> int:
    """Bytes that one training step keeps for its backward pass, on a training text of ``train_chars`` characters."""
    if config.preset == "report":  # windows overlap: one starts at almost every character
        chars = min(config.batch_size, train_chars) * min(config.sequence_length, train_chars)
    else:
        chars = min(config.batch_size * config.sequence_length, train_chars, PASS_CHARS)
    number = HALF if precision == "bf16" else FLOAT
    units = model.hidden_size * model.num_layers
    return chars * (number * KEPT_PER_UNIT[model.cell] * units + KEPT_PER_SYMBOL * vocab_size)


def read_bytes(model: ModelConfig, vocab_size: int, chars: int) -> int:
    """Bytes that scoring a text of ``chars`` characters takes."""
    rows = max(1, min(ROWS_AT_ONCE, LOGITS_AT_ONCE // (ROW_CHARS * vocab_size)))
    return min(rows * ROW_CHARS, chars) * (FLOAT * READ_PER_UNIT * model.hidden_size + KEPT_PER_SYMBOL * vocab_size)


def ngram_bytes(model: ModelConfig, vocab_size: int, train_chars: int) -> int:
    """Bytes of the n-gram that the trained network is mixed with, and of those of a network on top of them."""
    mixed = NGRAM_PER_CHAR * (train_chars if train_chars <= PASS_CHARS else BASELINE_CHARS)
    if model.on_top_of == "nothing":
        return mixed
    return mixed + min(train_chars, PASS_CHARS) * (PRIOR_BYTES * vocab_size + FITTED_BYTES)


def training_bytes(
    model: ModelConfig,
    config: TrainConfig,
    vocab_size: int,
    train_chars: int,
    test_chars: int,
    *,
    hardware: Hardware | None = None,
) -> int:
    """Bytes of this machine's memory that a training takes; 0 on a device with memory of its own.

    ``hardware``: where it is not given, as ``choose_hardware`` resolves it.
    """
    hardware = hardware or choose_hardware(model, config)
    if hardware.device.type != "cpu":
        return 0
    step = step_bytes(model, config, vocab_size, train_chars, hardware.precision)
    ngrams = ngram_bytes(model, vocab_size, train_chars)
    return weight_bytes(model, config, vocab_size) + ngrams + max(step, read_bytes(model, vocab_size, test_chars))


def most_workers(largest_training: int) -> int:
    """How many workers, each with a training of so many bytes, this machine's memory holds; at least 1."""
    return max(1, memory_of_this_machine() // (WORKER_BYTES + largest_training))


def check_training_fits(
    model: ModelConfig,
    config: TrainConfig,
    vocab_size: int,
    train_chars: int,
    test_chars: int,
    workers: int = 1,
    *,
    hardware: Hardware | None = None,
) -> None:
    """Check that this machine's memory holds the training in each of ``workers`` processes, and its threads start.

    Raises InputError, with the bytes that are needed and those that there are. The memory of devices other than the
    CPU is not checked. ``hardware``: where it is not given, as ``choose_hardware`` resolves it.
    """
    if config.threads is not None:
        check_threads(config.threads)
    hardware = hardware or choose_hardware(model, config)
    needed = training_bytes(model, config, vocab_size, train_chars, test_chars, hardware=hardware)
    if not needed:
        return
    step = step_bytes(model, config, vocab_size, train_chars, hardware.precision)
    too_long = step > weight_bytes(model, config, vocab_size)
    lower = "--batch-size or --sequence-length" if too_long else _size_options(model)
    if model.on_top_of == "ngram" and ngram_bytes(model, vocab_size, train_chars) > max(
        step, weight_bytes(model, config, vocab_size)
    ):
        lower = "--on-top-of to nothing"
    what = f"{_shape(model)}, trained in steps of {config.batch_size:,} x {config.sequence_length:,} characters"
    _check(f"{what},", needed, lower)
    if workers > 1:
        most = most_workers(needed)
        _check(f"{what}, in {workers:,} workers at once", workers * (WORKER_BYTES + needed), f"--workers to {most:,}")


def check_shape_fits(model: ModelConfig, vocab_size: int) -> None:
    """Check that a model can be built in this machine's memory. Raises InputError with both figures."""
    twice = 2 * FLOAT * closed_form(model, vocab_size).parameters  # the layers alone, and with the output layer
    _check(_shape(model), twice + LAYER_BYTES * model.num_layers, _size_options(model))


def _shape(model: ModelConfig) -> str:
    embedding = f" and --embedding-size {model.embedding_size}" if model.embedding_size else ""
    return f"--hidden-size {model.hidden_size} with --num-layers {model.num_layers}{embedding}"


def _size_options(model: ModelConfig) -> str:
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
    """Number of worker processes: ``workers``; None (auto): one per usable core, or fewer if memory is short.

    ``largest_training`` is the largest training's bytes.
    """
    return workers if workers is not None else min(usable_cores(), most_workers(largest_training))
