"""Checkpoints: one safetensors file each, written atomically, with a digest of its whole content. No pickle.

The facts of a checkpoint (configurations, vocabulary, epoch, ...) are JSON in the header's metadata, beside the digest
of the facts and of all tensors.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from pipeline.errors import InputError
from pipeline.support.files import write_atomically

PROJECT, FORMAT = "time-machine-lm", 3

LONGEST_HEADER = 100_000_000  # bytes, the limit of safetensors itself


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """Write tensors and facts atomically; returns their digest. Raises TypeError for facts that JSON can't encode."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": f"{PROJECT} {FORMAT}", "facts": json.dumps(facts)}
    metadata["sha256"] = _digest(kept, metadata["facts"])
    write_atomically(path, tensors_to_bytes(kept, metadata))
    return metadata["sha256"]


def _digest(tensors: Mapping[str, Tensor], facts: str) -> str:
    """sha256 over the facts and the name, type, shape and bytes of every tensor, in the order of their names."""
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read and verify a checkpoint: tensors and facts. Raises InputError for a damaged or foreign file."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            start = file.read(8) or b""
            start += file.read(min(int.from_bytes(start, "little"), LONGEST_HEADER))
            header = _header(start)
            project, _, number = header.get("format", "").rpartition(" ")
            if project != PROJECT:
                raise InputError(f"{path} is not a checkpoint of this project; give a run id or another file")
            if number != str(FORMAT):
                raise InputError(f"{path} has format {number}, and this version reads format {FORMAT}; train it again")
            data = start + file.read()
    except OSError as error:
        raise InputError(f"checkpoint {path} can't be read: {error.strerror}; give a run id or another file") from None
    facts, digest = header.get("facts", ""), header.get("sha256", "")
    try:
        tensors = tensors_from_bytes(data)
        is_whole = digest == _digest(tensors, facts)
    except (SafetensorError, KeyError, TypeError, ValueError):  # KeyError: a dtype that torch does not have
        is_whole = False
    if not is_whole:
        raise InputError(f"checkpoint {path} is damaged: its sha256 does not match; use another one of the run")
    try:
        return tensors, json.loads(facts)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} was not written by this project ({in_a_line(error)}); give another file") from error


def stored_digest(path: Path) -> str:
    """The digest in the header of a checkpoint that ``load_checkpoint`` has verified."""
    with open(path, "rb") as file:
        start = file.read(8)
        return _header(start + file.read(int.from_bytes(start, "little")))["sha256"]


def _without_waiting(path: str, flags: int) -> int:
    """Opener for ``open`` that reads a pipe without a writer as empty instead of waiting."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _header(start: bytes) -> dict[str, str]:
    """The metadata of a safetensors file (eight bytes of length, then JSON), or {} for any other bytes."""
    try:
        metadata = json.loads(start[8:]).get("__metadata__")
    except (ValueError, AttributeError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def in_a_line(error: Exception) -> str:
    """An error's message as one short line."""
    reason = f"no {error}" if isinstance(error, KeyError) else str(error)
    return shorten(reason, 300)


def flatten(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prefix the tensors' names, so that a checkpoint can hold several groups of them."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def group(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of ``flatten``: the tensors with a prefix, by their names without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
