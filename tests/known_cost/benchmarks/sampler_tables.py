"""Tables of a comparison of samplers: interquartile means, win rates, and what is left of them after Holm's correction.

The statistics are those of Agarwal et al. 2021 (arXiv:2108.13264): the interquartile mean (the mean of the middle half
of all runs) over the seeds of several surfaces, with a bootstrap interval that resamples seeds within each surface, and
the probability of improvement (how often a run of one sampler is ahead of a run of the other, a tie counting half).
The latter is Mann and Whitney's U; its p-values are adjusted by Holm's method over all comparisons of all tables.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, trim_mean

from pipeline.support.markdown import markdown_table
from pipeline.support.statistics import holm
from tests.known_cost.benchmarks.surface import FOREIGN, NAMES, RESERVED, TABLES

RESAMPLES, LEVEL = 2000, 0.05
FIRST_TRIALS = {"own": 0, "spread": 5, "random": 10}  # the trials that are given to a sampler, by its start
GROUPS = {
    "developed on": tuple(name for name in TABLES if name not in RESERVED),
    "reserved": RESERVED,
    "foreign": FOREIGN,
}
HEAD = """# Samplers compared

For those who choose an Optuna sampler where the cost is known before a trial. Made by
`python -m tests.known_cost.benchmarks.bench_samplers --table > docs/sampler-comparison.md`; the conclusions are in
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
| nasbench201 (foreign) | 5 operations on 6 edges | 15,625 architectures on CIFAR-10, replayed: error, parameters |
| hpolib (foreign) | 9 parameters of a network of two layers | 62,208 trainings on naval propulsion, replayed |

