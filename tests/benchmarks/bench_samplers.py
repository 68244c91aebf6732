"""Which sampler finds the front of perplexity against MACs in few trials? Surfaces of surface.py, 5 to 40 trials.

Two objectives, perplexity and log10 MACs per character. The score is the hypervolume, against (28, the largest MACs of
the space), of all points that a sampler asked for, each at its true perplexity (without noise; replayed: the mean over
seeds), as a fraction of that of the whole space's front. A training that does not learn is worth 28 to every sampler.

    python -m tests.benchmarks.bench_samplers [--surfaces replay ...] [--samplers tpe ...] [--seeds 20] [--workers 2]
    python -m tests.benchmarks.bench_samplers --samplers known-cost --again     measured anew, and the old rows dropped
    python -m tests.benchmarks.bench_samplers --table                           the tables alone, from what is recorded

Every (surface, sampler, seed) is recorded when it is done, in data/sampler_comparison.csv, and not run twice; rows are
only good for the trainings that they were made from, and others are run again. BoTorch is not a dependency of
the project: pip install -e '.[dev]' --group benchmark. Without it its rows are left out.
"""

import argparse
import csv
import importlib.util
import multiprocessing
import os
import statistics
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from scipy.stats import t as student

from tests.benchmarks.surface import (
    CELLS,
    LAYERS,
    NAMES,
    RATES,
    REFERENCE,
    UNIFORM,
    UNITS,
    Params,
    Surface,
    behind,
    digest,
    hypervolume,
    make_surface,
    read_trainings,
)

RESULTS = Path(__file__).parent / "data" / "sampler_comparison.csv"
TRIALS = (5, 10, 20, 40)
SAMPLERS = ("random", "nsga2", "tpe", "tpe-multivariate", "gp", "botorch", "known-cost")
OPTUNA_SAMPLERS = SAMPLERS[:5]
COLUMNS = ("trainings", "surface", "sampler", "seed", *(f"after_{trials}" for trials in TRIALS), "cpu_seconds")

Task = tuple[str, str, int]  # surface, sampler, seed
Scores = dict[Task, dict[int, float]]  # trials -> fraction of the attainable hypervolume

_surfaces: dict[str, Surface] = {}


def make_sampler(name: str, surface: Surface, seed: int) -> BaseSampler:
    """A sampler with its own defaults, but NSGA-II: in 40 trials it would not leave its first generation of 50.

    The last two are told the known objective.
    """
    if name == "random":
        return RandomSampler(seed)
    if name == "nsga2":
        return NSGAIISampler(population_size=10, seed=seed)
    if name == "tpe":
        return TPESampler(seed=seed)
    if name == "tpe-multivariate":
        return TPESampler(seed=seed, multivariate=True)
    if name == "gp":
        return GPSampler(seed=seed)
    if name == "botorch":
        from tests.benchmarks.botorch_sampler import BoTorchSampler

        return BoTorchSampler(surface.log10_macs, REFERENCE, surface.with_rate, seed)
    from pipeline.search.known_cost.sampler import KnownCostSampler

    sampler: BaseSampler = KnownCostSampler(surface.log10_macs, known_objective=1, worst=UNIFORM, seed=seed)
    return sampler


def suggest(trial: optuna.Trial, with_rate: bool) -> dict[str, Any]:
    """The space that everything is compared on."""
    params: dict[str, Any] = {
        "cell": trial.suggest_categorical("cell", CELLS),
        "num_layers": trial.suggest_int("num_layers", *LAYERS),
        "hidden_size": trial.suggest_int("hidden_size", *UNITS, log=True),
    }
    if with_rate:
        params["learning_rate"] = trial.suggest_float("learning_rate", *RATES, log=True)
    return params


def asked(surface: Surface, sampler: BaseSampler, seed: int, trials: int) -> list[dict[str, Any]]:
    """The parameters of the first ``trials`` trials of a study, in order."""
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    found: list[dict[str, Any]] = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        params = suggest(trial, surface.with_rate)
        perplexity = surface.observe(params, seed, trial.number, found)
        found.append(params)
        return perplexity, surface.log10_macs(params)

    study.optimize(objective, n_trials=trials)
    return found


