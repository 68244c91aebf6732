"""What was measured to answer the question, and what follows from it: intervals, differences and crossings.

All perplexities are of the test text; what there was to choose (checkpoint, order, mixture) was chosen on validation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from typing import Literal

import numpy as np

from pipeline.answer.plan import Family
from pipeline.support.statistics import Estimate, PairedComparison, Spread, estimate, pooled_spread

BLOCK_CHARS = 100  # of the test text, in the bootstrap: some sentences

Kind = Literal["alone", "mixed", "on top"]
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class CountedModel:
    """The n-gram model of one order, and what it costs: n-grams, seconds to fit, milliseconds per character."""

    order: int
    entries: int
    val_perplexity: float
    test_perplexity: float
    fit_seconds: float
    ms_per_char: float


@dataclass(frozen=True)
class Network:
    """A network: its test perplexities by seed, alone and mixed, and that of the best n-gram of the same text.

    ``text_chars`` are the characters of its training text, ``read_chars`` those that it was trained on in all.
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
    """Everything that was measured on a text. ``order`` is that of the best n-gram on validation.

    ``alone``, ``mixed`` and ``on_top`` compare the default network, its mixture and the largest network on top of an
    n-gram with the best n-gram.
    """

    text: str
    order: int
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
        """The best n-gram."""
        return next(each for each in self.counted if each.order == self.order)

    def family(self, *families: Family) -> list[Network]:
        """The networks of these families."""
        return [each for each in self.trained if each.family in families]

    @property
    def default(self) -> Network:
        """The default network on all of the text."""
        return self.family("text")[-1]

    @property
    def by_size(self) -> list[Network]:
        """The networks alone that read all of the text for the default's time, the smallest first."""
        return sorted([*self.family("size"), self.default], key=lambda each: each.stored_numbers)

    @property
    def largest_on_top(self) -> Network:
        """The largest network on top of an n-gram."""
        return self.family("on top")[-1]

    def spread(self, kind: Kind) -> Spread:
        """The standard deviation of a seed's perplexity (of its logarithm), pooled over the networks of a kind."""
        networks = self.family("on top") if kind == "on top" else self.family("text", "budget", "size")
        return pooled_spread([np.log(each.mixed if kind == "mixed" else each.test) for each in networks])

    def mean(self, network: Network, mixed: bool = False) -> Estimate:
        """The mean test perplexity of a network with its interval, by the pooled spread of its kind."""
        kind: Kind = "mixed" if mixed else "on top" if network.family == "on top" else "alone"
        return estimate(network.mixed if mixed else network.test, spread=self.spread(kind))


# --- which of two curves is lower ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crossings:
    """Where the lower of two curves changes, over the sizes that both have.

    ``first_is_lower`` says it for the range's low end; it changes at each of ``at``.
    """

    low: float
    high: float
    first_is_lower: bool
    at: tuple[float, ...]


def crossings(first: Points, second: Points) -> Crossings | None:
    """Compare two curves of (size, perplexity), straight between points in logarithms; None if no size is common."""
    curves = [np.log(np.array(sorted(points), dtype=np.float64)) for points in (first, second)]
    low, high = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    if low > high:
        return None
    sizes = np.unique([low, high, *(size for curve in curves for size in curve[:, 0] if low <= size <= high)])
    gaps = np.subtract(*(np.interp(sizes, curve[:, 0], curve[:, 1]) for curve in curves))
    at = tuple(
        exp(start + (end - start) * before / (before - after))
        for (start, before), (end, after) in pairwise(zip(sizes.tolist(), gaps.tolist(), strict=True))
        if (before < 0) != (after < 0)
    )
    return Crossings(exp(low), exp(high), bool(gaps[0] < 0), at)


def percent(bits: float) -> float:
    """The difference in perplexity, in percent, of a difference in bits per character."""
    return 100 * (exp(bits * log(2)) - 1)
