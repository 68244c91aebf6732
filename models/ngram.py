"""N-gram character models, the baselines of the networks: fitted by counting in less than a second.

Shapes: N characters of a text, V vocabulary, G distinct n-grams of one order in the training text.

Every text is a one-dimensional array of character ids 0..V-1, of any integer dtype (uint8 and np.memmap included).
Scores are in bits per character; perplexity is ``2 ** bits_per_char``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from math import log2
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BASELINE_ORDERS = range(2, 9)  # the best of them on validation is the baseline
PIECE_CHARS = 1_000_000  # scored at once: arrays of 8 MB
PIECE_PROBABILITIES = 500_000  # of all characters at all positions, computed at once: arrays of 4 MB
TABLE_PROBABILITIES = 200_000  # kept for all contexts of a length, so that common ones are not computed again
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # KenLM's, if the counts of counts give none


def as_ids(ids: ArrayLike, vocab_size: int) -> Ints:
    """Validate a text (N,) of ids and convert it to int64, wide enough for all sums and products below.

    Raises ValueError for another shape or dtype, and for ids outside of the vocabulary."""
    array = np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(f"a text is a one-dimensional array of integers, not {array.ndim} dimensions of {array.dtype}")
    if array.size and (int(array.min()) < 0 or int(array.max()) >= vocab_size):
        raise ValueError(
            f"the text holds ids {array.min()} to {array.max()}; a vocabulary of {vocab_size} has 0 to {vocab_size - 1}"
        )
    return array.astype(np.int64)


def mean_bits(log2_probabilities: Floats) -> float:
    """Mean bits per character of a text with these log2 probabilities (N,); ValueError for an empty one."""
    if not len(log2_probabilities):
        raise ValueError("an empty text has no bits per character; score a text of at least one character")
    return float(-log2_probabilities.mean())


def uniform_bits_per_char(vocab_size: int) -> float:
    """Bits per character of the uniform distribution, log2(V)."""
    return log2(vocab_size)


class Unigram:
    """Letter frequencies with add-one (Laplace) smoothing, so that an unseen symbol has a finite cost.

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
        """Mean bits per character of the text."""
        return mean_bits(self.log2_probabilities(ids))


def discounts(counts: Ints) -> Floats:
    """Discounts (4,) of modified Kneser-Ney for counts of 0, 1, 2, and 3 or more; the first is 0.

    With n_j the number of n-grams counted j times (Chen and Goodman 1998, TR-10-98, section 3):

    Y   = n_1 / (n_1 + 2 n_2)
    D_j = j - (j + 1) Y n_(j+1) / n_j

    If some D_j is not in (0, j], as for a very small or regular text, FALLBACK_DISCOUNTS are used.
    """
    n = [0, *(int(np.count_nonzero(counts == j)) for j in (1, 2, 3, 4))]
    by_count = FALLBACK_DISCOUNTS
    if n[1] and n[2] and n[3]:
        y = n[1] / (n[1] + 2 * n[2])
        estimates = (1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3])
        if all(0 < estimate <= j for j, estimate in enumerate(estimates, start=1)):
            by_count = estimates
    return np.array([0.0, *by_count])


def ranked(keys: Ints) -> tuple[Ints, Ints, Ints]:
    """Sorted distinct keys (G,), the rank of each key (N,), and the count of each distinct key (G,)."""
    size = int(keys.max(initial=-1)) + 1
    if size > 4 * len(keys):
        return np.unique(keys, return_inverse=True, return_counts=True)
    counts = np.bincount(keys, minlength=size)  # without sorting: an eighth of the time for a small vocabulary
    is_there = counts > 0
    return np.flatnonzero(is_there), (np.cumsum(is_there) - 1)[keys], counts[is_there]


@dataclass(frozen=True)
class NGrams:
    """The n-grams of one length in a text. An n-gram's id is its rank in ``keys``.

    keys (G,)             id of its context, the n-gram without its end, * V + last character, sorted
    suffixes (G,)         id of the n-gram without its first character
    counts (G,)           occurrences
    ids (N - n + 1,)      the id of the n-gram that begins at each position
    """

    length: int
    keys: Ints
    suffixes: Ints
    counts: Ints
    ids: NDArray[np.int32]

    def without(self, start: int, end: int) -> "NGrams":
        """These n-grams, counted outside of a part of the text; one that lies only in the part has a count of 0."""
        inside = self.ids[max(0, start - self.length + 1) : end]
        return replace(self, counts=self.counts - np.bincount(inside, minlength=len(self.keys)))


