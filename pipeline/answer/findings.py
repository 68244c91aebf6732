"""The measurements that answer the question, and what follows from them: intervals, differences and crossings.

Perplexities are on the test text unless their name says validation, on which checkpoint, order and mixture are chosen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from typing import Literal

import numpy as np

from pipeline.answer.plan import Family
from pipeline.support.statistics import Estimate, PairedComparison, Spread, estimate, pooled_spread

BLOCK_CHARS = 100  # characters of a block of the test text in the bootstrap

Kind = Literal["alone", "mixed", "on top"]
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class CountedModel:
    """An n-gram model of one order, or of all up to ``order``; ``entries`` is the number of its n-grams."""

    order: int
    name: str
    entries: int
    val_perplexity: float
    test_perplexity: float
    fit_seconds: float
    ms_per_char: float


@dataclass(frozen=True)
class Network:
    """A network: its test perplexities by seed, alone and mixed, and the n-grams' of the same training text.

    ``text_chars`` are the characters of its training text, ``read_chars`` those of all passes over it.
    """

    family: Family
    name: str
    text_chars: int
    read_chars: int
    stored_numbers: int
    test: tuple[float, ...]
    mixed: tuple[float, ...]
    ngram_test: float
    train_seconds: float
    ms_per_char: float | None = None


@dataclass(frozen=True)
class Findings:
    """All measurements on a text; the last of ``counted`` is the n-gram model that networks are compared with.

    ``alone``, ``mixed`` and ``on_top`` compare the default network, its mixture and the largest network on top of
    n-grams with that model, in bits per character.
    """

    text: str
    counted: tuple[CountedModel, ...]
    trained: tuple[Network, ...]
    alone: PairedComparison
    mixed: PairedComparison
    on_top: PairedComparison

    @property
    def comparisons(self) -> dict[str, PairedComparison]:
        """All comparisons by name."""
        return {"network": self.alone, "mixture": self.mixed, "on_top": self.on_top}

    @property
    def ngram(self) -> CountedModel:
        """The n-gram model that networks are compared with: all orders together."""
        return self.counted[-1]

    def family(self, *families: Family) -> list[Network]:
        """The networks of these families."""
        return [each for each in self.trained if each.family in families]

    @property
    def default(self) -> Network:
        """The default network on all of the text."""
        return self.family("text")[-1]

    @property
    def by_size(self) -> list[Network]:
        """The networks alone that were trained on all of the text with the default budget, smallest first."""
        return sorted([*self.family("size"), self.default], key=lambda each: each.stored_numbers)

    @property
    def largest_on_top(self) -> Network:
        """The largest network on top of n-grams."""
        return self.family("on top")[-1]

    def spread(self, kind: Kind) -> Spread:
        """The standard deviation over seeds of log perplexity, pooled over the networks of a kind."""
        networks = self.family("on top") if kind == "on top" else self.family("text", "budget", "size")
        return pooled_spread([np.log(each.mixed if kind == "mixed" else each.test) for each in networks])

    def mean(self, network: Network, mixed: bool = False) -> Estimate:
        """The mean test perplexity of a network with its interval, from the pooled spread of its kind."""
        kind: Kind = "mixed" if mixed else "on top" if network.family == "on top" else "alone"
        return estimate(network.mixed if mixed else network.test, spread=self.spread(kind))


# --- which of two curves is lower ------------------------------------------------------------------------------------


def crossings(first: Points, second: Points) -> tuple[bool, list[float]] | None:
    """Compare two curves of (size, perplexity), linear in logarithms; None if their sizes do not overlap.

    Returns whether the first is the lower one at the least size that both have, and that size, each size at which this
    changes, and the largest size that both have.
    """
    curves = [np.log(np.array(sorted(points), dtype=np.float64)) for points in (first, second)]
    low, high = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    if low > high:
        return None
    sizes = np.unique([low, high, *(size for curve in curves for size in curve[:, 0] if low <= size <= high)])
    gaps = np.subtract(*(np.interp(sizes, curve[:, 0], curve[:, 1]) for curve in curves))
    at = [
        exp(start + (end - start) * before / (before - after))
        for (start, before), (end, after) in pairwise(zip(sizes.tolist(), gaps.tolist(), strict=True))
        if (before < 0) != (after < 0)
    ]
    return bool(gaps[0] < 0), [exp(low), *at, exp(high)]


def percent(bits: float) -> float:
    """Convert a difference in bits per character to one in perplexity, in percent: 100 (2^bits - 1)."""
    return 100 * (exp(bits * log(2)) - 1)