def fraction(surface: Surface, points: Sequence[Params]) -> float:
    """Hypervolume of the points at their true values, as a fraction of the attainable."""
    return hypervolume([(surface.truth(p), surface.log10_macs(p)) for p in points]) / surface.attainable


def run(task: Task) -> tuple[Task, dict[int, float], float]:
    """One study: its scores, and the CPU seconds that it took."""
    import torch

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    name, sampler, seed = task
    if name not in _surfaces:
        _surfaces[name] = make_surface(name, read_trainings())
    surface, began = _surfaces[name], time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        points = asked(surface, make_sampler(sampler, surface, seed), seed, max(TRIALS))
    scores = {trials: fraction(surface, points[:trials]) for trials in TRIALS}
    return task, scores, time.process_time() - began


@dataclass(frozen=True)
class Interval:
    """A mean with its standard error and 95 % interval (Student's t over n values)."""

    mean: float
    standard_error: float
    low: float
    high: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        return not self.low <= 0 <= self.high


def interval(values: Sequence[float]) -> Interval:
    """Of at least two values."""
    mean, error = statistics.fmean(values), statistics.stdev(values) / sqrt(len(values))
    half = float(student.ppf(0.975, len(values) - 1)) * error
    return Interval(mean, error, mean - half, mean + half, len(values))


def difference(scores: Scores, surface: str, first: tuple[str, int], second: tuple[str, int]) -> Interval | None:
    """First minus second (sampler, trials), paired by seed; None where fewer than two seeds have both."""
    values = [
        scores[surface, first[0], seed][first[1]] - scores[surface, second[0], seed][second[1]]
        for name, sampler, seed in scores
        if name == surface and sampler == first[0] and (surface, second[0], seed) in scores
    ]
    return interval(values) if len(values) > 1 else None


def of_sampler(scores: Scores, surface: str, sampler: str, trials: int) -> Interval | None:
    """Mean over all seeds; None where there are fewer than two."""
    values = [found[trials] for (name, which, _), found in scores.items() if (name, which) == (surface, sampler)]
    return interval(values) if len(values) > 1 else None


