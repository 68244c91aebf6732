"""N-gram character models, the baselines of the networks.

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
PIECE_CHARS = 1_000_000  # characters scored at once: arrays of 8 MB
LEAST_BACKOFF = 1e-7  # where shares add up to 1 but for rounding
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # KenLM's, where the counts of counts give no valid discounts


def as_ids(ids: ArrayLike) -> Ints:
    """A text (N,) in int64, which holds all sums and products below."""
    return np.asarray(ids).astype(np.int64)


class Unigram:
    """Character frequencies with add-one (Laplace) smoothing, so that an unseen symbol has a finite cost.

    p(w) = (c(w) + 1) / (N + V)
    """

    order = 1

    def __init__(self, ids: ArrayLike, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        counts = np.bincount(as_ids(ids), minlength=vocab_size) + 1
        self._log2: Floats = np.log2(counts / counts.sum())

    def log2_probabilities(self, ids: ArrayLike) -> Floats:
        """ids (N,) -> log2 probability of each character (N,)."""
        return self._log2[as_ids(ids)]


def discounts(counts: Ints) -> Floats:
    """Discounts (4,) of modified Kneser-Ney smoothing for counts of 0, 1, 2, and 3 or more; the first is 0.

    With n_j the number of n-grams that occur j times (Chen and Goodman 1998, TR-10-98, section 3):

    Y   = n_1 / (n_1 + 2 n_2)
    D_j = j - (j + 1) Y n_(j+1) / n_j        for j = 1, 2, 3

    If n_1, n_2 or n_3 is 0, or a D_j is not in (0, j], as for a very short or regular text, FALLBACK_DISCOUNTS are
    used.
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
    """keys (N,) -> sorted distinct keys (G,), rank of each key among them (N,), count of each distinct key (G,)."""
    size = int(keys.max(initial=-1)) + 1
    if size > 4 * len(keys):
        return np.unique(keys, return_inverse=True, return_counts=True)
    counts = np.bincount(keys, minlength=size)  # no sorting: an eighth of the time for a small vocabulary
    occurs = counts > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[keys], counts[occurs]


@dataclass(frozen=True)
class NGrams:
    """The n-grams of one length n in a text.

    An n-gram's id is its rank in ``keys``; its context is its first n - 1 characters.

    keys (G,)             id of the context * V + last character, sorted
    suffixes (G,)         id of the (n-1)-gram without the first character
    counts (G,)           occurrences
    ids (N - n + 1,)      id of the n-gram that begins at each position
    """

    length: int
    keys: Ints
    suffixes: Ints
    counts: Ints
    ids: NDArray[np.int32]

    def without(self, start: int, end: int) -> "NGrams":
        """The n-grams, counted only where they lie outside ``start`` to ``end`` (exclusive); counts may be 0."""
        inside = self.ids[max(0, start - self.length + 1) : end]
        return replace(self, counts=self.counts - np.bincount(inside, minlength=len(self.keys)))


def ngrams_of(ids: ArrayLike, vocab_size: int, longest: int) -> Iterator[NGrams]:
    """Yield the n-grams of a text, of lengths 1 to ``longest`` in turn."""
    text = as_ids(ids)
    shorter: Ints = np.zeros(len(text) + 1, dtype=np.int64)  # one empty n-gram everywhere
    for n in range(1, longest + 1):
        keys, ranks, counts = ranked(shorter[:-1] * vocab_size + text[n - 1 :])
        suffixes = np.empty(len(keys), dtype=np.int64)
        suffixes[ranks] = shorter[1:]  # every occurrence of an n-gram has the same suffix
        yield NGrams(n, keys, suffixes, counts, ranks.astype(np.int32))
        shorter = ranks


def backoffs(contexts: Ints, shares: NDArray[np.floating], num_contexts: int) -> Floats:
    """What the shares (G,) of n-grams with these ``contexts`` (G,) leave in each context (C,); 1 if it has none."""
    return np.maximum(1 - np.bincount(contexts, weights=shares, minlength=num_contexts), LEAST_BACKOFF)


def discounted_shares(keys: Ints, counts: Ints, vocab_size: int) -> Floats:
    """Discounted relative frequencies (G,) of the n-grams of one order, after their contexts."""
    contexts = keys // vocab_size
    totals = np.maximum(np.bincount(contexts, weights=counts), 1)
    return np.maximum(counts - discounts(counts)[np.minimum(counts, 3)], 0) / totals[contexts]


