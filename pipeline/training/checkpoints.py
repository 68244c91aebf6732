"""Checkpoints: one safetensors file each, written atomically, with a digest of its whole content. No pickle.

The facts of a checkpoint (configurations, vocabulary, epoch, ...) are JSON in the header's metadata, beside the digest
of the facts and of all tensors.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from pipeline.errors import InputError
from pipeline.support.files import write_atomically

PROJECT, FORMAT = "time-machine-lm", 3
MOST_TENSORS = 30_000  # in a file: of MOST_LAYERS, each with four in the model, its average, best, and an optimizer's
Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]  # tensors and facts


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """Write tensors and facts atomically; returns their digest. Raises TypeError for facts that JSON can't encode."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": f"{PROJECT} {FORMAT}", "facts": json.dumps(facts)}
    metadata["sha256"] = digest_of(kept, metadata["facts"])
    try:
        data = tensors_to_bytes(kept, metadata)
    except BaseException as error:
        if type(error).__name__ == "PanicException":  # of Rust, and no Exception: safetensors does not expect it
            raise MemoryError(f"{path.name} can't be written") from None
        raise
    write_atomically(path, data)
    return metadata["sha256"]


def digest_of(tensors: Mapping[str, Tensor], facts: str) -> str:
    """sha256 over the facts and the name, type, shape and bytes of every tensor, in the order of their names."""
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype} {tuple(tensor.shape)}\0".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and verify a checkpoint. Raises InputError for a damaged or foreign file."""
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            project, _, number = header.get("format", "").rpartition(" ")
            if project != PROJECT:
                raise InputError(f"{path} is not a checkpoint of this project; give a run id or another file")
            if number != str(FORMAT):
                raise InputError(f"{path} has format {number}, and this version reads format {FORMAT}; train it again")
            names = file.keys()
            if len(names) > MOST_TENSORS:
                raise InputError(
                    f"{path} has {len(names):,} tensors; at most {MOST_TENSORS:,} are read; give another file"
                )
            tensors = {name: file.get_tensor(name).clone() for name in names}
        if digest_of(tensors, header["facts"]) != header["sha256"]:
            raise InputError(f"checkpoint {path} is damaged: its sha256 does not match; use another one of the run")
        return tensors, json.loads(header["facts"])
    except OSError as error:
        raise InputError(f"checkpoint {path} can't be read: {error}; give a run id or another file") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:  # KeyError: an unknown dtype
        raise InputError(
            f"{path} is not a checkpoint of this project, or is damaged ({in_a_line(error)}); give another file"
        ) from error


def stored_digest(path: Path) -> str:
    """The digest in the header of a checkpoint that ``load_checkpoint`` has verified."""
    with safe_open(path, "pt") as file:
        digest: str = file.metadata()["sha256"]
    return digest


def in_a_line(error: Exception) -> str:
    """An error's message as one short line."""
    return shorten(f"no {error}" if isinstance(error, KeyError) else str(error), 300)


def flatten(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Prefix the tensors' names, so that a checkpoint can hold several groups of them."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def group(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of ``flatten``: the tensors with a prefix, by their names without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
