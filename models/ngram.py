"""N-gram character models: the bar that a network has to clear, fitted by counting in less than a second.

Shapes: N characters of a text, V vocabulary, G distinct n-grams of one order in the training text.

Every text is a one-dimensional array of character ids 0..V-1, of any integer dtype (uint8 and np.memmap included).
Scores are in bits per character; perplexity is ``2 ** bits_per_char``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log2
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BASELINE_ORDER = 6  # on The Time Machine's validation text 5 costs 0.07 bits per character more, 7 0.01 less
BASELINE_LABEL = f"{BASELINE_ORDER}-gram"  # what tables and pictures call it

PIECE_CHARS = 1_000_000  # of a text are scored at once: arrays of 8 MB

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # KenLM's, for a text whose counts of counts give none


def as_ids(ids: ArrayLike, vocab_size: int) -> Ints:
    """The text (N,) as int64, wide enough for every sum and product below; ValueError if it holds no such ids."""
    array = np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"a text is one row of whole numbers, not {array.ndim} dimensions of {array.dtype}")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= vocab_size):
        raise ValueError(
            f"the text holds ids {array.min()} to {array.max()}; a vocabulary of {vocab_size} has 0 to {vocab_size - 1}"
        )
    return array.astype(np.int64)


def mean_bits(log2_probabilities: Floats) -> float:
    """Bits per character of a text whose characters have these log2 probabilities (N,)."""
    if not len(log2_probabilities):
        raise ValueError("an empty text has no bits per character; score a text of at least one character")
    return float(-log2_probabilities.mean())


def uniform_bits_per_char(vocab_size: int) -> float:
    """What it costs to know nothing but the vocabulary: log2(V)."""
    return log2(vocab_size)


class Unigram:
    """Letter frequencies with one added to every count (Laplace), so that an unseen symbol has a finite cost.

    p(w) = (c(w) + 1) / (N + V)
    """

    order = 1

    def __init__(self, ids: ArrayLike, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        counts = np.bincount(as_ids(ids, vocab_size), minlength=vocab_size) + 1
        self._log2: Floats = np.log2(counts / counts.sum())

    def log2_probabilities(self, ids: ArrayLike) -> Floats:
        """ids (N,) -> log2 probability of each character (N,)."""
        return self._log2[as_ids(ids, self.vocab_size)]

    def bits_per_char(self, ids: ArrayLike) -> float:
        """Mean cost of a character of the text."""
        return mean_bits(self.log2_probabilities(ids))


def discounts(counts: Ints) -> Floats:
    """What modified Kneser-Ney takes off a count of 0, 1, 2, and 3 or more: (4,), the first of them 0.

    With n_j the number of n-grams counted j times (Chen and Goodman 1998, TR-10-98, section 3):

    Y   = n_1 / (n_1 + 2 n_2)
    D_j = j - (j + 1) Y n_(j+1) / n_j

    A text too small or too regular for these, where some D_j is not in (0, j], takes FALLBACK_DISCOUNTS.
    """
    n = [0, *(int(np.count_nonzero(counts == j)) for j in (1, 2, 3, 4))]
    found = FALLBACK_DISCOUNTS
    if n[1] and n[2] and n[3]:
        y = n[1] / (n[1] + 2 * n[2])
        estimates = (1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3])
        if all(0 < estimate <= j for j, estimate in enumerate(estimates, start=1)):
            found = estimates
    return np.array([0.0, *found])


def ranked(keys: Ints) -> tuple[Ints, Ints, Ints]:
    """Distinct keys (G,) in order, the rank of each key (N,), and how often each distinct one occurs (G,)."""
    size = int(keys.max(initial=-1)) + 1
    if size > 4 * len(keys):
        return np.unique(keys, return_inverse=True, return_counts=True)
    counts = np.bincount(keys, minlength=size)  # without sorting: an eighth of the time for a small vocabulary
    is_there = counts > 0
    return np.flatnonzero(is_there), (np.cumsum(is_there) - 1)[keys], counts[is_there]


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length. An n-gram's id is its rank in ``keys``; its context is the n-gram without its end.

    keys (G,)      context id * V + last character, sorted
    shares (G,)    max(c - D(c), 0) / total of the context: what the n-gram keeps for itself
    backoff (C,)   of each of the C contexts, the probability that the discounts set free; 1 for one without counts
    """

    keys: Ints
    shares: Floats
    backoff: Floats

    def find(self, contexts: Ints, last: Ints, vocab_size: int) -> Ints:
        """Ids (N,) of the n-grams made of these contexts and last characters; -1 where training had none."""
        if not len(self.keys):
            return np.full(len(last), -1)
        wanted = contexts * vocab_size + last  # negative, and so not found, where the context is -1
        ids = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[ids] == wanted, ids, -1)


