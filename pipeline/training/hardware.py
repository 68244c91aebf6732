"""The hardware of a training: device, precision and threads, and whether the training fits into this machine's memory.

``choose_hardware`` resolves a configuration once; the memory check and the training loop take its result.
"""

import ctypes
import sys
from dataclasses import dataclass

import torch

from models.cells import CELLS
from models.complexity import closed_form
from models.config import Kernel, ModelConfig
from pipeline.config import ON_REPORTS_TEXT, PASS_CHARS, PresetName, TrainConfig
from pipeline.errors import InputError
from pipeline.support.machine import GB, memory_of_this_machine, usable_cores
from pipeline.text.corpus import BASELINE_CHARS
from pipeline.training.evaluation import LOGITS_AT_ONCE, ROW_CHARS, ROWS_AT_ONCE

BF16_STEP_UNITS = 8192  # batch size x hidden size from which on a GRU's or RNN's step is faster in bf16 on a CPU

# --- the memory estimate

FLOAT, HALF = 4, 2  # bytes of a number in fp32 and in bf16

STEP_COPIES = 6  # temporary copies of the parameters within a step: masks, casts, norms

WRITE_COPIES = 3  # copies of a checkpoint's content while it is written

LAYER_BYTES = 300_000  # objects and kernels of a layer of any size

KEPT_PER_GATE = 5.5  # numbers per character, unit and layer kept for the backward pass

KEPT_PER_SYMBOL = 36  # bytes per character and symbol: one-hot and logits, in both precisions, and their gradients

NGRAM_PER_CHAR = 130  # bytes per character at the peak of fitting the mixture's n-gram; the fitted model takes less

READ_PER_UNIT = 4  # numbers per character and unit without a backward pass

PRIOR_BYTES, FITTED_BYTES = 2, 300  # per log-probability of the prior; per character that its n-grams are fitted on

WORKER_BYTES = 310_000_000  # a worker process before it trains, without memory that it shares with others


@dataclass(frozen=True)
class Hardware:
    """What a training runs on: the device, the precision of its arithmetic ("fp32" or "bf16"), and the threads.

    ``kernel`` is what computes the recurrent layers in training.
    """

    device: torch.device
    precision: str
    threads: int
    kernel: Kernel = "torch"


def choose_hardware(model: ModelConfig, config: TrainConfig) -> Hardware:
    """Resolve what a configuration leaves at auto. Raises InputError for a device that this machine lacks.

    For presets on the report's text, the precision auto is fp32, as in the report's own trainings.
    """
    device = choose_device(config.device)
    is_fp32 = config.preset in ON_REPORTS_TEXT and config.precision == "auto"
    precision = choose_precision("fp32" if is_fp32 else config.precision, device, model, config.batch_size)
    kernel = choose_kernel(device, precision, model, config.preset)
    return Hardware(device, precision, choose_threads(config.threads), kernel)


def choose_device(device: str) -> torch.device:
    """The device of this name; auto: cuda, else mps, else cpu. Raises InputError for one that this machine lacks."""
    is_available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = [name for name, is_so in is_available.items() if is_so]
    if device == "auto":
        return torch.device(available[0])
    if device not in available:
        raise InputError(f"--device {device} is not available; this machine has {', '.join(available)} (or use auto)")
    return torch.device(device)


def has_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 instructions (CPU: AMX or AVX512-BF16); emulated bf16 would only be slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # torch 2.13 has no public ones
        return any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return False


def choose_precision(precision: str, device: torch.device, model: ModelConfig, batch_size: int) -> str:
    """The precision of this name; auto: bf16 where it is faster, else fp32.

    On a CPU, scratch layers stay in fp32: casting at each step costs more than it saves. So do torch.nn's GRU and RNN,
    which run step by step (only the LSTM runs as one call of oneDNN), unless a step has BF16_STEP_UNITS units over all
    rows: at 16 rows, a training step of a GRU 1x16 takes 4.7 ms in fp32 and 8.0 ms in bf16; of a GRU 2x256, 44 ms and
    43 ms.
    """
    if precision != "auto":
        return precision
    is_faster = has_bf16(device)
    if device.type == "cpu":
        is_small = CELLS[model.cell].by_hand and batch_size * model.hidden_size < BF16_STEP_UNITS
        is_faster = is_faster and model.by_torch and not is_small
    return "bf16" if is_faster else "fp32"


