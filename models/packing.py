"""The bytes of a model as it would be shipped: weights of few bits, n-grams without what follows from others.

A row of a weight matrix is stored as its step and whole numbers of so many bits, or in 32 bits. N-grams are stored in
the order of their tables: how many each context has, their last characters, the logit of what their shares leave in
each context, and the logarithm of each one's part of the rest. The shares of unigrams are in 32 bits: their entropy is
constant, and a gate is sensitive to it. All is compressed (LZMA).
"""

import lzma
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.gated_ngrams import NGramModel, NGramTables
from models.language_model import LanguageModel
from models.on_top_of_ngram import NgramLanguageModel

LARGEST_LOGIT, SMALLEST_LOG = 8.0, -12.0
HALF = 63  # codes are from 1 to 2 HALF + 1, and 0 for none; with 127, n-grams take 9 % more and predict no better

Codes = NDArray[np.uint8]
Arrays = list[NDArray[Any]]


def packed(model: LanguageModel, bits: int) -> bytes:
    """A model in bytes, with weights of 2 to 16 or of 32 bits."""
    arrays: Arrays = [np.array([bits], np.uint8)]
    if isinstance(model, NgramLanguageModel):
        arrays += coded(model.tables).values()
    return _compressed([*arrays, *_packed_weights(model, bits)])


def packed_ngrams(ngrams: NGramModel) -> bytes:
    """An n-gram model in bytes: of a single order with one share an n-gram, or of all orders with a gate of 8 bits."""
    arrays = [*coded(ngrams.tables, is_single=ngrams.gate is None).values()]
    return _compressed(arrays if ngrams.gate is None else [*arrays, *_packed_weights(ngrams.gate, 8)])


def _compressed(arrays: Arrays) -> bytes:
    return lzma.compress(b"".join(array.tobytes() for array in arrays))


def _packed_weights(module: nn.Module, bits: int) -> Arrays:
    """The weights; whole numbers of two bytes as all low bytes, then all high ones, of which there are few kinds."""
    arrays: Arrays = []
    learned = dict(module.named_parameters())
    for name, weights in module.state_dict().items():
        if bits == 32 or name not in learned:
            arrays.append(weights.cpu().numpy())
        else:
            steps, rows = whole_numbers(weights, bits)
            arrays += [steps, rows.view(np.uint8).reshape(-1, rows.itemsize).T]
    return arrays


def whole_numbers(weights: Tensor, bits: int) -> tuple[NDArray[np.float32], NDArray[np.integer]]:
    """The step (R, 1) of each row, and the weights (R, N) in steps: whole numbers of 2 to 16 bits, with their sign."""
    rows, largest = torch.atleast_2d(weights.cpu()).float().numpy(), 2 ** (bits - 1) - 1  # a vector is one row
    steps = np.abs(rows).max(1, initial=1e-30, keepdims=True) / np.float32(largest)
    return steps, np.rint(rows / steps).astype(np.int8 if bits <= 8 else np.int16)


@torch.no_grad()
def rounded(model: LanguageModel, bits: int) -> LanguageModel:
    """A copy of a model whose weights have 2 to 16 bits."""
    again = deepcopy(model)
    for weights in again.parameters():
        steps, rows = whole_numbers(weights, bits)
        weights.copy_(torch.from_numpy(rows * steps).view_as(weights))
    return again


def coded(tables: NGramTables, is_single: bool = False) -> dict[str, NDArray[Any]]:
    """The n-grams as arrays; a single order has lower ones of continuation counts alone, so each has one share."""
    sizes, character = np.array(tables.sizes), np.min_scalar_type(tables.vocab_size)
    contexts, last = np.divmod(tables.keys.cpu().numpy(), tables.vocab_size)
    followers = np.bincount(contexts, minlength=tables.missing)
    arrays = {"sizes": sizes, "followers": followers.astype(character), "last": last.astype(character)}
    shares, lower = (tables.tensors()[name].numpy() for name in ("shares", "lower_shares"))
    single = {"": np.append(lower, shares[len(lower) :])}
    for prefix, each in (single if is_single else {"": shares, "lower_": lower}).items():
        left, parts = _codes(contexts[sizes[0] : len(each)], each[sizes[0] :])
        arrays |= {f"{prefix}unigrams": each[: sizes[0]], f"{prefix}left": left, f"{prefix}parts": parts}
    return arrays


def decoded(arrays: Mapping[str, NDArray[Any]], vocab_size: int) -> NGramTables:
    """Inverse of ``coded``; the tables of a single order serve for its predictions only."""
    sizes, followers = arrays["sizes"], arrays["followers"]
    contexts = np.repeat(np.arange(len(followers)), followers)
    shares = {}
    for prefix in [name.removesuffix("left") for name in arrays if name.endswith("left")]:
        unigrams, left, parts = (arrays[prefix + name] for name in ("unigrams", "left", "parts"))
        longer = contexts[sizes[0] : sizes[0] + len(parts)]
        shares[f"{prefix}shares"] = np.append(unigrams, _shares(longer, left, parts))
    shares.setdefault("lower_shares", shares["shares"][: len(contexts) - sizes[-1]])
    tensors = {"sizes": sizes, "keys": contexts * vocab_size + arrays["last"], **shares}
    return NGramTables.from_tensors({name: torch.tensor(array) for name, array in tensors.items()}, vocab_size)


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