def markdown(scores: Scores) -> str:
    """Three tables: fractions, paired differences, and half the trials against all of them."""
    names = list(dict.fromkeys(surface for surface, _, _ in scores))
    columns = [(name, trials) for name in names for trials in TRIALS[1:]]
    present = [s for s in SAMPLERS if any(sampler == s for _, sampler, _ in scores)]
    lines = ["Fraction of the attainable hypervolume: mean (standard error).", ""]
    lines += ["| surface | trials | seeds | " + " | ".join(present) + " |", "|---|---|---|" + "---|" * len(present)]
    for name, trials in columns:
        found = {s: of_sampler(scores, name, s, trials) for s in present}
        counts = sorted({i.n for i in found.values() if i})
        seeds = " to ".join(map(str, counts[:1] + counts[1:][-1:]))
        best = max((i.mean for i in found.values() if i), default=0)
        cells = [_cell(i, bold=i is not None and i.mean == best) for i in found.values()]
        lines.append(f"| {name} | {trials} | {seeds} | " + " | ".join(cells) + " |")

    others = [s for s in present if s != "known-cost"]
    lines += ["", "known-cost minus the other, paired by seed: mean [95 % interval]; bold where it excludes zero.", ""]
    lines += ["| surface | trials | " + " | ".join(others) + " |", "|---|---|" + "---|" * len(others)]
    for name, trials in columns:
        gaps = [difference(scores, name, ("known-cost", trials), (s, trials)) for s in others]
        lines.append(f"| {name} | {trials} | " + " | ".join(_gap(i) for i in gaps) + " |")

    lines += ["", "known-cost with half the trials minus the Optuna sampler that is best with all of them.", ""]
    lines += ["| surface | trials | best of Optuna's | half the trials minus all |", "|---|---|---|---|"]
    for name, trials in columns:
        means = {s: i.mean for s in OPTUNA_SAMPLERS if (i := of_sampler(scores, name, s, trials))}
        if means:
            best_sampler = max(means, key=lambda s: means[s])
            gap = difference(scores, name, ("known-cost", trials // 2), (best_sampler, trials))
            lines.append(f"| {name} | {trials // 2} against {trials} | {best_sampler} | {_gap(gap)} |")
    return "\n".join(lines)


def _cell(found: Interval | None, bold: bool) -> str:
    if found is None:
        return ""
    mark = "**" if bold else ""
    return f"{mark}{found.mean:.3f}{mark} ({found.standard_error:.3f})"


def _gap(found: Interval | None) -> str:
    if found is None:
        return ""
    mark = "**" if found.excludes_zero else ""
    return f"{mark}{found.mean:+.3f}{mark} [{found.low:+.3f}, {found.high:+.3f}]"


def read_results(path: Path, trainings: Mapping[str, str]) -> list[dict[str, str]]:
    """Rows that were made from ``trainings``, each surface's digest; older ones are left out."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["trainings"] == trainings[row["surface"]]]


def write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """The whole file, in the order of NAMES and SAMPLERS."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=order))


def order(row: Mapping[str, str]) -> tuple[int, int, int]:
    """Where a row stands: by surface, by sampler, by seed."""
    return NAMES.index(row["surface"]), SAMPLERS.index(row["sampler"]), int(row["seed"])


def scores_of(rows: Sequence[Mapping[str, str]]) -> Scores:
    """Recorded rows, in the order of NAMES and SAMPLERS."""
    return {
        (row["surface"], row["sampler"], int(row["seed"])): {n: float(row[f"after_{n}"]) for n in TRIALS}
        for row in sorted(rows, key=order)
    }


def missing(sampler: str) -> str | None:
    """Why a sampler cannot be run here, or None."""
    module = {"botorch": "botorch", "known-cost": "pipeline.search.known_cost.sampler"}.get(sampler)
    return f"{sampler} is left out: no module {module}" if module and not importlib.util.find_spec(module) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surfaces", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0 to N - 1")
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--again", action="store_true", help="drop the recorded rows of these samplers and surfaces first"
    )
    parser.add_argument("--table", action="store_true", help="run nothing")
    args = parser.parse_args()
    trainings = read_trainings()
    digests = {name: digest(behind(name, trainings)) for name in NAMES}
    rows = read_results(args.results, digests)
    if args.again:
        rows = [row for row in rows if row["surface"] not in args.surfaces or row["sampler"] not in args.samplers]
    if not args.table:
        reasons = {sampler: missing(sampler) for sampler in args.samplers}
        sys.stderr.writelines(f"{reason}\n" for reason in reasons.values() if reason)
        done = set(scores_of(rows))
        waiting = [
            task
            for seed in range(args.seeds)  # first, so that a run that is stopped leaves all with about as many seeds
            for sampler in args.samplers
            for name in args.surfaces
            if not reasons[sampler] and (task := (name, sampler, seed)) not in done
        ]
        os.environ["OMP_NUM_THREADS"] = "1"  # of the workers, before they import torch
        args.results.parent.mkdir(exist_ok=True)
        write(args.results, rows)
        with args.results.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
                for count, (task, scores, seconds) in enumerate(pool.imap_unordered(run, waiting), 1):
                    row = dict(zip(COLUMNS, (digests[task[0]], *map(str, task)), strict=False))
                    row |= {f"after_{n}": f"{score:.5f}" for n, score in scores.items()}
                    row["cpu_seconds"] = f"{seconds:.1f}"
                    writer.writerow(row)
                    file.flush()
                    rows.append(row)
                    sys.stderr.write(f"{count}/{len(waiting)} {' '.join(row.values())}\n")
        write(args.results, rows)
    sys.stdout.write(f"{markdown(scores_of(rows))}\n")


if __name__ == "__main__":
    main()
