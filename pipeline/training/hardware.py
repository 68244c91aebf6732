"""The hardware of a training: device, precision of the arithmetic, and what computes the recurrent layers."""

import logging
from collections.abc import Sequence

import torch

from models.cells import CELLS
from models.config import Kernel, ModelConfig
from pipeline.config import PresetName
from pipeline.errors import InputError

log = logging.getLogger(__name__)

BF16_STEP_UNITS = 8192  # batch size x hidden size from which on a GRU's or RNN's step is faster in bf16 on a CPU


def choose_device(device: str, there: Sequence[str] = ()) -> torch.device:
    """The device of this name; auto: cuda, else cpu. Raises InputError for one that is not there."""
    is_available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    available = there or [name for name, is_so in is_available.items() if is_so]
    if device == "auto":
        return torch.device("cuda" if "cuda" in available else "cpu")
    if device not in available:
        raise InputError(f"--device {device} is not available; this machine has {', '.join(available)} (or use auto)")
    if device == "mps":
        log.warning("--device mps ignores dropout between LSTM layers in its backward pass (pytorch#190056)")
    return torch.device(device)


def has_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 instructions (CPU: AMX or AVX512-BF16); emulated bf16 would only be slower."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        if hasattr(torch.cpu, "get_capabilities"):  # not in every torch of the range
            found = torch.cpu.get_capabilities()
            return bool(found.get("amx_tile") or found.get("avx512_bf16"))
        return any(getattr(torch.cpu, f"_is_{probe}_supported", bool)() for probe in ("amx_tile", "avx512_bf16"))
    return False


def choose_precision(
    precision: str, device: torch.device, model: ModelConfig, batch_size: int, in_hardware: bool | None = None
) -> str:
    """The precision of this name; auto: bf16 where it is faster, else fp32.

    ``in_hardware`` is whether the device has bf16; by default, ``has_bf16`` says so.

    On a CPU, scratch layers stay in fp32: casting at each step costs more than it saves. So do torch.nn's GRU and RNN,
    which run step by step (only the LSTM runs as one call of oneDNN), unless a step has BF16_STEP_UNITS units over all
    rows: at 16 rows, a training step of a GRU 1x16 takes 4.7 ms in fp32 and 8.0 ms in bf16; of a GRU 2x256, 44 ms and
    43 ms.
    """
    if precision != "auto":
        return precision
    is_faster = has_bf16(device) if in_hardware is None else in_hardware
    if device.type == "cpu":
        is_small = CELLS[model.cell].by_hand and batch_size * model.hidden_size < BF16_STEP_UNITS
        is_faster = is_faster and model.by_torch and not is_small
    return "bf16" if is_faster else "fp32"


def choose_kernel(device: torch.device, precision: str, model: ModelConfig, preset: PresetName) -> Kernel:
    """The kernel of a training: "by-hand" for torch.nn's GRU and RNN on a CPU, where it was faster at every size.

    On an Intel CPU with AMX, a forward and backward pass of 8 to 512 units takes by hand 0.4 to 0.7 of torch.nn's time,
    each in the precision in which it is faster. The report's preset in fp32 keeps torch.nn's kernel, as in the report's
    own trainings.
    """
    stepwise = model.by_torch and CELLS[model.cell].by_hand
    as_reported = (preset, precision) == ("report", "fp32")
    return "by-hand" if stepwise and device.type == "cpu" and not as_reported else "torch"