def ngrams_of(ids: ArrayLike, vocab_size: int, longest: int) -> Iterator[NGrams]:
    """Yield the n-grams of a text of lengths 1 to ``longest``."""
    text = as_ids(ids, vocab_size)
    shorter: Ints = np.zeros(len(text) + 1, dtype=np.int64)  # one empty n-gram everywhere
    for n in range(1, longest + 1):
        keys, ranks, counts = ranked(shorter[:-1] * vocab_size + text[n - 1 :])
        suffixes = np.empty(len(keys), dtype=np.int64)
        suffixes[ranks] = shorter[1:]  # every occurrence of an n-gram has the same suffix
        yield NGrams(n, keys, suffixes, counts, ranks.astype(np.int32))
        shorter = ranks


@dataclass(frozen=True)
class _Order:
    """The n-grams of one order. An n-gram's id is its rank in ``keys``; its context, the n-gram without its end.

    vocab_size     V
    keys (G,)      context id * V + last character, sorted
    shares (G,)    max(c - D(c), 0) / total of the context: the discounted relative frequency
    backoff (C,)   probability freed by the discounts in each of the C contexts; 1 for one without counts
    """

    vocab_size: int
    keys: Ints
    shares: Floats
    backoff: Floats

    @cached_property
    def ends(self) -> Ints:
        """The number of n-grams (C + 1,) up to and with those of each context; a last 0, so that -1 is before all."""
        counts = np.bincount(self.keys // self.vocab_size, minlength=len(self.backoff))
        return np.append(np.cumsum(counts), 0)

    def find(self, contexts: Ints, last: Ints) -> Ints:
        """Ids (N,) of the n-grams with these contexts and last characters; -1 if not in training."""
        if not len(self.keys):
            return np.full(len(last), -1)
        wanted = contexts * self.vocab_size + last  # negative, so never found, if the context is -1
        ids = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[ids] == wanted, ids, -1)

    def add_to(self, lower: Floats, rows: Ints, contexts: Ints) -> None:
        """Turn distributions of the next lower order into those of this one, in place.

        ``rows`` (R,) are the rows of ``lower`` (N, V) to change; ``contexts`` (R,) are their contexts, all in training.
        """
        lower[rows] *= self.backoff[contexts][:, None]
        followers = self.ends[contexts] - self.ends[contexts - 1]  # the n-grams of a context are neighbours
        ngrams = np.arange(followers.sum()) + np.repeat(self.ends[contexts] - np.cumsum(followers), followers)
        lower[np.repeat(rows, followers), self.keys[ngrams] % self.vocab_size] += self.shares[ngrams]


