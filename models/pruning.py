"""Pruned Kneser-Ney models: the n-grams that matter most, for a given number of them.

They are chosen by relative entropy (Stolcke 1998, arXiv:cs/0006025): an n-gram is worth what the
distribution after its context changes by if its probability comes from the next lower order. The counts of the others
are handed down to their suffixes, as in revised Kneser pruning (Siivola, Hirsimäki and Virpioja 2007).

Shapes: G n-grams of one order, C their contexts.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from models.ngram import Floats, Ints, KneserNey, NGrams, discounted_shares

Kept = Sequence[NDArray[np.bool_]]
"""Whether each n-gram is kept (G,), by order; with an n-gram, those that it begins with are kept too."""


def pruned(ngrams: Iterable[NGrams], vocab_size: int, most: int) -> KneserNey:
    """The Kneser-Ney model of a text that has only its ``most`` best n-grams (0: all).

    If it is used as a model of a lower order, the counts of pruned n-grams still come from the highest order.
    """
    if not most:
        return KneserNey.of(ngrams, vocab_size)
    ngrams = list(ngrams)
    kept = _most_useful(ngrams, vocab_size, most)
    keys, shares, lower_shares = [], [], []
    ids: Ints = np.zeros(1, dtype=np.int64)  # of the contexts, in the pruned model
    for grams, own, lower in zip(ngrams, kept, _handed_down(ngrams, kept), strict=True):
        contexts, last = np.divmod(grams.keys[own], vocab_size)
        keys.append(ids[contexts] * vocab_size + last)
        ids = np.cumsum(own) - 1
        shares.append(discounted_shares(grams.keys, grams.counts, vocab_size)[own])
        lower_shares.append(discounted_shares(grams.keys, lower, vocab_size)[own])
    return KneserNey.of_shares(vocab_size, keys, shares, lower_shares[:-1])


def _most_useful(ngrams: Sequence[NGrams], vocab_size: int, most: int) -> Kept:
    worth = _worth(ngrams, vocab_size)
    for longer, shorter, grams in zip(worth[:0:-1], worth[-2::-1], ngrams[:0:-1], strict=True):
        np.maximum.at(shorter, grams.keys // vocab_size, longer)
    chosen = np.argsort(-np.concatenate(worth), kind="stable")[:most]  # of equals the shorter one, so contexts are kept
    kept = np.zeros(sum(map(len, worth)), dtype=bool)
    kept[chosen] = True
    return np.split(kept, np.cumsum([len(each) for each in worth])[:-1])


def _handed_down(ngrams: Sequence[NGrams], kept: Kept) -> list[Ints]:
    """Counts (G,) of each order in a model of the highest: of occurrences, then of continuations.

    A kept n-gram adds 1 to the count of its suffix, a pruned one its own count.
    """
    counts = [ngrams[-1].counts]
    for longer, grams, own in zip(ngrams[:0:-1], ngrams[-2::-1], kept[:0:-1], strict=True):
        adds = np.where(own, longer.counts > 0, counts[-1])
        counts.append(np.bincount(longer.suffixes, adds, minlength=len(grams.keys)).astype(np.int64))
    return counts[::-1]


def _worth(ngrams: Sequence[NGrams], vocab_size: int) -> list[Floats]:
    """Relative entropy (G,), in nats a character, by which pruning each n-gram changes the model, by order.

    - p(h) {p(w|h) [log p'(w|h) - log p(w|h)] + sum over the unseen v of p(v|h) [log p'(v|h) - log p(v|h)]}

    p' takes w's probability from the next lower order and rescales those of the unseen. All orders of p are fitted on
    occurrences: with Kneser-Ney's lower orders the criterion chooses worse (Chelba et al. 2010). Unigrams are worth
    most.
    """
    whole = KneserNey.of(ngrams, vocab_size)
    worth, lower, occurrences = [], np.full(1, 1 / vocab_size), ngrams[0].counts.sum(keepdims=True)
    for grams, fitted in zip(ngrams, whole.longest, strict=True):
        contexts = grams.keys // vocab_size
        by_lower = lower[grams.suffixes]
        own = fitted.shares + fitted.backoff[contexts] * by_lower
        unseen, lower_unseen = (
            np.maximum(1 - np.bincount(contexts, each, minlength=len(occurrences)), 1e-12)[contexts]
            for each in (own, by_lower)
        )
        scale = (unseen + own) / (lower_unseen + by_lower)
        change = own * np.log(scale * by_lower / own) + unseen * np.log(scale * lower_unseen / unseen)
        worth.append(-occurrences[contexts] / ngrams[0].counts.sum() * change)
        lower, occurrences = own, grams.counts
    worth[0][:] = np.inf
    return worth
