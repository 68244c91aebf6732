"""The bytes of a model as it would be shipped, and back: weights of 8 bits, n-grams without what follows from others.

A row of a weight matrix is stored as its largest magnitude and whole numbers from -127 to 127, or in 32 bits. N-grams
are stored in the order of their tables: how many each context has, their last characters, the logit of what their
shares leave in each context, and the logarithm of each one's part of the rest. The shares of unigrams are in 32 bits:
their entropy is constant, and a gate is sensitive to it. All is compressed (LZMA).
"""

import io
import lzma
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.config import ModelConfig
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.on_top_of_ngram import NgramLanguageModel, language_model

LARGEST_LOGIT, SMALLEST_LOG = 8.0, -12.0
HALF = 63  # codes are from 1 to 2 HALF + 1, and 0 for none; with 127, n-grams take 9 % more and predict no better

Codes = NDArray[np.uint8]
Arrays = list[NDArray[Any]]
Read = Callable[[Any, int], NDArray[Any]]  # dtype, number of values -> the next values
Module = TypeVar("Module", bound=nn.Module)


def packed(model: LanguageModel, bits: int) -> bytes:
    """A model in bytes, with weights of 8 or 32 bits."""
    arrays: Arrays = [np.array([bits], np.uint8)]
    if isinstance(model, NgramLanguageModel):
        arrays += _packed_tables(model.tables)
    return _compressed([*arrays, *_packed_weights(model, bits)])


@torch.random.fork_rng(devices=[])  # initial weights would advance the caller's generator
def unpacked(data: bytes, config: ModelConfig, vocab_size: int) -> LanguageModel:
    """The model of ``packed``, in evaluation mode."""
    read, ngrams = _reader(data), None
    bits = int(read(np.uint8, 1)[0])
    if config.on_top_of == "ngram":
        ngrams = NGramModel(_read_tables(read, LONGEST, vocab_size), OrderGate(LONGEST))
    return _read_weights(read, language_model(config, vocab_size, ngrams), bits).eval()


def packed_ngrams(ngrams: NGramModel) -> bytes:
    """An n-gram model in bytes: of a single order with one share an n-gram, or of all orders with a gate of 8 bits."""
    tables, gate = ngrams.tables, ngrams.gate
    weights = [] if gate is None else _packed_weights(gate, 8)
    order = np.array([tables.order], np.uint8)
    return _compressed([order, *_packed_tables(tables, is_single=gate is None), *weights])


@torch.random.fork_rng(devices=[])
def unpacked_ngrams(data: bytes, vocab_size: int, is_gated: bool) -> NGramModel:
    """The model of ``packed_ngrams``."""
    read = _reader(data)
    order = int(read(np.uint8, 1)[0])
    tables = _read_tables(read, order, vocab_size, is_single=not is_gated)
    gate = _read_weights(read, OrderGate(order), 8) if is_gated else None
    return NGramModel(tables, gate)


def _compressed(arrays: Arrays) -> bytes:
    return lzma.compress(b"".join(array.tobytes() for array in arrays))


def _reader(data: bytes) -> Read:
    stream = io.BytesIO(lzma.decompress(data))
    return lambda dtype, count: np.frombuffer(stream.read(count * np.dtype(dtype).itemsize), dtype)


def _packed_weights(module: nn.Module, bits: int) -> Arrays:
    arrays: Arrays = []
    learned = dict(module.named_parameters())
    for name, weights in module.state_dict().items():
        rows = _rows(weights.cpu()).float().numpy()
        if bits == 8 and name in learned:
            largest = np.abs(rows).max(1, initial=1e-30, keepdims=True)
            arrays.append(largest)
            rows = np.rint(rows / largest * 127).astype(np.int8)
        arrays.append(rows)
    return arrays


