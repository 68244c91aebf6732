"""Trains recipes on the tuning texts and records the curves; nothing here reads a test figure of a network.

    python -m tests.benchmarks.tune_recipe FOLDER --stage after --presets stream best --seeds 0 1 [--options JSON]
    python -m tests.benchmarks.tune_recipe FOLDER --stage screen --candidate 3 --texts time-machine faq-de devref-fr
    python -m tests.benchmarks.tune_recipe --table

FOLDER has the texts of texts.py and keeps the checkpoints, so that the program may be stopped and started again. Each
training is a row of docs/data/recipe_trainings.csv: what was trained, its settings, the curves of training and
validation perplexity, and the CPU seconds. Trainings that have a row are not repeated. The stages: ``before`` and
``after`` are whole trainings by the recipe of the code, which was 6 before; ``screen`` stops --preset best after 20
passes of its schedule; ``second`` are whole trainings of the best two candidates. ``--table`` prints for each candidate
the mean over texts and presets of the logarithm of validation perplexity in percent, by stage; of several seeds on a
text, the worse one counts.

Candidate 0 is recipe 6. Of each round of four, two are BY_HAND and two drawn from RANGES with SEED. Candidate 9 has
the learning rates of the best of the eight, 6, and a lower clip, as 6 jumped: in one training on the Ukrainian guide,
the norm of the gradient went from 0.1 to 800 in one step of pass 15 and to 76,000 in the next ones. That pass again,
from its first step, has a training perplexity of 4.41 with clip 1, 3.93 with 0.473, 4.73 with 0.2, 3.13 with 0.1, 3.11
with 0.05; the pass before had 3.17. Only a clip near the usual norm held there. All candidates were trained with the
n-grams' gate of dd4be094, and stream of 9 with 54.5 for TEXT_PASSES: its rate on The Time Machine stays 0.03.
"""

import argparse
import csv
import json
import multiprocessing
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from itertools import product
from math import log
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch

from pipeline.config import (
    BUDGET_CHARS,
    RECIPE,
    RECIPE_6,
    SHAPES,
    Constants,
    CorpusConfig,
    PresetName,
    resolve,
    stream_preset,
)
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.training.experiment import Experiment
from pipeline.training.hardware import keep_freed_memory
from tests.figures import DOCS, read_csv

TRAININGS = DOCS / "data" / "recipe_trainings.csv"
WHAT = "stage", "candidate", "text", "preset", "seed", "options"
SEED = 20261202
RANGES = {  # drawn uniformly, clip log-uniformly
    "rate_by_symbols": (0.0, 0.6),
    "rate_by_passes": (-0.1, 0.4),
    "large_rate": (0.5, 1.0),
    "clip": (0.1, 1.0),
    "dropout_by_symbols": (-0.02, 0.04),
    "counting_slope": (1.5, 4.0),
}
BY_HAND = {  # 1 to 4 are the first round, 5 to 8 the second, 9 is after both
    1: Constants(clip=0.25),
    2: Constants(clip=0.25, rate_by_symbols=0.25),
    7: Constants(rate_by_symbols=0.2, large_rate=0.7, clip=0.5),
    8: Constants(rate_by_symbols=0.2, large_rate=0.6),
    9: Constants(rate_by_symbols=0.307, rate_by_passes=0.237, large_rate=0.768, clip=0.1),
}
SCREENED_PASSES = 20
CHOSEN = "learning_rate", "clip", "counting_loss", "recurrent_dropout", "output_dropout", "batch_size"
OF_TEXT, FOUND = ("recipe", "symbols", "train_chars"), ("precision", "epochs", "best_epoch", "val_perplexity")
CURVES = "train_perplexities", "val_perplexities"
COLUMNS = *WHAT, "constants", *OF_TEXT, *CHOSEN, *FOUND, "cpu_seconds", *CURVES


class Job(NamedTuple):
    stage: str
    candidate: int
    text: str
    preset: PresetName
    seed: int
    options: str = "{}"


def constants_of(candidate: int) -> Constants:
    """The constants of a candidate; those that are not BY_HAND are drawn."""
    if candidate == 0:
        return RECIPE_6
    if candidate in BY_HAND:
        return BY_HAND[candidate]
    draw = random.Random(SEED + candidate)
    found = {name: draw.uniform(*ends) for name, ends in RANGES.items()}
    low, high = RANGES["clip"]
    found["clip"] = low * (high / low) ** ((found["clip"] - low) / (high - low))
    return Constants(**{name: round(value, 3) for name, value in found.items()})