class KneserNey:
    """Interpolated modified Kneser-Ney n-gram model (Chen and Goodman 1998, TR-10-98, section 3).

    p_n(w | h) = max(c(h w) - D(c(h w)), 0) / c(h) + backoff(h) p_(n-1)(w | h without its first character)
    p_0(w)     = 1 / V

    backoff(h) is the sum of h's discounts over c(h), so that every p_n sums to one. The longest n-grams are counted
    as they occur; a shorter one is counted by the distinct characters before it (continuation counts). For a
    context that is not in training, p_n is p_(n-1).

    N-grams are not encoded as numbers in base V, which would overflow. The n-gram that ends at a position is the pair
    (id of the (n-1)-gram that ends one position before, last character), and its id is the rank of that pair.

        text      t  h  e  _  t  h        h in "the": 3-gram (id of "th", e), its context is "th",
        2-grams   .  th he e_ _t th       its suffix, which has one predecessor more, is "he"
    """

    def __init__(self, ids: ArrayLike, vocab_size: int, order: int) -> None:
        if order < 1:
            raise ValueError(f"order is {order}; it must be at least 1 (letter frequencies)")
        self._fit(vocab_size, ngrams_of(ids, vocab_size, order))

    @classmethod
    def without(cls, ngrams: Sequence["NGrams"], vocab_size: int, start: int, end: int) -> "KneserNey":
        """The model that is fitted on a text but for a part, from the n-grams of all of it; a tenth of a fit's time."""
        model = cls.__new__(cls)
        model._fit(vocab_size, (grams.without(start, end) for grams in ngrams))
        return model

    def _fit(self, vocab_size: int, ngrams: Iterable["NGrams"]) -> None:
        """Compute the tables from the n-grams of all orders, the shortest first."""
        self.vocab_size = vocab_size
        self._shorter: list[_Order] = []  # below the longest: continuation counts
        self._longest: list[_Order] = []  # as the longest of a model: counts of occurrences
        keys: Ints = np.zeros(0, dtype=np.int64)  # of the order before
        num_contexts = 1
        for longer in ngrams:
            if longer.length > 1:
                counts = np.bincount(longer.suffixes[longer.counts > 0], minlength=len(keys))
                self._shorter.append(self._discounted(keys, counts, num_contexts))
                num_contexts = len(keys)
            self._longest.append(self._discounted(longer.keys, longer.counts, num_contexts))
            keys = longer.keys

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return len(self._longest)

    @property
    def entries(self) -> int:
        """The number of stored n-grams, of all orders."""
        return sum(len(grams.keys) for grams in self._longest)

    def of_order(self, order: int) -> "KneserNey":
        """The model of this or a lower order that was fitted on the same text; it shares the arrays.

        Only the longest n-grams are counted differently, so that a fit has the models of all lower orders in it.
        """
        if not 1 <= order <= self.order:
            raise ValueError(f"order is {order}; this {self.order}-gram has the models of orders 1 to {self.order}")
        model = copy(self)
        model._shorter, model._longest = self._shorter[: order - 1], self._longest[:order]
        return model

    @property
    def orders(self) -> list[_Order]:
        """The n-grams of each order, the shortest first."""
        return [*self._shorter, self._longest[-1]]

    def _discounted(self, keys: Ints, counts: Ints, num_contexts: int) -> _Order:
        contexts = keys // self.vocab_size
        discount = discounts(counts)[np.minimum(counts, 3)]
        totals = np.bincount(contexts, weights=counts, minlength=num_contexts)
        freed = np.bincount(contexts, weights=discount, minlength=num_contexts)
        divisors = np.maximum(totals, 1)
        return _Order(
            self.vocab_size,
            keys,
            shares=np.maximum(counts - discount, 0) / divisors[contexts],
            backoff=np.where(totals > 0, freed / divisors, 1.0),
        )

    def log2_probabilities(self, ids: ArrayLike) -> Floats:
        """ids (N,) -> log2 p (N,) of each character given the order - 1 characters (or fewer) before it in ``ids``."""
        text = as_ids(ids, self.vocab_size)
        probabilities: Floats = np.full(len(text), 1 / self.vocab_size)
        ending: Ints = np.zeros(len(text) + 1, dtype=np.int64)
        for n, grams in enumerate(self.orders[: len(text)]):
            contexts = ending[:-1]
            ngrams = grams.find(contexts, text[n:])
            share = np.append(grams.shares, 0.0)[ngrams]  # the last entry is for -1, not in training
            backoff = np.append(grams.backoff, 1.0)[contexts]
            probabilities[n:] = share + backoff * probabilities[n:]
            ending = ngrams
        return np.log2(probabilities)

    def log_probabilities_of_all(self, ids: ArrayLike, context: int = 0) -> NDArray[np.float32]:
        """ids (N,) -> natural log probability (N - context, V) of every character at positions ``context`` to N - 1.

        That of position i is given the order - 1 characters (or fewer) before it in ``ids``.
        """
        text = as_ids(ids, self.vocab_size)
        result = np.empty((max(0, len(text) - context), self.vocab_size), dtype=np.float32)
        rows = max(1, PIECE_PROBABILITIES // self.vocab_size)
        for start in range(context, len(text), rows):
            before = min(start, self.order - 1)
            distributions = self._distributions(text[start - before : start + rows], before)
            np.log(distributions, out=result[start - context : start - context + rows], casting="same_kind")
        return result

    def _distributions(self, text: Ints, context: int) -> Floats:
        """Probabilities (N - context, V) of every character at positions ``context`` to N - 1."""
        probabilities: Floats = np.full((len(text) - context, self.vocab_size), 1 / self.vocab_size)
        tables = self._tables[: self.order - 1]
        ending: Ints = np.zeros(len(text) + 1, dtype=np.int64)
        for n, grams in enumerate(self.orders[: len(text)]):
            first = max(n, context)  # the first position that has n characters before it
            contexts, rows = ending[first - n : -1], probabilities[first - context :]
            known = np.flatnonzero(contexts >= 0)
            if n < len(tables):
                rows[known] = tables[n][contexts[known]]
            else:
                grams.add_to(rows, known, contexts[known])
            ending = grams.find(ending[:-1], text[n:])
        return probabilities

    @cached_property
    def _tables(self) -> list[Floats]:
        """Probabilities (C, V) after each context of the shorter orders, as far as they are few."""
        tables: list[Floats] = []
        below: Floats = np.full((1, self.vocab_size), 1 / self.vocab_size)
        suffixes = np.zeros(0, dtype=np.int64)  # of the contexts: their ids without the first character
        for n, grams in enumerate(self._shorter):
            if len(grams.backoff) * self.vocab_size > TABLE_PROBABILITIES:
                break
            table = below if n == 0 else tables[-1][suffixes]
            grams.add_to(table, every := np.arange(len(table)), every)
            contexts, last = np.divmod(grams.keys, self.vocab_size)
            shorter = np.zeros_like(last) if n == 0 else self._shorter[n - 1].find(suffixes[contexts], last)
            tables, suffixes = [*tables, table], shorter
        return tables

    def bits_per_char(self, ids: ArrayLike) -> float:
        """Mean bits per character of the text."""
        return mean_bits(self.log2_probabilities(ids))


@dataclass(frozen=True)
class NGramScore:
    """Bits per character of the n-gram model of one order on one held-out text, and the n-grams that it stores."""

    order: int
    entries: int
    bits_per_char: float


@dataclass(frozen=True)
class Baselines:
    """Bits per character of the baselines on one held-out text.

    ``ngrams`` are those of all BASELINE_ORDERS; ``ngram_order`` is the best on validation, which is *the* n-gram.
    """

    uniform_bits_per_char: float
    unigram_bits_per_char: float
    ngram_order: int
    ngrams: tuple[NGramScore, ...]

    def of_order(self, order: int) -> NGramScore:
        """The score of the n-gram model of this order."""
        return next(score for score in self.ngrams if score.order == order)

    @property
    def ngram_bits_per_char(self) -> float:
        return self.of_order(self.ngram_order).bits_per_char

    @property
    def ngram_entries(self) -> int:
        return self.of_order(self.ngram_order).entries

    def perplexities(self) -> dict[str, float]:
        """Perplexities of the n-gram and unigram models, by their labels in figures."""
        labelled = {
            f"{self.ngram_order}-gram": self.ngram_bits_per_char,
            "letter frequencies": self.unigram_bits_per_char,
        }
        return {label: 2**bits for label, bits in labelled.items()}


def predicted_bits_per_char(model: Unigram | KneserNey, ids: NDArray[np.integer]) -> float:
    """Mean bits of all characters but the first, which is context only, as for a network.

    The text is scored in pieces, each with its preceding context, so that memory does not grow with it. Raises
    ValueError for fewer than two characters.
    """
    if len(ids) < 2:
        raise ValueError(f"a text of {len(ids)} characters has nothing to predict; at least 2 are needed")
    total = 0.0
    for start in range(1, len(ids), PIECE_CHARS):
        context = min(start, model.order - 1)
        total += float(model.log2_probabilities(ids[start - context : start + PIECE_CHARS])[context:].sum())
    return -total / (len(ids) - 1)


def baselines(train: ArrayLike, held_out: Mapping[str, Any], vocab_size: int) -> dict[str, Baselines]:
    """Fit the uniform, unigram and n-gram models on a text, and score held-out texts (name -> ids).

    The n-grams' order is chosen on the text named "val".
    """
    unigram, longest = Unigram(train, vocab_size), KneserNey(train, vocab_size, max(BASELINE_ORDERS))
    ngrams = [longest.of_order(order) for order in BASELINE_ORDERS]
    scores = {
        name: tuple(NGramScore(each.order, each.entries, predicted_bits_per_char(each, ids)) for each in ngrams)
        for name, ids in held_out.items()
    }
    best = min(scores["val"], key=lambda score: score.bits_per_char).order
    return {
        name: Baselines(uniform_bits_per_char(vocab_size), predicted_bits_per_char(unigram, ids), best, scores[name])
        for name, ids in held_out.items()
    }
