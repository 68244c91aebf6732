"""Networks against n-grams on the same characters, with the sampling error of the text beside that of the seeds.

The differences of the mean costs of blocks of about 50 characters (or 50 windows) are what a bootstrap draws, two
neighbours at a time, as they depend on each other; with one, four or eight at a time the intervals hardly change.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import expm1
from typing import Literal

import numpy as np

from pipeline.report.reproduction import Configuration, RecordedTraining, Reproduction, TextFacts
from pipeline.support.statistics import Estimate, PairedComparison, Side, Spread, estimate, paired, pooled_spread

Reading = Literal["val", "windowed", "test", "stream_test"]  # keys of TextFacts.block_costs

BLOCKS_AT_ONCE = 2

WORDS: Mapping[Side, str] = {"ahead": "ahead of", "behind": "behind", "open": "level with"}


@dataclass(frozen=True)
class AgainstCounting:
    """A network, by its mean over seeds, and the n-gram of one order on the same characters.

    ``comparison`` is of their costs in nats; "open" is neither ahead nor behind.
    """

    perplexity: float
    order: int
    bar: float
    comparison: PairedComparison

    def __str__(self) -> str:
        """Format as "level with the 4-gram's 5.17: -1.4 %, -4.9 to +2.2 by seeds, -3.3 to +0.6 by the text"."""
        intervals = [
            f", {100 * expm1(each.low):+.1f} to {100 * expm1(each.high):+.1f} by {name}"
            for name, each in (("seeds", self.comparison.over_seeds), ("the text", self.comparison.over_text))
            if each.low is not None and each.high is not None
        ]
        change = f"{100 * expm1(self.comparison.over_text.mean):+.1f} %"
        side = WORDS[self.comparison.verdict]
        return f"{side} the {self.order}-gram's {self.bar:.2f}: {change}{''.join(intervals)}"


def against_counting(
    runs: Sequence[RecordedTraining], text: TextFacts, reading: Reading, order: int, spread: Spread | None = None
) -> AgainstCounting | None:
    """Compare the trainings of a configuration with an n-gram; None where the record lacks the costs of either.

    ``spread`` is that of the mean cost of one seed, ``seed_spread``.
    """
    ours, bar = _costs(runs, reading), text.block_costs.get(reading, {}).get(order)
    if not ours or bar is None:
        return None
    comparison = paired(np.array(ours) - np.array(bar), BLOCKS_AT_ONCE, spread)
    return AgainstCounting(float(np.exp(np.mean(ours))), order, float(np.exp(np.mean(bar))), comparison)


def seed_spread(groups: Iterable[Sequence[RecordedTraining]], reading: Reading) -> Spread | None:
    """The standard deviation of a seed's mean cost, pooled over configurations; None where none has two seeds."""
    means = [np.mean(costs, axis=1) for runs in groups if (costs := _costs(runs, reading))]
    spread = pooled_spread(means)
    return None if spread.deviation is None else spread


def _costs(runs: Sequence[RecordedTraining], reading: Reading) -> list[tuple[float, ...]]:
    of_network = "test" if reading == "stream_test" else reading
    return [run.block_costs[of_network] for run in runs if of_network in run.block_costs]


def same_text_against_counting(
    reproduction: Reproduction, id: str, reading: Reading, order: int
) -> AgainstCounting | None:
    """Compare a shape trained by our recipe on the report's characters with an n-gram fitted on the same."""
    spread = seed_spread((each.same_text for each in _shapes(reproduction)), reading)
    return against_counting(reproduction[id].same_text, reproduction.text, reading, order, spread)


def _shapes(reproduction: Reproduction) -> list[Configuration]:
    """One configuration of each shape: those of one shape share the trainings by our recipe."""
    return list({each.shape: each for each in reproduction.configurations}.values())


def best_stream(reproduction: Reproduction) -> Configuration | None:
    """The configuration whose shape has the lowest validation perplexity by the preset stream; None without any."""
    trained = [each for each in reproduction.configurations if any(run.is_whole for run in each.stream)]
    return min(trained, key=lambda each: min(run.best_val for run in each.stream if run.is_whole), default=None)


def mean_test_perplexity(configuration: Configuration) -> Estimate | None:
    """Perplexity on the test text, the last 5 % of the book, at the best epoch, of the trainings by the protocol.

    None before one is complete.
    """
    tests = [run.test_perplexity for run in configuration.furthest if run.test_perplexity is not None]
    return estimate(tests) if tests else None