def corpus_of(name: str, folder: Path) -> Corpus:
    """A text of texts.csv, which is in the folder unless the lab knows it."""
    text = next(row for row in read_csv("texts.csv") if row["name"] == name)
    options: Any = {"alphabet": text["alphabet"]}
    return load_corpus(CorpusConfig(str(folder / f"{name}.txt") if text["package"] else name, **options))


def train(job: Job, folder: Path) -> dict[str, Any]:
    """The row of a training."""
    corpus = corpus_of(job.text, folder)
    symbols, given, constants = len(corpus.vocabulary), json.loads(job.options), constants_of(job.candidate)
    if is_candidate := job.stage in ("screen", "second"):
        shape, budget_chars = SHAPES[job.preset], BUDGET_CHARS[job.preset]
        values = stream_preset(shape, corpus.train_chars, symbols, budget_chars, constants)
        given = {name: values[name] for name in CHOSEN}
    model, config = resolve({**given, "preset": job.preset, "seed": job.seed}, corpus.train_chars, symbols)
    place = folder / "checkpoints" / "-".join(map(str, job)).replace("/", "_").replace('"', "")
    place.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    experiment = Experiment(corpus, model, config, place)
    training = experiment.training
    keep_freed_memory()
    torch.set_num_threads(1)
    experiment.on_start(training)
    most = SCREENED_PASSES if (job.stage, job.preset) == ("screen", "best") else training.epochs
    while not training.done and len(training.history) < most:
        experiment.on_epoch(training, training.run_epoch(experiment))
    assert training.best is not None
    return {
        **job._asdict(),
        "constants": json.dumps(constants._asdict()) if is_candidate else "",
        **{name: {**asdict(model), **asdict(config)}[name] for name in CHOSEN},
        "recipe": RECIPE[config.preset],
        "symbols": symbols,
        "train_chars": corpus.train_chars,
        "precision": training.precision,
        "epochs": training.epochs,
        "best_epoch": training.best.epoch,
        "val_perplexity": f"{training.best.val_perplexity:.5f}",
        "train_perplexities": " ".join(f"{point.train_perplexity:.3f}" for point in training.history),
        "val_perplexities": " ".join(f"{point.val_perplexity:.3f}" for point in training.history),
        "cpu_seconds": round(time.process_time() - began),
    }


def complete(jobs: Sequence[Job], folder: Path, processes: int) -> None:
    """Train what has no row yet, and append the rows."""
    rows = read_csv(TRAININGS.name) if TRAININGS.exists() else []
    done = {tuple(row[name] for name in WHAT) for row in rows}
    waiting = [job for job in jobs if tuple(map(str, job)) not in done]
    if not rows:
        TRAININGS.write_text(",".join(COLUMNS) + "\n")
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(train, job, folder) for job in waiting]):
            with TRAININGS.open("a") as file:
                csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(future.result())


def table() -> None:
    worse: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for row in read_csv(TRAININGS.name):
        if row["options"] == "{}":
            found = worse.setdefault((row["stage"], row["candidate"]), {})
            key = row["text"], row["preset"]
            found[key] = max(100 * log(float(row["val_perplexity"])), found.get(key, 0.0))
    for (stage, candidate), found in sorted(worse.items()):
        sys.stdout.write(f"{stage} {candidate}: {fmean(found.values()):.2f} over {len(found)}\n")


def main() -> None:
    tuning = [row["name"] for row in read_csv("texts.csv") if row["role"] == "tuning"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--stage", choices=("before", "screen", "second", "after"), default="after")
    parser.add_argument("--candidate", type=int, default=0)
    parser.add_argument("--texts", nargs="+", default=tuning)
    parser.add_argument("--presets", nargs="+", default=["stream", "best"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--options", default="{}", help="of each training, as JSON")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    jobs = [
        Job(options.stage, options.candidate, text, preset, seed, options.options)
        for seed, preset, text in product(options.seeds, options.presets, options.texts)
    ]
    if options.table:
        table()
    else:
        complete(jobs, options.folder, options.processes)


if __name__ == "__main__":
    main()