def choose_kernel(device: torch.device, precision: str, model: ModelConfig, preset: PresetName) -> Kernel:
    """The kernel of a training: "by-hand" for torch.nn's GRU and RNN on a CPU, where it was faster at every size.

    Milliseconds of a forward and backward pass on an Intel CPU with AMX, torch.nn / by hand, each in the precision in
    which it is faster:

    batch x time      16 x 32                             32 x 64     1,024 x 32
    units             8           128         256         512         128
    GRU               3.6 / 2.2   6.4 / 4.2   13.2 / 8.0  94 / 56     155 / 70
    RNN               1.3 / 0.8   2.2 / 1.3   3.9 / 2.6   30 / 16     43 / 17

    The report's preset in fp32 keeps torch.nn's kernel, as in the report's own trainings.
    """
    stepwise = model.by_torch and CELLS[model.cell].by_hand
    as_reported = (preset, precision) == ("report", "fp32")
    return "by-hand" if stepwise and device.type == "cpu" and not as_reported else "torch"


def choose_threads(threads: int | None) -> int:
    """``threads``, by default 1: layers of this size gain nothing from a second thread.

    If another program occupies the second thread's core, a step takes ten times as long (measured).
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
    """Bytes of weights, gradients, moments, EMA and best weights, and of writing a checkpoint."""
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
    return chars * round(number * KEPT_PER_GATE * CELLS[model.cell].gates * units + KEPT_PER_SYMBOL * vocab_size)


def read_bytes(model: ModelConfig, vocab_size: int, chars: int) -> int:
    """Bytes that scoring a text of ``chars`` characters takes."""
    rows = max(1, min(ROWS_AT_ONCE, LOGITS_AT_ONCE // (ROW_CHARS * vocab_size)))
    return min(rows * ROW_CHARS, chars) * (FLOAT * READ_PER_UNIT * model.hidden_size + KEPT_PER_SYMBOL * vocab_size)


def ngram_bytes(model: ModelConfig, vocab_size: int, train_chars: int) -> int:
    """Bytes of the n-gram that the trained network is mixed with and, for a network on top of one, of its prior."""
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
    """Bytes of this machine's memory that a training takes; 0 on a device other than the CPU.

    ``hardware`` defaults to what ``choose_hardware`` chooses.
    """
    hardware = hardware or choose_hardware(model, config)
    if hardware.device.type != "cpu":
        return 0
    step = step_bytes(model, config, vocab_size, train_chars, hardware.precision)
    ngrams = ngram_bytes(model, vocab_size, train_chars)
    return weight_bytes(model, config, vocab_size) + ngrams + max(step, read_bytes(model, vocab_size, test_chars))


def most_workers(largest_training: int) -> int:
    """The number of workers, each with a training of ``largest_training`` bytes, that fit into memory; at least 1."""
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
    """Check that the training fits into this machine's memory in each of ``workers`` processes.

    Raises InputError, with the memory that is needed and available. The memory of devices other than the CPU is not
    checked. ``hardware`` defaults to what ``choose_hardware`` chooses.
    """
    hardware = hardware or choose_hardware(model, config)
    needed = training_bytes(model, config, vocab_size, train_chars, test_chars, hardware=hardware)
    if not needed:
        return
    step = step_bytes(model, config, vocab_size, train_chars, hardware.precision)
    weights = weight_bytes(model, config, vocab_size)
    lower = "--batch-size" if step > weights else _size_options(model)
    if model.on_top_of == "ngram" and ngram_bytes(model, vocab_size, train_chars) > max(step, weights):
        lower = "--on-top-of to nothing"
    what = f"{_shape(model)}, trained in steps of {config.batch_size:,} x {config.sequence_length:,} characters"
    _check(f"{what},", needed, lower)
    if workers > 1:
        most = most_workers(needed)
        _check(f"{what}, in {workers:,} workers at once", workers * (WORKER_BYTES + needed), f"--workers to {most:,}")


def check_shape_fits(model: ModelConfig, vocab_size: int) -> None:
    """Check that this machine's memory is enough to count a model with ptflops. Raises InputError with both figures."""
    twice = 2 * FLOAT * closed_form(model, vocab_size).parameters  # the layers alone, and with the output layer
    _check(_shape(model), twice + LAYER_BYTES * model.num_layers, _size_options(model))


def _shape(model: ModelConfig) -> str:
    embedding = f" and embedding_size {model.embedding_size}" if model.embedding_size else ""
    return f"--hidden-size {model.hidden_size} with --num-layers {model.num_layers}{embedding}"


def _size_options(model: ModelConfig) -> str:
    return "--hidden-size, --num-layers or embedding_size" if model.embedding_size else "--hidden-size or --num-layers"


def _check(what: str, needed: int, lower: str) -> None:
    available = memory_of_this_machine()
    if needed > available:
        raise InputError(
            f"{what} needs about {needed / GB:,.0f} GB of memory; this machine has {available / GB:,.0f} GB: lower "
            f"{lower}"
        )


def worker_count(workers: int | None, largest_training: int = 0) -> int:
    """The number of worker processes: ``workers``, or if that is None (auto), one per usable core that memory allows.

    ``largest_training`` is the memory of the largest training in bytes.
    """
    return workers if workers is not None else min(usable_cores(), most_workers(largest_training))