Samplers: nsga2, tpe and gp as `tmlm search --sampler` makes them; tpe-independent = Optuna 4's default TPE, one
parameter at a time; botorch = noisy expected hypervolume improvement with the exact cost; carbs = CARBS (Fetterman et
al. 2023, [arXiv:2306.08055](https://arxiv.org/abs/2306.08055)), which models the cost, too, and searches around the
front.

First trials: own = as the sampler starts by itself (Optuna's: ten random trials; BoTorch: 2 (d + 1) Sobol points;
CARBS: four around a cheap configuration; known-cost: five spread over the costs); spread = the five of known-cost,
given to the other samplers; random = the ten random trials of Optuna's samplers, given to known-cost and CARBS.
"""
Array = NDArray[np.float64]
Side = tuple[str, str]  # sampler, start
Scores = Mapping[tuple[int, Side, str, int], Array]  # of all seeds, by workers, sampler and start, surface, trials
Comparison = tuple[int, Side, Side, str, int]  # workers, known-cost, the other, surface, trials


def interquartile_mean(strata: Sequence[Array]) -> str:
    """The mean of the middle half of all values [95 % interval]; the bootstrap resamples each stratum by itself."""
    random = np.random.default_rng(0)
    resampled = [random.choice(values, (RESAMPLES, len(values))) for values in strata]
    means = trim_mean(np.concatenate(resampled, axis=1), 0.25, axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return f"{trim_mean(np.concatenate(strata), 0.25):.3f} [{low:.3f}, {high:.3f}]"


def win_rate(first: Array, second: Array) -> tuple[float, float]:
    """The probability that a run of ``first`` scores higher than one of ``second``, a tie counting half; its p-value.

    The p-value is that of Mann and Whitney's test by all permutations of the runs, also where ranks tie: twice the
    share of splits into samples of these sizes whose rank sum is as far in the smaller tail.
    """
    doubled = (2 * rankdata(np.concatenate([first, second]))).astype(int)  # whole numbers: tied ranks end in a half
    ways = splits_by_rank_sum(doubled, len(first))
    found = doubled[: len(first)].sum()
    smaller_tail = min(ways[: found + 1].sum(), ways[found:].sum())
    pairs_ahead = found / 2 - len(first) * (len(first) + 1) / 2
    return float(pairs_ahead) / (len(first) * len(second)), min(1.0, float(2 * smaller_tail / ways.sum()))


def splits_by_rank_sum(ranks: NDArray[np.int_], size: int) -> Array:
    """How many subsets of ``size`` ranks have each sum, from 0 to that of all ranks (exact up to 2^53)."""
    ways = np.zeros((size + 1, ranks.sum() + 1))  # by the number of ranks chosen, and their sum
    ways[0, 0] = 1
    for rank in ranks:
        with_it = ways[:-1, :-rank].copy()
        ways[1:, rank:] += with_it
    found: Array = ways[size]
    return found


def pairs(scores: Scores, workers: int) -> dict[str, list[tuple[Side, Side]]]:
    """What is compared: known-cost and each other sampler, as they begin by themselves, and from the same trials."""
    others = [side for side in dict.fromkeys(key[1] for key in scores if key[0] == workers) if side[0] != "known-cost"]
    own = [side for side in others if side[1] == "own"]
    known = ("known-cost", "own")
    by_themselves = {"each with its own first trials": [(known, side) for side in own]}
    if workers > 1:
        return by_themselves
    return {
        **by_themselves,
        "all after known-cost's five": [(known, side) for side in others if side[1] == "spread"],
        "all after the same ten random trials": [
            (("known-cost", "random"), side)
            for side in others
            if side[1] == "random" or (side[1] == "own" and side[0] not in ("botorch", "carbs"))
        ],
    }


def compared(scores: Scores) -> dict[Comparison, tuple[float, float]]:
    """The win rate and p-value of all comparisons with two seeds or more, adjusted for their number.

    After the trials that both were given there is nothing to compare yet.
    """
    found: dict[Comparison, tuple[float, float]] = {}
    for workers, side, surface, trials in scores:
        for first, second in (pair for some in pairs(scores, workers).values() for pair in some if pair[1] == side):
            both = [scores.get((workers, each, surface, trials), np.array([])) for each in (first, second)]
            if trials > FIRST_TRIALS[first[1]] and min(map(len, both)) > 1:
                found[workers, first, second, surface, trials] = win_rate(*both)
    adjusted = holm([p for _, p in found.values()])
    return {comparison: (rate, p) for (comparison, (rate, _)), p in zip(found.items(), adjusted, strict=True)}


def means_table(scores: Scores, workers: int) -> str:
    """Interquartile means over the surfaces of each group that has been run; known-cost comes first."""
    trials, surfaces_run = sorted({key[3] for key in scores}), {key[2] for key in scores}
    groups = {group: surfaces for group, surfaces in GROUPS.items() if surfaces_run & {*surfaces}}
    header = ["sampler", "first trials", "seeds", *(f"{group}, {n}" for group in groups for n in trials)]
    lines = []
    sides = dict.fromkeys(key[1] for key in scores if key[0] == workers)
    for side in sorted(sides, key=lambda side: side[0] != "known-cost"):
        counts = [len(values) for key, values in scores.items() if key[:2] == (workers, side)]
        line = [*side, " to ".join(map(str, sorted({min(counts), max(counts)})))]
        for surfaces, n in product(groups.values(), trials):
            strata = [scores[key] for name in surfaces if (key := (workers, side, name, n)) in scores]
            line.append(interquartile_mean(strata) if strata else "")
        lines.append(line)
    return markdown_table(header, lines)


def wins_table(results: dict[Comparison, tuple[float, float]], some: Sequence[tuple[Side, Side]], workers: int) -> str:
    """Win rates of known-cost; bold where Holm's p-value is below 5 %."""
    where = {key[3:] for key in results if key[0] == workers and key[1:3] in some}
    lines = []
    for surface, trials in sorted(where, key=lambda each: (NAMES.index(each[0]), each[1])):
        found = [results.get((workers, *pair, surface, trials)) for pair in some]
        marks = ["**" if each and each[1] < LEVEL else "" for each in found]
        cells = [f"{mark}{each[0]:.2f}{mark}" if each else "" for each, mark in zip(found, marks, strict=True)]
        lines.append([surface, str(trials), *cells])
    return markdown_table(["surface", "trials", *(sampler for _, (sampler, _) in some)], lines)


def markdown(scores: Scores, versions: Sequence[str], left_out: Sequence[str]) -> str:
    """The page: all tables, for each number of workers."""
    results = compared(scores)
    lines = [HEAD]
    for workers in sorted({key[0] for key in scores}):
        lines += [f"## {'One trial' if workers == 1 else f'{workers} trials'} at a time", ""]
        lines += ["Interquartile mean of the score over all seeds and surfaces of a group [95 % interval].", ""]
        lines += [means_table(scores, workers), ""]
        for what, some in pairs(scores, workers).items():
            lines += [f"Win rate of known-cost, {what}.", "", wins_table(results, some, workers), ""]
    lines += [
        f"Bold: p < {LEVEL} by Mann and Whitney's test, exact also where scores tie, after Holm's correction over all "
        f"{len(results)} comparisons. Made by {', '.join(versions)}."
    ]
    if left_out:  # heteroscedastic-gp: its module is downloaded
        lines += ["", f"Left out, since it could not be downloaded where the runs were made: {', '.join(left_out)}."]
    return "\n".join(lines) + "\n"