@dataclass(frozen=True)
class _Order:
    """The fitted probabilities of one order. An n-gram's id is its rank in ``keys``.

    vocab_size     V
    keys (G,)      id of the context * V + last character, sorted
    shares (G,)    max(c - D(c), 0) / total of the context: the discounted relative frequency
    contexts       C
    """

    vocab_size: int
    keys: Ints
    shares: Floats
    contexts: int

    @cached_property
    def backoff(self) -> Floats:
        """Probability (C,) that the discounts free in each context."""
        return backoffs(self.keys // self.vocab_size, self.shares, self.contexts)

    def find(self, contexts: Ints, last: Ints) -> Ints:
        """Ids (N,) of the n-grams with these contexts and last characters; -1 for one that is not in training."""
        if not len(self.keys):
            return np.full(len(last), -1)
        wanted = contexts * self.vocab_size + last  # negative, so never found, for context -1
        ids = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[ids] == wanted, ids, -1)


class KneserNey:
    """Interpolated modified Kneser-Ney n-gram model (Chen and Goodman 1998, TR-10-98, section 3).

    p_n(w | h) = max(c(h w) - D(c(h w)), 0) / c(h) + backoff(h) p_(n-1)(w | h without its first character)
    p_0(w)     = 1 / V

    backoff(h) is the sum of h's discounts divided by c(h), so that every p_n sums to one. The count c of an n-gram of
    the highest order is its number of occurrences; of a lower order, the number of distinct characters that precede it
    (continuation count). For a context that is not in training, p_n is p_(n-1).

    An n-gram is not encoded as a number in base V, which would overflow. It is the pair (id of its context, last
    character), where the context is the (n-1)-gram that ends one position earlier; its id is the rank of that pair.

        text      t  h  e  _  t  h        the 3-gram "the" is (id of its context "th", e);
        2-grams   .  th he e_ _t th       it adds one to the continuation count of its suffix "he"
    """

    def __init__(self, ids: ArrayLike, vocab_size: int, order: int) -> None:
        self._fit(vocab_size, ngrams_of(ids, vocab_size, order))

    @classmethod
    def of(cls, ngrams: Iterable["NGrams"], vocab_size: int) -> "KneserNey":
        """The model of a text with these n-grams, the shortest first."""
        model = cls.__new__(cls)
        model._fit(vocab_size, ngrams)
        return model

    @classmethod
    def of_shares(
        cls, vocab_size: int, keys: Sequence[Ints], shares: Sequence[Floats], lower_shares: Sequence[Floats]
    ) -> "KneserNey":
        """The model of given tables, from order 1 on; ``lower_shares`` are those of all orders but the highest."""
        model = cls.__new__(cls)
        model.vocab_size = vocab_size
        contexts = [1, *map(len, keys)]
        model.longest = [_Order(vocab_size, *each) for each in zip(keys, shares, contexts, strict=False)]
        model.shorter = [_Order(vocab_size, *each) for each in zip(keys, lower_shares, contexts, strict=False)]
        return model

    def _fit(self, vocab_size: int, ngrams: Iterable["NGrams"]) -> None:
        """Compute the tables from the n-grams of all orders, the shortest first."""
        self.vocab_size = vocab_size
        self.shorter: list[_Order] = []  # of each order but the highest, from continuation counts
        self.longest: list[_Order] = []  # of each order as the highest of a model, from occurrences
        keys: Ints = np.zeros(0, dtype=np.int64)  # of the next lower order
        num_contexts = 1
        for longer in ngrams:
            if longer.length > 1:
                counts = np.bincount(longer.suffixes[longer.counts > 0], minlength=len(keys))
                self.shorter.append(self._discounted(keys, counts, num_contexts))
                num_contexts = len(keys)
            self.longest.append(self._discounted(longer.keys, longer.counts, num_contexts))
            keys = longer.keys

    @property
    def order(self) -> int:
        """The length of the longest n-grams."""
        return len(self.longest)

    @property
    def entries(self) -> int:
        """The number of stored n-grams, of all orders."""
        return sum(len(grams.keys) for grams in self.longest)

    def of_order(self, order: int) -> "KneserNey":
        """The model of this or a lower order fitted on the same text; it shares the arrays.

        Only the highest order is counted differently, so a fitted model contains those of all lower orders.
        """
        model = copy(self)
        model.shorter, model.longest = self.shorter[: order - 1], self.longest[:order]
        return model

    def _discounted(self, keys: Ints, counts: Ints, num_contexts: int) -> _Order:
        return _Order(self.vocab_size, keys, discounted_shares(keys, counts, self.vocab_size), num_contexts)

    def log2_probabilities(self, ids: ArrayLike) -> Floats:
        """ids (N,) -> log2 p (N,) of each character given the order - 1 characters (or fewer) before it in ``ids``."""
        text = as_ids(ids)
        probabilities: Floats = np.full(len(text), 1 / self.vocab_size)
        ending: Ints = np.zeros(len(text) + 1, dtype=np.int64)
        for n, grams in enumerate([*self.shorter, self.longest[-1]][: len(text)]):
            contexts = ending[:-1]
            ngrams = grams.find(contexts, text[n:])
            share = np.append(grams.shares, 0.0)[ngrams]  # the last entry is for -1, not in training
            backoff = np.append(grams.backoff, 1.0)[contexts]
            probabilities[n:] = share + backoff * probabilities[n:]
            ending = ngrams
        return np.log2(probabilities)


