"""Compare networks with n-grams of the same characters.

Comparisons have an interval for the sampling error of the text beside the one for the seeds, from a block bootstrap: it
draws the differences of mean costs of blocks of about 50 characters (or 50 windows), two neighbouring blocks at a time,
as they depend on each other. With one, four or eight at a time, the intervals hardly change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import expm1, log
from typing import Literal, get_args

import numpy as np

from pipeline.report.reproduction import JudgedTraining, Reproduction, whole
from pipeline.support.statistics import PairedComparison, paired, pooled_spread

Reading = Literal["windowed", "val"]  # keys of TextFacts.block_costs
READINGS: tuple[Reading, ...] = get_args(Reading)
BASELINE_ORDER = 4  # of the least n-gram that a network has to beat; costs of blocks are recorded from it on
BLOCKS_AT_ONCE = 2


@dataclass(frozen=True)
class AgainstCounting:
    """A network, by its mean over seeds, compared with the n-gram of one order on the same characters."""

    name: str  # id of a configuration, or by our recipe a shape
    perplexity: float
    order: int
    bar: float  # perplexity of the n-gram
    comparison: PairedComparison  # of costs in nats per character

    def __str__(self) -> str:
        """Format as "ID has 5.1, behind the 8-gram's 4.76: +7.2 %, +5.5 to +9.1 by seeds, +5.4 to +9.2 by the text"."""
        intervals = [
            f", {100 * expm1(each.ends[0]):+.1f} to {100 * expm1(each.ends[1]):+.1f} by {name}"
            for name, each in (("seeds", self.comparison.over_seeds), ("the text", self.comparison.over_text))
            if each.ends
        ]
        change = f"{100 * expm1(self.comparison.over_text.mean):+.1f} %{''.join(intervals)}"
        side = {"ahead": "ahead of", "behind": "behind", "open": "level with"}[self.comparison.verdict]
        return f"{self.name} has {self.perplexity:.2f}, {side} the {self.order}-gram's {self.bar:.2f}: {change}"


def explained_by_recipe(network: AgainstCounting, ours: AgainstCounting) -> str:
    """The share of the gap between a network and an n-gram that our recipe closes, in words; "" if it closes none."""
    gap, closed = network.perplexity - network.bar, network.perplexity - ours.perplexity
    if min(gap, closed) <= 0:
        return ""
    return f"the recipe explains {100 * closed / gap:.0f} % of the gap to the {network.order}-gram"


def against_counting(reproduction: Reproduction, role: str, reading: Reading) -> AgainstCounting | None:
    """Compare the configuration with the lowest perplexity in a role with the n-gram of the best order; None without.

    The spread over seeds is that of its trainings; by our recipe, it is pooled over all shapes. Where costs are not
    recorded by block, as in the open data, or by other blocks, means are compared, without an interval for the text.
    """
    text, is_windowed = reproduction.text, reading == "windowed"
    known = text.windowed if is_windowed else text.val_perplexities
    order = min(known, key=known.__getitem__)
    blocks = text.block_costs.get(reading, {}).get(order, ())
    runs = {each.id: [run for run in whole(each.by_role[role]) if run.windowed] for each in reproduction.configurations}
    counts = {len(run.block_costs.get(reading, ())) for group in runs.values() for run in group}
    has_blocks = bool(blocks) and counts <= {len(blocks)}

    def costs(run: JudgedTraining) -> Sequence[float]:
        perplexity = run.windowed if is_windowed else run.best("val_pooled")
        return run.block_costs[reading] if has_blocks else [log(perplexity or 1)]

    ours = {id: np.array([costs(run) for run in group]) for id, group in runs.items() if group}
    if not ours:
        return None
    best, spread = min(ours, key=lambda id: float(ours[id].mean())), None
    bar = np.array(blocks if has_blocks else [log(known[order])])
    if role == "same-text":
        by_shape = {reproduction[id].reported.shape: group.mean(axis=1) for id, group in ours.items()}
        spread = pooled_spread([*by_shape.values()])
    name = best if role == "report" else reproduction[best].reported.shape
    comparison = paired(ours[best] - bar, BLOCKS_AT_ONCE, spread)
    if not has_blocks:
        comparison = replace(comparison, over_both=comparison.over_seeds)
    return AgainstCounting(name, float(np.exp(ours[best].mean())), order, float(np.exp(bar.mean())), comparison)
