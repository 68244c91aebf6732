"""The measurements that answer the question, and what follows from them: intervals, differences and crossings.

Perplexities are on the test text. Checkpoint, order, mixture and learning rate are chosen on validation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import exp, log
from typing import Literal, get_args

import numpy as np

from pipeline.answer.plan import Family
from pipeline.support.statistics import Estimate, PairedComparison, Side, Spread, estimate, pooled_spread

BLOCK_CHARS = 100  # characters of a block of the test text in the bootstrap

COMPARED = (  # keys of Findings.systems
    "network against n-grams",
    "mixed against n-grams",
    "on top against n-grams",
    "two networks against network",
    "two networks against n-grams",
    "two n-grams against n-grams",
    "mixed against two networks",
    "mixed against two n-grams",
    "on top against two networks",
    "on top against two n-grams",
    "n-grams against adaptive n-grams",
    "adaptive network against network",
    "adaptive network against adaptive n-grams",
    "adaptive both against adaptive n-grams",
)
Unit = Literal["numbers", "bytes"]
UNITS: tuple[Unit, ...] = get_args(Unit)


@dataclass(frozen=True)
class MeasuredModel:
    """A model, its costs, and its test perplexity by seed (one without seeds).

    ``ms_per_char`` are milliseconds to write a character; of an adaptive model, to read one and learn from it, and its
    size is not known. ``text_chars`` are the characters of a network's training text, ``ngram_test`` is the perplexity
    of the n-gram model of that text.
    """

    name: str
    test: tuple[float, ...]
    macs_per_char: int
    ms_per_char: float
    stored_numbers: int = 0
    shipped_bytes: int = 0
    fit_seconds: float | None = None
    family: Family | None = None
    text_chars: int = 0
    ngram_test: float = 0.0

    def size(self, unit: Unit) -> int:
        """The numbers that it stores, or the bytes in which it can be shipped."""
        return self.stored_numbers if unit == "numbers" else self.shipped_bytes


@dataclass(frozen=True)
class Rivals:
    """A network, and the best n-gram model that is at most as large, compared in bits per character."""

    unit: Unit
    network: MeasuredModel
    ngram: MeasuredModel
    comparison: PairedComparison

    @property
    def size(self) -> int:
        """The network's size, to which the n-grams were pruned."""
        return self.network.size(self.unit)


@dataclass(frozen=True)
class Findings:
    """All measurements on the text ``corpus``.

    ``counted`` are the n-gram models of single orders, then that of all orders, ``trained`` the networks. ``systems``
    are what the sentences compare: the default "network", the "n-grams" of all orders, both "mixed", the largest
    network "on top"; two controls, "two networks" (seeds of the default) mixed, and "two n-grams" (all orders, and the
    best one) mixed; and network, n-grams and both, "adaptive". ``compared`` are differences in bits per character.
    ``python_ms`` is the time in which the smallest network writes a character, all of it Python's.
    """

    corpus: str
    counted: tuple[MeasuredModel, ...]
    trained: tuple[MeasuredModel, ...]
    rivals: tuple[Rivals, ...]
    systems: Mapping[str, MeasuredModel]
    compared: Mapping[str, PairedComparison]
    python_ms: float

    @property
    def models(self) -> list[MeasuredModel]:
        """All models, each once."""
        pruned = [each.ngram for each in self.rivals]
        every = (*self.counted, *pruned, *self.trained, *self.systems.values())
        return list({each.name: each for each in every}.values())

    def family(self, *families: Family) -> list[MeasuredModel]:
        """The networks of these families."""
        return [each for each in self.trained if each.family in families]

    @property
    def by_size(self) -> list[MeasuredModel]:
        """The networks alone that were trained on all of the text, smallest first."""
        return sorted([*self.family("size"), self.systems["network"]], key=lambda each: each.stored_numbers)

    def spread(self, family: Family) -> Spread:
        """The standard deviation over seeds of log perplexity, pooled over networks on top, or over all others."""
        alike = self.family("on top") if family == "on top" else self.family("text", "size")
        return pooled_spread([np.log(each.test) for each in alike])

    def mean(self, model: MeasuredModel) -> Estimate:
        """The mean test perplexity with its interval by seeds; of a trained network from the pooled spread."""
        return estimate(model.test, spread=self.spread(model.family) if model.family else None)


@dataclass(frozen=True)
class Segment:
    """Sizes from ``low`` to ``high`` at which networks are ahead, behind or level ("open").

    ``changes`` are their differences in percent of perplexity at the sizes that were measured, of which some are
    ``significant``.
    """

    low: float
    high: float
    side: Side
    changes: tuple[float, ...]
    significant: int


def segments(findings: Findings, unit: Unit) -> list[Segment]:
    """Cut the sizes of the networks where they and the pruned n-grams cross, interpolated linearly in logarithms.

    In a segment one curve is lower; its side is ahead if that is significant at one of the sizes, else both are level.
    Neighbours that are level are one segment.
    """
    rivals = sorted((each for each in findings.rivals if each.unit == unit), key=lambda each: each.size)
    parts, limits = [rivals[:1]], [float(rivals[0].size)]
    for before, after in pairwise(rivals):
        start, end = (each.comparison.over_both.mean for each in (before, after))
        if (start < 0) != (end < 0):
            share = start / (start - end)
            limits.append(exp((1 - share) * log(before.size) + share * log(after.size)))
            parts.append([])
        parts[-1].append(after)
    found = list[Segment]()
    for low, high, part in zip(limits, [*limits[1:], rivals[-1].size], parts, strict=True):
        sides = [each.comparison.verdict for each in part if each.comparison.verdict != "open"]
        changes = tuple(percent(each.comparison.over_both.mean) for each in part)
        each = Segment(low, high, sides[0] if sides else "open", changes, len(sides))
        if found and found[-1].side == each.side == "open":  # they cross, but both are level before and after
            each = Segment(found[-1].low, high, "open", found.pop().changes + each.changes, 0)
        found.append(each)
    return found


def percent(bits: float) -> float:
    """Convert a difference in bits per character to one in perplexity, in percent: 100 (2^bits - 1)."""
    return 100 * (exp(bits * log(2)) - 1)