class KneserNey:
    """Interpolated modified Kneser-Ney n-gram model (Chen and Goodman 1998, TR-10-98, section 3).

    p_n(w | h) = max(c(h w) - D(c(h w)), 0) / c(h) + backoff(h) p_(n-1)(w | h without its first character)
    p_0(w)     = 1 / V

    backoff(h) is the sum of h's discounts over c(h), so that every p_n sums to one. The longest n-grams are counted
    as they occur; a shorter one counts the distinct characters that stand before it (continuation counts). A context
    that training does not have leaves p_(n-1) as it is.

    No n-gram is ever a number in base V, which would overflow: the n-gram that ends at a position is named by
    (id of the (n-1)-gram that ends one position before, last character), and its id is the rank of that pair.

        text      t  h  e  _  t  h        h in "the": 3-gram (id of "th", e), its context is "th",
        2-grams   .  th he e_ _t th       its suffix, which has one predecessor more, is "he"
    """

    def __init__(self, ids: ArrayLike, vocab_size: int, order: int = BASELINE_ORDER) -> None:
        if order < 1:
            raise ValueError(f"order is {order}; it must be at least 1 (letter frequencies)")
        self.vocab_size = vocab_size
        self.order = order
        text = as_ids(ids, vocab_size)
        self._orders: list[_Order] = []
        keys = counts = np.zeros(0, dtype=np.int64)  # of the order before
        num_contexts = 1
        ending: Ints = np.zeros(len(text) + 1, dtype=np.int64)  # ids of the (n-1)-grams; one empty n-gram everywhere
        for n in range(1, order + 1):
            longer, ranks, occurrences = ranked(ending[:-1] * vocab_size + text[n - 1 :])
            if n > 1:
                suffixes = np.empty(len(longer), dtype=np.int64)
                suffixes[ranks] = ending[1:]  # every occurrence of an n-gram has the same suffix
                counts = np.bincount(suffixes, minlength=len(keys))
                self._orders.append(self._discounted(keys, counts, num_contexts))
                num_contexts = len(keys)
            keys, counts, ending = longer, occurrences, ranks
        self._orders.append(self._discounted(keys, counts, num_contexts))

    def _discounted(self, keys: Ints, counts: Ints, num_contexts: int) -> _Order:
        contexts = keys // self.vocab_size
        discount = discounts(counts)[np.minimum(counts, 3)]
        totals = np.bincount(contexts, weights=counts, minlength=num_contexts)
        freed = np.bincount(contexts, weights=discount, minlength=num_contexts)
        divisors = np.maximum(totals, 1)
        return _Order(
            keys,
            shares=np.maximum(counts - discount, 0) / divisors[contexts],
            backoff=np.where(totals > 0, freed / divisors, 1.0),
        )

    def log2_probabilities(self, ids: ArrayLike, context_chars: int | None = None) -> Floats:
        """ids (N,) -> log2 p of each character (N,) given the up to order - 1 characters before it in ``ids``.

        ``context_chars``: given no more than so many of them.
        """
        text = as_ids(ids, self.vocab_size)
        longest = self.order if context_chars is None else context_chars + 1
        probabilities: Floats = np.full(len(text), 1 / self.vocab_size)
        ending: Ints = np.zeros(len(text) + 1, dtype=np.int64)
        for n, grams in enumerate(self._orders[: min(longest, len(text))]):
            contexts = ending[:-1]
            found = grams.find(contexts, text[n:], self.vocab_size)
            share = np.append(grams.shares, 0.0)[found]  # the last entry is for -1: not in training
            backoff = np.append(grams.backoff, 1.0)[contexts]
            probabilities[n:] = share + backoff * probabilities[n:]
            ending = found
        return np.log2(probabilities)

    def bits_per_char(self, ids: ArrayLike) -> float:
        """Mean cost of a character of the text."""
        return mean_bits(self.log2_probabilities(ids))


@dataclass(frozen=True)
class Baselines:
    """What one held-out text costs the simplest models, in bits per character."""

    uniform_bits_per_char: float
    unigram_bits_per_char: float
    ngram_bits_per_char: float

    def perplexities(self) -> dict[str, float]:
        """Perplexities of the n-grams and of the letters' frequencies, by the labels that pictures show."""
        return {BASELINE_LABEL: 2**self.ngram_bits_per_char, "letter frequencies": 2**self.unigram_bits_per_char}


def predicted_bits_per_char(model: Unigram | KneserNey, ids: NDArray[np.integer]) -> float:
    """Mean cost of every character but the first, which, as for a network, is context only.

    The text is scored in pieces, each with the characters before it that it depends on: memory does not grow with it.
    """
    if len(ids) < 2:
        raise ValueError(f"a text of {len(ids)} characters has nothing to predict; at least 2 are needed")
    total = 0.0
    for start in range(1, len(ids), PIECE_CHARS):
        context = min(start, model.order - 1)
        total += float(model.log2_probabilities(ids[start - context : start + PIECE_CHARS])[context:].sum())
    return -total / (len(ids) - 1)


def baselines(train: ArrayLike, held_out: Mapping[str, Any], vocab_size: int) -> dict[str, Baselines]:
    """Fit on the training text once, score every held-out text (name -> ids); the n-grams are BASELINE_ORDER long."""
    uniform = uniform_bits_per_char(vocab_size)
    unigram, ngram = Unigram(train, vocab_size), KneserNey(train, vocab_size)
    return {
        name: Baselines(uniform, *(predicted_bits_per_char(model, ids) for model in (unigram, ngram)))
        for name, ids in held_out.items()
    }
