"""The figures of one configuration over its seeds: means, ranges and prediction intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.results import OVER_SEEDS
from pipeline.support.statistics import Estimate, estimate

HEADS = ("", *(figure.head for figure in OVER_SEEDS.values()))
ENDS = ("low", "high", "min", "max")  # of the interval and of the range


def over_seeds(results: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The mean of each figure, and with _low, _high, _min and _max behind its name its interval and its range.

    The interval is that of one more training with another seed (95 %); a single seed has none. Means of perplexities
    are geometric. A figure that a seed has not recorded has no mean.
    """
    figures: dict[str, float | None] = {}
    for name in OVER_SEEDS:
        if any(result.get(name) is None for result in results):
            figures |= dict.fromkeys((name, *(f"{name}_{end}" for end in ENDS)))
            continue
        values = [float(result[name]) for result in results]
        found = estimate(values, logarithmic=OVER_SEEDS[name].section == "result", of_next=True)
        ends = zip(ENDS, (found.low, found.high, min(values), max(values)), strict=True)
        figures |= {name: found.mean, **{f"{name}_{end}": value for end, value in ends}}
    return figures


def interval_metrics(figures: Mapping[str, Any]) -> dict[str, float]:
    """The ends of the intervals of the network's own perplexities, as metrics."""
    ends = [f"{split}_perplexity_{end}" for split in ("val", "test") for end in ("low", "high")]
    return {f"result/{end}": value for end in ends if (value := figures.get(end)) is not None}


def estimate_of(figures: Mapping[str, Any], name: str) -> Estimate:
    """A figure of ``over_seeds`` with its interval."""
    return Estimate(figures[name], figures[f"{name}_low"], figures[f"{name}_high"])


def seeds_rows(result: Mapping[str, Any]) -> list[list[str]]:
    """The cells under HEADS: a row for each seed, the means with their intervals, and the range."""
    rows = [
        [f"seed {training['seed']}", *(figure.shown(training[name]) for name, figure in OVER_SEEDS.items())]
        for training in result["trainings"]
    ]
    rows.append(["mean", *(str(estimate_of(result, name)) for name in OVER_SEEDS)])
    for end, label in (("min", "from"), ("max", "to")):
        rows.append([label, *(figure.shown(result[f"{name}_{end}"]) for name, figure in OVER_SEEDS.items())])
    return rows
