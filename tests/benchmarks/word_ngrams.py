"""N-grams with word and skip contexts beside the orders 1 to 10, combined by one gate: what else only counts.

    python -m tests.benchmarks.word_ngrams FOLDER
    python -m tests.benchmarks.word_ngrams --table

FOLDER has the texts of texts.py. A **context** is what a count depends on. Those of CONTEXTS are words, or characters
with some left out; each predicts by discounted shares, interpolated with an order of the n-grams, and what it predicts
is one more row of the evidence that the gate of models/gated_ngrams.py weighs.

Appends to docs/data/word_trials.csv as tune_counting.py does: trial 0 has the settings of the program, the others are
drawn from the ranges there. SETTINGS has the best.

Shapes: N characters of a text, n positions, K orders and contexts, C contexts of one kind, V vocabulary.
"""

import random
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from models import gated_ngrams
from models.gated_ngrams import (
    LARGEST_DIVERGENCE,
    LONGEST,
    TOLD,
    CrossFitted,
    NGramModel,
    NGramTables,
    Sample,
    contiguous_parts,
    gate_letters,
    one_thread,
    sampled_spans,
)
from models.ngram import Ints, KneserNey, NGrams, as_ids, backoffs, discounted_shares, ranked
from pipeline.text.corpus import Corpus
from tests.benchmarks.tune_counting import RANGES, SEED, TRIALS, Fit, Settings, drawn, gate_with, main

NAMES = "PEAK_RATE", "PASSES", "GATE_UNITS", "WEIGHT_DECAY", "MOST_STEPS"  # constants of models/gated_ngrams.py
OF_PROGRAM: Settings = {name: getattr(gated_ngrams, name) for name in NAMES}
SETTINGS = dict(zip(NAMES, (0.00564, 8, 32, 0.125, 2400), strict=True))  # trial 10, the best on the tuning texts
WORD, BEFORE, TWO_BEFORE, ENDING = range(4)  # letters so far, the word before, the one before that, the end of BEFORE
CONTEXTS: list[tuple[list[int], list[int], int]] = [  # words, characters so many places back, order below
    ([WORD, BEFORE], [], 6),
    ([WORD, BEFORE, TWO_BEFORE], [], 6),
    ([WORD, TWO_BEFORE], [], 6),
    ([WORD, ENDING], [], 5),
    ([], [1, 3, 4, 5], 2),
    ([], [2, 3, 4, 5], 1),
    ([], [1, 2, 4, 5, 6], 3),
    ([], [1, 2, 3, 5, 6, 7], 4),
]


def contexts_of(ids: NDArray[np.integer], is_letter: Sequence[bool]) -> list[Ints]:
    """A hash (N,) of each of CONTEXTS before every character of ``ids`` (N,)."""
    text, words = as_ids(ids).tolist(), []
    word: tuple[int, ...] = ()
    before: tuple[tuple[int, ...], ...] = ((), (), ())
    for symbol in text:
        words.append((word, *before))
        if is_letter[symbol]:
            word = (*word, symbol)
        elif word:
            word, before = (), (word, before[0], word[-3:])
    by_kind = [[*map(hash, each)] for each in zip(*words, strict=True)]
    found = []
    for kinds, places, _ in CONTEXTS:
        back = ([-1] * place + text[:-place] for place in places)
        found.append(np.array([*map(hash, zip(*(by_kind[kind] for kind in kinds), *back, strict=True))]))
    return found


class Shares:
    """Discounted shares of the characters after one kind of context, from counts that may leave out a part."""

    def __init__(self, known: Ints, pairs: NGrams, vocab_size: int) -> None:
        self.known, contexts = known, pairs.keys // vocab_size
        shares = discounted_shares(pairs.keys, pairs.counts, vocab_size)
        first = np.searchsorted(contexts, np.arange(len(known) + 2))  # the last context stands for all that are missing
        self.table = csr_array((shares, pairs.keys % vocab_size, first), (len(known) + 1, vocab_size))
        self.backoff = np.append(backoffs(contexts, shares, len(known)), 1.0)

    def evidence(self, hashes: Ints, lower: Tensor) -> Tensor:
        """What the shares say after contexts (n,): (n, V + 4), from log-probabilities (n, V) of the order below."""
        at = np.searchsorted(self.known, hashes).clip(max=len(self.known) - 1)
        at = np.where(self.known[at] == hashes, at, len(self.known))
        shares, backoff = torch.from_numpy(self.table[at].toarray()), torch.from_numpy(self.backoff[at, None])
        logs = (shares + backoff * lower.double().exp()).log()
        entropy, divergence = -(logs.exp() * logs).sum(-1), (logs.exp() * (logs - lower)).sum(-1)
        no_letter = torch.full_like(entropy, -1.0)  # the gate sees the letters of the orders
        told = torch.stack([entropy, logs.amax(-1), divergence.clamp(max=LARGEST_DIVERGENCE), no_letter], dim=-1)
        return torch.cat([logs, told], dim=-1).float()


