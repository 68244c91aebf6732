"""Tables of a comparison of samplers: interquartile means, win rates, and what is left of them after Holm's correction.

The statistics are those of Agarwal et al. 2021 (arXiv:2108.13264): the interquartile mean (the mean of the middle half
of all runs) over the seeds of several surfaces, with a bootstrap interval that resamples seeds within each surface, and
the probability of improvement (how often a run of one sampler is ahead of a run of the other, a tie counting half).
The latter is Mann and Whitney's U; its p-values are adjusted by Holm's method over all comparisons of all tables.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, trim_mean

from tests.benchmarks.surface import NAMES, RESERVED

RESAMPLES, LEVEL = 2000, 0.05
FIRST_TRIALS = {"own": 0, "spread": 5, "random": 10}  # the trials that are given to a sampler, by its start
GROUPS = {"developed on": tuple(name for name in NAMES if name not in RESERVED), "reserved": RESERVED}
HEAD = """# Samplers compared

Made by `python -m tests.benchmarks.bench_samplers --table > docs/sampler-comparison.md`; the conclusions are in
[known-cost-sampler.md](known-cost-sampler.md#compared-with-others).

The score is the hypervolume of (log of the value, log10 of the cost) of all configurations that a sampler asked for, at
their noise-free or seed-mean values, as a fraction of that of the true front. The reference point lies a tenth of the
front's range beyond its nadir (the value of the cheapest shape on the front, the cost of the best). A win rate is the
share of all pairs of runs in which known-cost scores higher, a tie counting half: 0.5 is level.

| surface | parameters | values |
| --- | --- | --- |
| shapes | cell, 1 to 4 layers, 8 to 256 units | a surface fitted to 192 recorded trainings, 2 % noise |
| shapes-and-rate | and a learning rate of 0.001 to 0.3 | the same; deep networks and high rates fail |
| time-machine | 3 cells x 4 depths x 12 widths | 288 recorded trainings, replayed: two seeds of each shape |
| python-docs (reserved) | 3 cells x 3 depths x 9 widths | 162 recorded trainings on another text, replayed |
| digits (reserved) | 3 kinds x 13 numbers x 8 scales x 7 penalties | ridge regressions on random features, replayed |

First trials: own = as the sampler starts by itself (Optuna's: ten random trials; BoTorch: 2 (d + 1) Sobol points;
known-cost: five spread over the costs); spread = the five of known-cost, given to the other samplers; random =
the ten random trials of Optuna's samplers, given to known-cost.
"""
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One study: a sampler with its first trials (bench_samplers.py), so many trials at a time, and a seed."""

    surface: str
    sampler: str
    start: str
    workers: int
    seed: int


Scores = dict[Run, dict[int, float]]  # trials -> fraction of the attainable hypervolume
Side = tuple[str, str]  # sampler, start


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Comparison:
    """Known-cost against another sampler on one surface, after so many trials."""

    surface: str
    workers: int
    trials: int
    first: Side
    second: Side


@dataclass(frozen=True)
class WinRate:
    """How often the first is ahead, and the p-value of its being as often behind."""

    rate: float
    p: float


def interquartile_mean(strata: Sequence[Array]) -> Estimate:
    """The mean of the middle half of all values; the bootstrap resamples each stratum by itself."""
    random = np.random.default_rng(0)
    resampled = [random.choice(values, (RESAMPLES, len(values))) for values in strata]
    means = trim_mean(np.concatenate(resampled, axis=1), 0.25, axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(trim_mean(np.concatenate(strata), 0.25)), float(low), float(high))


def win_rate(first: Array, second: Array) -> WinRate:
    """The probability that a run of ``first`` scores higher than one of ``second``, a tie counting half.

    Without ties the p-value is exact: the normal approximation of 10 against 10 runs is never below 1.8e-4.
    """
    both = np.concatenate([first, second])
    has_ties = len(np.unique(both)) < len(both)
    test = mannwhitneyu(first, second, method="asymptotic" if has_ties else "exact")
    p = float(test.pvalue) if np.ptp(both) else 1.0  # all tied: no p-value
    return WinRate(float(test.statistic) / (len(first) * len(second)), p)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm 1979): reject those below the level, as if each were the only one."""
    order = np.argsort(p_values)
    adjusted = np.empty(len(p_values))
    steps = np.arange(len(p_values), 0, -1) * np.asarray(p_values)[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(p) for p in adjusted]


def values(scores: Scores, surface: str, side: Side, workers: int, trials: int) -> Array:
    """The scores of all seeds."""
    return np.array(
        [
            score[trials]
            for run, score in scores.items()
            if (run.surface, run.sampler, run.start, run.workers) == (surface, *side, workers)
        ]
    )


def sides(scores: Scores, workers: int) -> list[Side]:
    """Every sampler and start that was run, in the order of the scores, known-cost first."""
    found = dict.fromkeys((run.sampler, run.start) for run in scores if run.workers == workers)
    return sorted(found, key=lambda side: side[0] != "known-cost")


def pairs(scores: Scores, workers: int) -> dict[str, list[tuple[Side, Side]]]:
    """What is compared: known-cost and each other sampler, as they begin by themselves, and from the same trials."""
    others = [side for side in sides(scores, workers) if side[0] != "known-cost"]
    own = [side for side in others if side[1] == "own"]
    known = ("known-cost", "own")
    every = {
        "each with its own first trials": [(known, side) for side in own],
        "all after known-cost's five": [(known, side) for side in others if side[1] == "spread"],
        "all after the same ten random trials": [
            (("known-cost", "random"), side) for side in own if side[0] != "botorch"
        ],
    }
    return every if workers == 1 else {"each with its own first trials": every["each with its own first trials"]}


def compared(scores: Scores) -> dict[Comparison, tuple[WinRate, float]]:
    """All comparisons of which both sides have at least two seeds, each with its p-value adjusted for all others.

    After the trials that both were given there is nothing to compare yet.
    """
    found = {}
    for workers in sorted({run.workers for run in scores}):
        for first, second in (pair for some in pairs(scores, workers).values() for pair in some):
            for surface, trials in rows(scores, second, workers):
                both = [values(scores, surface, side, workers, trials) for side in (first, second)]
                if trials > FIRST_TRIALS[first[1]] and min(map(len, both)) > 1:
                    found[Comparison(surface, workers, trials, first, second)] = win_rate(*both)
    adjusted = holm([rate.p for rate in found.values()])
    return {comparison: (rate, p) for (comparison, rate), p in zip(found.items(), adjusted, strict=True)}


def rows(scores: Scores, side: Side, workers: int) -> Iterator[tuple[str, int]]:
    """The surfaces and numbers of trials of one side."""
    runs = [run for run in scores if (run.sampler, run.start, run.workers) == (*side, workers)]
    for surface in dict.fromkeys(run.surface for run in runs):
        yield from ((surface, trials) for trials in scores[next(run for run in runs if run.surface == surface)])


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *lines)]


def means_table(scores: Scores, workers: int) -> list[str]:
    """Interquartile means over the surfaces developed on and over the reserved ones."""
    trials = sorted({n for score in scores.values() for n in score})
    header = ["sampler", "first trials", "seeds", *(f"{group}, {n}" for group in GROUPS for n in trials)]
    lines = []
    for side in sides(scores, workers):
        counts = {len(values(scores, surface, side, workers, trials[0])) for surface in NAMES} - {0}
        line = [*side, " to ".join(map(str, sorted({min(counts), max(counts)})))]
        for surfaces in GROUPS.values():
            for n in trials:
                strata = [found for name in surfaces if len(found := values(scores, name, side, workers, n))]
                line.append(str(interquartile_mean(strata)) if strata else "")
        lines.append(line)
    return table(header, lines)


def wins_table(
    results: dict[Comparison, tuple[WinRate, float]], some: Sequence[tuple[Side, Side]], workers: int
) -> list[str]:
    """Win rates of known-cost; bold where Holm's p-value is below 5 %."""
    others = [second for _, second in some]
    where = [key for key in results if key.workers == workers and (key.first, key.second) in some]
    lines = []
    for surface, trials in sorted(
        {(key.surface, key.trials) for key in where}, key=lambda p: (NAMES.index(p[0]), p[1])
    ):
        found = {key.second: results[key] for key in where if (key.surface, key.trials) == (surface, trials)}
        cells = [win_cell(*found[second]) if second in found else "" for second in others]
        lines.append([surface, str(trials), *cells])
    return table(["surface", "trials", *(sampler for sampler, _ in others)], lines)


def win_cell(rate: WinRate, p: float) -> str:
    """A win rate, bold if it is not one half."""
    mark = "**" if p < LEVEL else ""
    return f"{mark}{rate.rate:.2f}{mark}"


def markdown(scores: Scores, versions: Sequence[str]) -> str:
    """The page: all tables, for each number of workers."""
    results = compared(scores)
    lines = [HEAD]
    for workers in sorted({run.workers for run in scores}):
        lines += [f"## {'One trial' if workers == 1 else f'{workers} trials'} at a time", ""]
        lines += ["Interquartile mean of the score over all seeds and surfaces of a group [95 % interval].", ""]
        lines += [*means_table(scores, workers), ""]
        for what, some in pairs(scores, workers).items():
            lines += [f"Win rate of known-cost, {what}.", "", *wins_table(results, some, workers), ""]
    lines += [
        f"Bold: p < {LEVEL} after Holm's correction over all {len(results)} comparisons. Made by {', '.join(versions)}."
    ]
    return "\n".join(lines) + "\n"