@dataclass(frozen=True)
class NGramScore:
    """Score of an n-gram model on a held-out text; ``order`` is its largest, ``entries`` its number of n-grams."""

    order: int
    entries: int
    stored_numbers: int
    bits_per_char: float


@dataclass(frozen=True)
class Baselines:
    """Bits per character of the baselines on one held-out text.

    ``singles`` has a score for each of BASELINE_ORDERS, of which ``best_order`` is the best on validation. ``gated`` is
    that of the orders combined by a gate, if they were; ``pruned`` are single orders of a given size, if asked for.
    """

    uniform_bits_per_char: float
    unigram_bits_per_char: float
    best_order: int
    singles: tuple[NGramScore, ...]
    gated: NGramScore | None = None
    pruned: tuple[NGramScore, ...] = ()

    @property
    def single(self) -> NGramScore:
        """The score of the n-gram model of the best single order."""
        return next(score for score in self.singles if score.order == self.best_order)

    @property
    def ngram(self) -> NGramScore:
        """The score of the n-gram model that networks are compared with."""
        return self.gated or self.single

    def perplexities(self) -> dict[str, float]:
        """Perplexities of the n-gram models and the unigram model on this text, by their labels in figures."""
        scores = {ngram_label(each.order, self.best_order): each for each in (self.ngram, self.single)}
        models = {label: 2**each.bits_per_char for label, each in scores.items()}
        return {**models, "letter frequencies": 2**self.unigram_bits_per_char}


def ngram_label(order: int | None, single_order: int | None) -> str:
    """The name of an n-gram model in tables and figures, from its largest order and the best single order."""
    return f"{order}-gram" if order == single_order else f"n-grams of orders 1 to {order}"


def predicted_bits_per_char(model: Unigram | KneserNey, ids: NDArray[np.integer]) -> float:
    """Mean bits per character over all characters but the first, which is only context, as for a network.

    The text is scored in pieces, each with its preceding context, so that memory does not grow with its length.
    """
    total = 0.0
    for start in range(1, len(ids), PIECE_CHARS):
        context = min(start, model.order - 1)
        total += float(model.log2_probabilities(ids[start - context : start + PIECE_CHARS])[context:].sum())
    return -total / (len(ids) - 1)


def baselines(train: ArrayLike, held_out: Mapping[str, Any], fitted: KneserNey) -> dict[str, Baselines]:
    """Score held-out texts (name -> ids) by the uniform, unigram and n-gram models of a text.

    ``fitted`` is a model of that text, of at least the largest of BASELINE_ORDERS. The best order is chosen on the text
    named "val".
    """
    vocab_size = fitted.vocab_size
    unigram = Unigram(train, vocab_size)
    ngrams = [fitted.of_order(order) for order in BASELINE_ORDERS]
    scores = {
        name: tuple(
            NGramScore(each.order, each.entries, each.entries, predicted_bits_per_char(each, ids)) for each in ngrams
        )
        for name, ids in held_out.items()
    }
    best = min(scores["val"], key=lambda score: score.bits_per_char).order
    return {
        name: Baselines(log2(vocab_size), predicted_bits_per_char(unigram, ids), best, scores[name])
        for name, ids in held_out.items()
    }
