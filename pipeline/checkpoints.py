"""Checkpoints: one safetensors file each, written atomically, with a digest over every byte of it. No pickle.

The facts of a checkpoint (configurations, vocabulary, epoch, ...) are JSON in the header's metadata. The digest stands
there too: it is that of the whole file with sixty-four zeros in its place, so that one flipped bit anywhere is seen.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import Tensor

from models.config import ModelConfig
from models.language_model import LanguageModel
from pipeline.errors import InputError
from pipeline.files import write_atomically
from pipeline.vocabulary import Vocabulary

FORMAT = "time-machine-lm 1"
BLANK_DIGEST = b"0" * 64
DIGEST_KEY = b'"sha256":"'


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> str:
    """Write tensors and facts, all or nothing, and return the file's digest."""
    metadata = {"format": FORMAT, "facts": json.dumps(facts), "sha256": BLANK_DIGEST.decode()}
    blank = tensors_to_bytes({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, metadata)
    at = _digest_at(blank)
    digest = hashlib.sha256(blank).hexdigest()
    write_atomically(path, blank[:at] + digest.encode() + blank[at + 64 :])
    return digest


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts. Raises InputError for a file that is not a whole, unaltered checkpoint of ours."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"checkpoint {path} can't be read: {error.strerror}; give a run id or another file") from None
    header = _header(data)
    if header.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of this project (format {FORMAT}); give a run id or another file")
    at = _digest_at(data)
    blank = data[:at] + BLANK_DIGEST + data[at + 64 :]
    if hashlib.sha256(blank).hexdigest().encode() != data[at : at + 64]:
        raise InputError(f"checkpoint {path} is damaged: its sha256 does not match; use another one of the run")
    return tensors_from_bytes(data), json.loads(header["facts"])


def _header(data: bytes) -> dict[str, str]:
    """The metadata of a safetensors file (eight bytes of length, then JSON), or {} for any other bytes."""
    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + min(length, len(data))]).get("__metadata__")
    except (ValueError, AttributeError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _digest_at(data: bytes) -> int:
    """Where the sixty-four digits of the digest begin; somewhere they can't match if the header has none."""
    return data.find(DIGEST_KEY) + len(DIGEST_KEY)


def load_model(path: Path) -> tuple[LanguageModel, Vocabulary, dict[str, Any]]:
    """The model of a checkpoint, ready to read, with its vocabulary and the checkpoint's facts.

    Of a "last" checkpoint, that is the best model until then. Raises InputError where this version can't build it.
    """
    tensors, facts = load_checkpoint(path)
    try:
        vocabulary = Vocabulary(facts["vocabulary"]["alphabet"], tuple(facts["vocabulary"]["symbols"]))
        model = LanguageModel(ModelConfig(**facts["model"]), len(vocabulary))
        model.load_state_dict(group("best", tensors) or group("model", tensors))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} holds no model that this version can build ({error}); train it again") from error
    return model.eval(), vocabulary, facts


def flatten(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under "prefix.name", as a checkpoint keeps several groups of them."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def group(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that ``flatten`` put under a prefix, by their own names."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
