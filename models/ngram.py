"""N-gram character models, the baselines of the networks.

Shapes: N characters of a text, V vocabulary, G distinct n-grams of one order in the training text.

Every text is a one-dimensional array of character ids 0..V-1, of any integer dtype (uint8 and np.memmap included).
Scores are in bits per character; perplexity is ``2 ** bits_per_char``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise
from math import log2
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BASELINE_ORDERS = range(2, 17)  # of single n-gram models; the best on validation is a baseline
REPORT_ORDERS = range(2, 9)  # the same under the presets on the report's text
LEAST_BACKOFF = 1e-7  # where shares add up to 1 but for rounding
LARGEST_ID = np.iinfo(np.int64).max  # larger than that of any n-gram
PAGE_NGRAMS = "n-grams on this page"  # the short name of those that are pruned to run in a page
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # KenLM's, where the counts of counts give no valid discounts


def as_ids(ids: ArrayLike) -> Ints:
    """A text (N,) in int64, which holds all sums and products below."""
    return np.asarray(ids).astype(np.int64)


def unigram_bits_per_char(train: ArrayLike, ids: ArrayLike, vocab_size: int) -> float:
    """Mean bits per character of ``ids`` but the first, by the frequencies of the characters in ``train``.

    They have add-one (Laplace) smoothing, so that an unseen symbol has a finite cost: p(w) = (c(w) + 1) / (N + V).
    """
    counts = np.bincount(as_ids(train), minlength=vocab_size) + 1
    return -float(np.log2(counts / counts.sum())[as_ids(ids)][1:].mean())


def discounts(counts: Ints) -> Floats:
    """Discounts (4,) of modified Kneser-Ney smoothing for counts of 0, 1, 2, and 3 or more; the first is 0.

    With n_j the number of n-grams that occur j times (Chen and Goodman 1998, TR-10-98, section 3):

    Y   = n_1 / (n_1 + 2 n_2)
    D_j = j - (j + 1) Y n_(j+1) / n_j        for j = 1, 2, 3

    FALLBACK_DISCOUNTS if n_1, n_2 or n_3 is 0, or a D_j is not in (0, j], as for a very short or regular text.
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
    size = int(np.max(keys, initial=-1)) + 1
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
    suffixes: NDArray[np.int32]
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
        suffixes = np.empty(len(keys), dtype=np.int32)
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
        wanted = contexts * self.vocab_size + last  # negative, so never found, for context -1
        ids = np.searchsorted(self.keys, wanted)
        return np.where(np.append(self.keys, LARGEST_ID)[ids] == wanted, ids, -1)


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
        orders = list(fitted_orders(ngrams, vocab_size))
        self.vocab_size = vocab_size
        self.longest = [longest for longest, _ in orders]
        self.shorter = [shorter for _, shorter in orders if shorter]

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

    def log2_by_order(self, ids: ArrayLike) -> Iterator[Floats]:
        """ids (N,) -> log2 p (N,) of each character, by the models of orders 1 to ``order`` in turn.

        That of order n is given the n - 1 characters (or fewer) before it in ``ids``.
        """
        text = _Read(ids, self.vocab_size)
        return map(text.log2_probabilities, self.longest, [*self.shorter, None])

    def log2_probabilities(self, ids: ArrayLike) -> Floats:
        """ids (N,) -> log2 p (N,) of each character given the order - 1 characters (or fewer) before it in ``ids``."""
        *_, highest = self.log2_by_order(ids)
        return highest


def fitted_orders(ngrams: Iterable[NGrams], vocab_size: int) -> Iterator[tuple[_Order, _Order | None]]:
    """Yield the tables of each order, from 1 on, as the highest of a model and as a lower one (None for the last).

    ``ngrams`` are those of all orders, the shortest first.
    """

    def discounted(grams: NGrams, counts: Ints) -> _Order:
        return _Order(vocab_size, grams.keys, discounted_shares(grams.keys, counts, vocab_size), num_contexts)

    num_contexts = 1
    for grams, longer in pairwise(chain(ngrams, [None])):
        assert grams is not None
        shorter = None
        if longer is not None:
            shorter = discounted(grams, np.bincount(longer.suffixes[longer.counts > 0], minlength=len(grams.keys)))
        yield discounted(grams, grams.counts), shorter
        num_contexts = len(grams.keys)