class WordTables:
    """N-grams of orders 1 to LONGEST and the contexts of a text: evidence (n, K, V + 4) for an ``NGramModel``."""

    def __init__(self, corpus: Corpus) -> None:
        self.ids, self.symbols = corpus.baseline_text("stream"), len(corpus.vocabulary)
        self.is_letter = corpus.vocabulary.letters
        self.tables = NGramTables(KneserNey(self.ids, self.symbols, LONGEST))
        self.at_once = self.tables.at_once
        self.counted = [self._counted(hashes) for hashes in contexts_of(self.ids, self.is_letter)]
        self.shares = [Shares(known, pairs, self.symbols) for known, pairs in self.counted]

    def _counted(self, hashes: Ints) -> tuple[Ints, NGrams]:
        """The contexts (C,) of one kind, and the pairs of a context and the character after it."""
        known, at = np.unique(hashes, return_inverse=True)
        keys, ranks, counts = ranked(at * self.symbols + as_ids(self.ids))
        return known, NGrams(1, keys, np.zeros(0, np.int32), counts, ranks.astype(np.int32))

    @property
    def stored_numbers(self) -> int:
        """The shares of all orders and contexts."""
        return self.tables.stored_numbers + sum(len(pairs.keys) for _, pairs in self.counted)

    def about(self, ids: NDArray[np.integer], start: int, end: int) -> Iterator[Tensor]:
        """As that of ``NGramTables``."""
        hashes = contexts_of(ids, self.is_letter)
        for evidence in self.tables.about(ids, start, end):
            yield torch.cat([evidence, *self._further(self.shares, evidence, hashes, start)], dim=1)
            start += len(evidence)

    @staticmethod
    def _further(shares: Sequence[Shares], evidence: Tensor, hashes: Sequence[Ints], start: int) -> Iterator[Tensor]:
        """What contexts say (n, 1, V + 4) at the positions from ``start`` on of which the orders say ``evidence``."""
        for each, at, (_, _, below) in zip(shares, hashes, CONTEXTS, strict=True):
            lower = evidence[:, below - 1, :-TOLD].float()
            yield each.evidence(at[start : start + len(evidence)], lower)[:, None]

    @one_thread()
    def sample(self) -> Sample:
        """As ``sample_of``: each part of the training text by counts of the others."""
        parts, orders = contiguous_parts(len(self.ids)), self.tables.order
        spans = sampled_spans(len(self.ids), (orders + len(CONTEXTS)) * (self.symbols + TOLD))
        of_orders = CrossFitted(self.ids, self.tables, parts).at(spans)
        filled = of_orders.new_empty(len(of_orders), orders + len(CONTEXTS), self.symbols + TOLD)
        hashes, done = contexts_of(self.ids, self.is_letter), 0
        for start, end in spans:
            part = next((a, b) for a, b in parts if a <= start < b)
            shares = [Shares(known, pairs.without(*part), self.symbols) for known, pairs in self.counted]
            for first in range(start, end, self.at_once):
                evidence = of_orders[done : done + min(self.at_once, end - first)]
                further = self._further(shares, evidence, hashes, first)
                filled[done : done + len(evidence)] = torch.cat([evidence, *further], dim=1)
                done += len(evidence)
        return Sample(filled, torch.from_numpy(np.concatenate([as_ids(self.ids[a:b]) for a, b in spans])))


def prepared(corpus: Corpus) -> Fit:
    """As that of tune_counting.py."""
    tables = WordTables(corpus)
    sample, letters = tables.sample(), gate_letters(tables.ids, tables.is_letter)
    return lambda settings: NGramModel(tables, gate_with(settings, sample, letters))  # type: ignore[arg-type]


def word_ngrams(corpus: Corpus) -> NGramModel:
    """The model with SETTINGS."""
    model = prepared(corpus)(SETTINGS)
    model.calibrate(corpus.split("stream", "val"))
    return model


def trials() -> Iterator[Settings]:
    draw = random.Random(SEED)
    yield OF_PROGRAM
    for _ in range(TRIALS):
        yield {name: drawn(draw, RANGES[name]) for name in NAMES}


if __name__ == "__main__":
    main("word_trials.csv", [*trials()], prepared, __doc__)
