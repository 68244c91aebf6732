"""The measurements that answer the question, and what follows from them: intervals, differences and crossings.

Perplexities are on the test text. Checkpoint, order, size, mixture and learning rate are chosen on validation.
"""

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import exp, log
from typing import Literal, get_args

import numpy as np

from pipeline.answer.plan import Family
from pipeline.support.statistics import Estimate, PairedComparison, Side, Spread, estimate, pooled_spread

BLOCK_CHARS = 100  # characters of a block of the test text in the bootstrap

System = Literal[
    "network",
    "n-grams",
    "mixed",
    "on top",
    "two networks",
    "two n-grams",
    "adaptive network",
    "adaptive n-grams",
    "adaptive both",
]
"""What the sentences compare: the default network and the n-gram model of all orders, both mixed, the largest network
on top; two controls, seeds of the network mixed, and that n-gram model mixed with the best single order; and what reads
adaptively."""
COMPARED: tuple[tuple[System, System], ...] = (
    ("network", "n-grams"),
    ("mixed", "n-grams"),
    ("on top", "n-grams"),
    ("two networks", "network"),
    ("two networks", "n-grams"),
    ("two n-grams", "n-grams"),
    ("mixed", "two networks"),
    ("mixed", "two n-grams"),
    ("on top", "two networks"),
    ("on top", "two n-grams"),
    ("adaptive network", "network"),
    ("n-grams", "adaptive n-grams"),
    ("adaptive network", "adaptive n-grams"),
    ("adaptive both", "adaptive n-grams"),
)
Unit = Literal["numbers", "bytes"]
UNITS: tuple[Unit, ...] = get_args(Unit)
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Model:
    """A model, its costs, and its test perplexity by seed (one without seeds).

    ``ms_per_char`` are milliseconds to write a character, or to read it and learn from it. ``text_chars`` are the
    characters of a network's training text, ``ngram_test`` is the perplexity of the n-gram model of that text.
    """

    name: str
    test: tuple[float, ...]
    macs_per_char: int
    ms_per_char: float
    stored_numbers: int | None = None
    shipped_bytes: int | None = None
    fit_seconds: float | None = None
    family: Family | None = None
    text_chars: int = 0
    ngram_test: float = 0.0

    def size(self, unit: Unit) -> int:
        """The numbers that it stores, or the bytes in which it can be shipped."""
        size = self.stored_numbers if unit == "numbers" else self.shipped_bytes
        assert size is not None
        return size


@dataclass(frozen=True)
class Rivals:
    """A network, and the best of the n-gram models that are at most as large, compared in bits per character."""

    unit: Unit
    network: Model
    ngram: Model
    comparison: PairedComparison

    @property
    def size(self) -> int:
        """The network's size, to which the n-grams were pruned."""
        return self.network.size(self.unit)


@dataclass(frozen=True)
class Findings:
    """All measurements on a text.

    ``counted`` are the n-gram models of single orders, then that of all orders; ``compared`` are differences in bits
    per character. ``python_ms`` is the time in which the smallest network writes a character, all of it Python's.
    """

    text: str
    counted: tuple[Model, ...]
    trained: tuple[Model, ...]
    rivals: tuple[Rivals, ...]
    systems: Mapping[System, Model]
    compared: Mapping[tuple[System, System], PairedComparison]
    python_ms: float

    @property
    def models(self) -> list[Model]:
        """All models, each once."""
        pruned = [each.ngram for each in self.rivals]
        return list(dict.fromkeys([*self.counted, *pruned, *self.trained, *self.systems.values()]))

    def family(self, *families: Family) -> list[Model]:
        """The networks of these families."""
        return [each for each in self.trained if each.family in families]

    @property
    def by_size(self) -> list[Model]:
        """The networks alone that were trained on all of the text, smallest first."""
        return sorted([*self.family("size"), self.systems["network"]], key=lambda each: each.size("numbers"))

    def spread(self, family: Family) -> Spread:
        """The standard deviation over seeds of log perplexity, pooled over networks on top, or over all others."""
        alike = self.family("on top") if family == "on top" else self.family("text", "size")
        return pooled_spread([np.log(each.test) for each in alike])

    def mean(self, model: Model) -> Estimate:
        """The mean test perplexity with its interval by seeds; of a trained network from the pooled spread."""
        return estimate(model.test, spread=self.spread(model.family) if model.family else None)


@dataclass(frozen=True)
class Segment:
    """Sizes from ``low`` to ``high`` at which the networks of ``rivals`` are ahead, behind or level ("open")."""

    low: float
    high: float
    side: Side
    rivals: Sequence[Rivals]


def segments(findings: Findings, unit: Unit) -> list[Segment]:
    """Cut the sizes of the networks where they and the pruned n-grams cross.

    In a segment one side has the lower curve; it is ahead if that is significant at a size, else the two are level.
    """
    rivals = sorted((each for each in findings.rivals if each.unit == unit), key=lambda each: each.size)
    networks = [(each.size, findings.mean(each.network).mean) for each in rivals]
    found = crossings(networks, [(each.size, each.ngram.test[0]) for each in rivals])
    assert found is not None  # they have the same sizes
    low, *limits, high = found[1]
    cut = []
    for number, members in groupby(rivals, key=lambda each: bisect(limits, each.size)):
        inside = list(members)
        decided = [each.comparison.verdict for each in inside if each.comparison.verdict != "open"]
        cut.append(Segment([low, *limits][number], [*limits, high][number], decided[0] if decided else "open", inside))
    return list(_merged(cut))


def _merged(cut: Sequence[Segment]) -> Iterator[Segment]:
    """Make one of neighbouring segments of the same side."""
    for side, alike in groupby(cut, key=lambda each: each.side):
        first, *others = alike
        rivals = [rival for each in (first, *others) for rival in each.rivals]
        yield Segment(first.low, (others or [first])[-1].high, side, rivals)


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