class _Read:
    """A text (N,) while it is scored by one order after the other."""

    def __init__(self, ids: ArrayLike, vocab_size: int) -> None:
        self.text = as_ids(ids)
        self.lower: Floats = np.full(len(self.text), 1 / vocab_size)  # probabilities by the order before as a lower one
        self.ngrams: Ints = np.zeros(len(self.text) + 1, dtype=np.int64)  # of that order, which end at each position

    def log2_probabilities(self, longest: _Order, shorter: _Order | None) -> Floats:
        """log2 p (N,) of each character by the next order, given as the highest of a model and as a lower one."""
        contexts = self.ngrams[:-1]
        self.ngrams = longest.find(contexts, self.text[len(self.text) - len(contexts) :])
        highest = self._interpolated(longest, contexts)
        if shorter is not None:
            self.lower = self._interpolated(shorter, contexts)
        return np.log2(highest)

    def _interpolated(self, grams: _Order, contexts: Ints) -> Floats:
        share = np.append(grams.shares, 0.0)[self.ngrams]  # the last entry is for -1, not in training
        backoff = np.append(grams.backoff, 1.0)[contexts]
        start = len(self.text) - len(self.ngrams)
        return np.concatenate([self.lower[:start], share + backoff * self.lower[start:]])


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

    ``singles`` has a score for each single order, of which ``best_order`` is the best on validation. ``gated`` is that
    of the orders combined by a gate, if they were; ``pruned`` are single orders of a given size, if asked for.
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

    def order_as_good_as(self, bits_per_char: float) -> int:
        """The lowest single order, up to the best one, that is at least as good; 0 if none is."""
        orders = (each.order for each in self.singles if each.bits_per_char <= bits_per_char)
        return min((order for order in orders if order <= self.best_order), default=0)

    def perplexities(self) -> dict[str, float]:
        """Perplexities of the n-gram models and the unigram model on this text, by their labels in figures."""
        gated = {ngram_label(self.gated.order, is_gated=True): self.gated} if self.gated else {}
        models = {**gated, ngram_label(self.single.order): self.single}
        perplexities = {label: 2**model.bits_per_char for label, model in models.items()}
        return {**perplexities, "letter frequencies": 2**self.unigram_bits_per_char}


def ngram_label(order: int, is_gated: bool = False) -> str:
    """The name of an n-gram model in tables and figures, from its largest order."""
    return f"n-grams of orders 1 to {order}" if is_gated else f"{order}-gram"


def compared_label(order: int) -> str:
    """The name of the n-gram model that networks are compared with: it has a gate, or is one of REPORT_ORDERS."""
    return ngram_label(order, is_gated=order not in REPORT_ORDERS)


def page_label(order: int) -> str:
    """The name of the pruned n-grams that run in a page, where it stands beside ``compared_label``."""
    return f"{PAGE_NGRAMS} (orders 1 to {order}, pruned)"


def predicted_bits_per_char(model: KneserNey, ids: NDArray[np.integer]) -> float:
    """Mean bits per character over all characters but the first, which is only context, as for a network."""
    return -float(model.log2_probabilities(ids)[1:].mean())


def baselines(
    train: NDArray[np.integer], held_out: Mapping[str, Any], vocab_size: int, orders: Sequence[int]
) -> dict[str, Baselines]:
    """Score held-out texts (name -> ids) by the uniform, unigram and n-gram models of a text.

    The best of ``orders`` is chosen on the text named "val". One order's tables are in memory at a time.
    """
    entries, texts = 0, {name: _Read(ids, vocab_size) for name, ids in held_out.items()}
    scores: dict[str, list[NGramScore]] = {name: [] for name in held_out}
    for order, (longest, shorter) in enumerate(fitted_orders(ngrams_of(train, vocab_size, max(orders)), vocab_size), 1):
        entries += len(longest.keys)
        for name, text in texts.items():
            bits = -float(text.log2_probabilities(longest, shorter)[1:].mean())
            if order in orders:
                scores[name].append(NGramScore(order, entries, entries, bits))
    best = min(scores["val"], key=lambda score: score.bits_per_char).order
    return {
        name: Baselines(log2(vocab_size), unigram_bits_per_char(train, ids, vocab_size), best, tuple(scores[name]))
        for name, ids in held_out.items()
    }