def _read_weights(read: Read, module: Module, bits: int) -> Module:
    """Load what ``_packed_weights`` returned into a module of the same kind, which is returned."""
    weights, learned = {}, dict(module.named_parameters())
    for name, like in module.state_dict().items():
        shape, is_rounded = _rows(like).shape, bits == 8 and name in learned
        scale = read(np.float32, shape[0])[:, None] / 127 if is_rounded else np.ones(1, np.float32)
        rows = read(np.int8 if is_rounded else np.float32, like.numel()).reshape(shape)
        weights[name] = torch.from_numpy(rows * scale).view_as(like)
    module.load_state_dict(weights)
    return module


def _rows(weights: Tensor) -> Tensor:
    """The rows of a matrix; a vector is one row."""
    return weights if weights.dim() > 1 else weights[None]


def _packed_tables(tables: NGramTables, is_single: bool = False) -> Arrays:
    """The n-grams; of a single order, the lower orders' shares are those of continuation counts alone."""
    sizes, character = np.array(tables.sizes), np.min_scalar_type(tables.vocab_size)
    contexts, last = np.divmod(tables.keys.cpu().numpy(), tables.vocab_size)
    followers = np.bincount(contexts, minlength=tables.missing)
    arrays: Arrays = [sizes, followers.astype(character), last.astype(character)]
    shares, lower = (tables.tensors()[name].numpy() for name in ("shares", "lower_shares"))
    for each in [np.append(lower, shares[len(lower) :])] if is_single else [shares, lower]:
        arrays += [each[: sizes[0]], *_codes(contexts[sizes[0] : len(each)], each[sizes[0] :])]
    return arrays


def _read_tables(read: Read, order: int, vocab_size: int, is_single: bool = False) -> NGramTables:
    sizes = read(np.int64, order)
    lower, character = int(sizes[:-1].sum()), np.min_scalar_type(vocab_size)
    followers = read(character, 1 + lower)
    contexts = np.repeat(np.arange(1 + lower), followers)
    keys, found = contexts * vocab_size + read(character, len(contexts)), []
    for entries in (len(contexts),) if is_single else (len(contexts), lower):
        unigrams, coded = read(np.float32, sizes[0]), contexts[sizes[0] : entries]
        codes = (read(np.uint8, count) for count in (len(np.unique(coded)), len(coded)))
        found.append(np.append(unigrams, _shares(coded, *codes)))
    tensors = {"sizes": sizes, "keys": keys, "shares": found[0], "lower_shares": found[-1][:lower]}
    return NGramTables.from_tensors({name: torch.tensor(each) for name, each in tensors.items()}, vocab_size)


def _codes(contexts: NDArray[np.int64], shares: NDArray[np.float32]) -> tuple[Codes, Codes]:
    """Codes of what is left in each of the contexts (G,), and of the shares (G,)."""
    of = np.unique(contexts, return_inverse=True)[1]
    sums = np.clip(np.bincount(of, shares), 1e-9, 1 - 1e-9)
    left = np.rint(np.log(1 / sums - 1) / LARGEST_LOGIT * HALF) + HALF + 1
    part = np.rint(np.log(np.maximum(shares, 1e-30) / sums[of]) / SMALLEST_LOG * 2 * HALF)
    part = np.where(shares > 0, np.clip(part, 0, 2 * HALF) + 1, 0)
    return np.clip(left, 1, 2 * HALF + 1).astype(np.uint8), part.astype(np.uint8)


def _shares(contexts: NDArray[np.int64], left: Codes, parts: Codes) -> NDArray[np.float64]:
    """Inverse of ``_codes``."""
    of = np.unique(contexts, return_inverse=True)[1]
    sums = 1 / (1 + np.exp((left - (HALF + 1.0)) / HALF * LARGEST_LOGIT))
    part = np.where(parts > 0, np.exp((parts - 1.0) / (2 * HALF) * SMALLEST_LOG), 0)
    return sums[of] * part / np.maximum(np.bincount(of, part), 1e-30)[of]
