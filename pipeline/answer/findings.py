"""The measurements that answer the question, and what follows from them: intervals, differences and crossings.

Perplexities are on the test text. Checkpoint, order, mixture and learning rate are chosen on validation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from math import log
from typing import Literal, get_args

import numpy as np

from pipeline.answer.plan import Family
from pipeline.support.statistics import Estimate, PairedComparison, Side, Spread, estimate, wider
from pipeline.training.differences import SEED_SPREADS, network_key, percent

COVERAGE = 0.99  # of the intervals of an answer, which makes 22 comparisons

COMPARED = {  # key of Findings.compared -> keys of Findings.systems
    f"{first} against {second}": (first, second)
    for first, second in (
        *(("network", "n-grams"), ("mixed", "n-grams"), ("on top", "n-grams"), ("on top", "mixed")),
        *(("two networks", "network"), ("two networks", "n-grams")),
        *(("mixed", "two networks"), ("on top", "two networks"), ("n-grams", "adaptive n-grams")),
        *(("adaptive network", "network"), ("adaptive network", "adaptive n-grams")),
        ("adaptive both", "adaptive n-grams"),
    )
}
Unit = Literal["numbers", "bytes"]
UNITS: tuple[Unit, ...] = get_args(Unit)


@dataclass(frozen=True)
class MeasuredModel:
    """A model, its costs, and its test perplexity by seed (one without seeds); of adaptive ones, no size is known."""

    name: str
    test: tuple[float, ...]
    macs_per_char: int
    ms_per_char: float  # to write a character; of an adaptive model, to read one and learn from it
    stored_numbers: int = 0
    shipped_bytes: int = 0
    fit_seconds: float | None = None
    family: Family | None = None
    text_chars: int = 0  # of a network's training text
    ngram_test: float = 0.0  # perplexity of the n-gram model of that text
    shape: str = ""  # of a network, such as LSTM 1x192
    hidden_size: int = 0
    order: int = 0  # the largest of n-grams

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

    ``systems`` are what the sentences compare: the default "network", the "n-grams" of all orders, both "mixed", the
    largest network "on top"; as a control, "two networks" (each pair of seeds of the default) mixed; and network,
    n-grams and both, "adaptive".
    """

    corpus: str
    counted: tuple[MeasuredModel, ...]  # n-gram models of single orders, then that of all orders
    trained: tuple[MeasuredModel, ...]  # networks
    rivals: tuple[Rivals, ...]
    systems: Mapping[str, MeasuredModel]
    compared: Mapping[str, PairedComparison]  # differences in bits per character
    python_ms: float  # in which the smallest network writes a character, all of it Python's

    @property
    def models(self) -> list[MeasuredModel]:
        """All models, each once."""
        pruned = [rival.ngram for rival in self.rivals]
        every = (*self.counted, *pruned, *self.trained, *self.systems.values())
        return list({each.name: each for each in every}.values())

    def family(self, family: Family) -> list[MeasuredModel]:
        """The networks of a family."""
        return [training for training in self.trained if training.family == family]

    @property
    def by_size(self) -> list[MeasuredModel]:
        """The networks alone that were trained on all of the text, smallest first."""
        return sorted([*self.family("size"), self.systems["network"]], key=lambda each: each.stored_numbers)

    def mean(self, model: MeasuredModel) -> Estimate:
        """The mean test perplexity with its interval by seeds; without one for n-grams and for two networks mixed."""
        if model.family:
            key = "on top against n-grams" if model.family == "on top" else network_key(model.shape)
        else:
            system = next((name for name, each in self.systems.items() if each == model), "")
            if system in ("", "n-grams", "adaptive n-grams", "two networks"):
                return estimate(model.test, spread=Spread(None, 0))
            key = f"{system} against {'adaptive n-grams' if system.startswith('adaptive') else 'n-grams'}"
        deviation, degrees = wider(SEED_SPREADS[key], [np.log2(model.test)], COVERAGE)
        assert deviation is not None
        return estimate(model.test, spread=Spread(deviation * log(2), degrees), coverage=COVERAGE)


@dataclass(frozen=True)
class Segment:
    """Consecutive measured sizes, ``low`` to ``high``, at each of which networks are ahead, behind or level (open)."""

    low: int
    high: int
    side: Side
    changes: tuple[float, ...]  # differences in percent of perplexity at these sizes
    detectable: float = 0.0  # in percent: of those that are level, what would have been found at each of them


def segments(findings: Findings, unit: Unit) -> list[Segment]:
    """The sizes of the networks in runs of the same verdict against pruned n-grams, smallest first."""
    rivals = sorted((rival for rival in findings.rivals if rival.unit == unit), key=lambda rival: rival.size)
    found = []
    for side, run in groupby(rivals, key=lambda rival: rival.comparison.verdict):
        sizes, comparisons = zip(*((rival.size, rival.comparison) for rival in run), strict=True)
        changes = tuple(percent(each.over_both.mean) for each in comparisons)
        detectable = max(percent(each.detectable(COVERAGE)) for each in comparisons)
        found.append(Segment(sizes[0], sizes[-1], side, changes, detectable))
    return found
