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
from typing import Any, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from models.complexity import closed_form
from models.config import ModelConfig
from models.language_model import LanguageModel
from models.on_top_of_ngram import Ngram, language_model
from pipeline.config import PresetName
from pipeline.errors import InputError
from pipeline.support.files import BEST_CHECKPOINT, write_atomically
from pipeline.text.vocabulary import LETTERS, UNKNOWN, Vocabulary

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
        raise InputError(f"{path} was not written by this project ({_in_a_line(error)}); give another file") from error


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


def load_model(path: Path) -> tuple[LanguageModel, Vocabulary, dict[str, Any]]:
    """Load the model of a checkpoint, in evaluation mode, its vocabulary and the checkpoint's facts.

    A "last" checkpoint gives the best model so far. Raises InputError for a damaged file, and for a model that this
    version can't build.
    """
    tensors, facts = load_checkpoint(path)
    try:
        _check_origin(facts)
        vocabulary = _vocabulary(**facts["vocabulary"])
        weights = group("best", tensors) or group("model", tensors)
        model = _model(ModelConfig(**facts["model"]), len(vocabulary), weights, group("ngram", tensors))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"{path} holds no model that this version can build ({_in_a_line(error)}); train it again"
        ) from error
    return model.eval(), vocabulary, facts


def _check_origin(facts: Mapping[str, Any]) -> None:
    """Raise KeyError, TypeError or ValueError if the facts lack the corpus, the seed or the preset."""
    corpus, train = facts["corpus"], facts["train"]
    if not all(isinstance(corpus[name], str) for name in ("name", "source", "corpus_sha256")):
        raise ValueError("its corpus has no name, source and digest")
    if not isinstance(train["seed"], int) or train["preset"] not in get_args(PresetName):
        raise ValueError(f"its seed is {train['seed']!r}, its preset {train['preset']!r}")


def _vocabulary(alphabet: Any, symbols: Any) -> Vocabulary:
    """The vocabulary of a checkpoint's facts; ValueError if it is not one."""
    if alphabet not in ("letters", "raw") or not isinstance(symbols, list):
        raise ValueError(f"its alphabet is {alphabet!r}, its symbols a {type(symbols).__name__}")
    wrong = [
        s for s in symbols if s != UNKNOWN and (not isinstance(s, str) or len(s) != 1 or "\ud800" <= s <= "\udfff")
    ]
    if wrong:
        raise ValueError(f"its vocabulary has {wrong[0]!r}, which is not one character")
    if len(set(symbols)) < len(symbols) or UNKNOWN not in symbols or len(symbols) < 2:
        raise ValueError(f"its vocabulary has {len(symbols)} symbols; they must differ, and one must be {UNKNOWN}")
    if alphabet == "letters" and tuple(symbols) != LETTERS:
        raise ValueError(f"its vocabulary is not the {len(LETTERS)} symbols of the alphabet letters")
    return Vocabulary(alphabet, tuple(symbols))


def _model(
    config: ModelConfig, vocab_size: int, weights: Mapping[str, Tensor], ngram: Mapping[str, Tensor]
) -> LanguageModel:
    """Build the model with these weights. Raises ValueError if they do not fit it.

    Their number is checked before anything is allocated, so that a forged configuration can't exhaust the memory.
    """
    least = closed_form(config, vocab_size).matmul_macs_per_char + vocab_size * config.embedding_size
    stored = sum(tensor.numel() for tensor in weights.values())
    if least > stored or config.num_layers > len(weights):
        raise ValueError(f"{config.shape} has at least {least:,} parameters; there are {stored:,}")
    if config.on_top_of == "ngram" and not ngram:
        raise ValueError(f"its n-gram is in {BEST_CHECKPOINT} beside it")
    model = language_model(config, vocab_size, Ngram.from_tensors(ngram, vocab_size) if ngram else None)
    expected = model.state_dict()
    if expected.keys() != weights.keys():
        raise ValueError(f"its tensors are {', '.join(weights)}, not {', '.join(expected)}")
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape or tensor.dtype != expected[name].dtype:
            given, wanted = (f"{t.dtype} {tuple(t.shape)}" for t in (tensor, expected[name]))
            raise ValueError(f"{name} is {given}, not {wanted} as its configuration and vocabulary say")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} has values that are not finite")
    model.load_state_dict(weights)
    return model


def _in_a_line(error: Exception) -> str:
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
