"""Compare networks with n-grams of the same characters.

Comparisons have an interval for the sampling error of the text beside the one for the seeds, from a block bootstrap: it
draws the differences of mean costs of blocks of about 50 characters (or 50 windows), two neighbouring blocks at a time,
as they depend on each other. With one, four or eight at a time, the intervals hardly change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1
from typing import Literal

import numpy as np

from pipeline.report.reproduction import Configuration, Reproduction, whole
from pipeline.support.statistics import PairedComparison, paired, pooled_spread

Reading = Literal["val", "windowed"]  # keys of TextFacts.block_costs
BASELINE_ORDER = 4  # of the n-gram that a network has to beat; costs of blocks are recorded from it on
BLOCKS_AT_ONCE = 2


@dataclass(frozen=True)
class AgainstCounting:
    """A network, by its mean over seeds, compared with the n-gram of one order on the same characters.

    ``bar`` is the perplexity of the n-gram; ``comparison`` is of costs in nats per character.
    """

    perplexity: float
    order: int
    bar: float
    comparison: PairedComparison

    def __str__(self) -> str:
        """Format as "level with the 4-gram's 5.17: -1.4 %, -4.9 to +2.2 by seeds, -3.3 to +0.6 by the text"."""
        intervals = [
            f", {100 * expm1(each.ends[0]):+.1f} to {100 * expm1(each.ends[1]):+.1f} by {name}"
            for name, each in (("seeds", self.comparison.over_seeds), ("the text", self.comparison.over_text))
            if each.ends
        ]
        change = f"{100 * expm1(self.comparison.over_text.mean):+.1f} %"
        side = {"ahead": "ahead of", "behind": "behind", "open": "level with"}[self.comparison.verdict]
        return f"{side} the {self.order}-gram's {self.bar:.2f}: {change}{''.join(intervals)}"


def against_counting(
    reproduction: Reproduction, id: str, role: str, reading: Reading, order: int
) -> AgainstCounting | None:
    """Compare the complete trainings of a configuration in a role with an n-gram; None if either has no costs.

    The spread over seeds is that of these trainings; by our recipe, it is pooled over all shapes.
    """

    def costs(configuration: Configuration) -> list[Sequence[float]]:
        runs = whole(configuration.by_role[role])
        return [run.block_costs[reading] for run in runs if reading in run.block_costs]

    ours, bar, spread = costs(reproduction[id]), reproduction.text.block_costs.get(reading, {}).get(order), None
    if not ours or bar is None:
        return None
    if role == "same-text":
        shapes = {each.reported.shape: each for each in reproduction.configurations}.values()
        spread = pooled_spread([np.mean(of_shape, axis=1) for of_shape in map(costs, shapes) if of_shape])
    comparison = paired(np.array(ours) - np.array(bar), BLOCKS_AT_ONCE, spread)
    return AgainstCounting(float(np.exp(np.mean(ours))), order, float(np.exp(np.mean(bar))), comparison)
