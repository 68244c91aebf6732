"""Trains recipes on the tuning texts and records the curves; nothing here reads a test figure of a network.

    python -m tests.benchmarks.tune_recipe FOLDER --stage before --presets stream best --seeds 0 1 [--texts faq-de ...]

FOLDER has the texts of texts.py and keeps the checkpoints, so that the program may be stopped and started again. Each
training is a row of docs/data/recipe_trainings.csv: what was trained, by which code (``stage``), its options, the
curves of training and validation perplexity, and the CPU seconds. Trainings with a row of this stage are not repeated.
"""

import argparse
import csv
import json
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pipeline.config import RECIPE, CorpusConfig, resolve
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.training.experiment import Experiment
from pipeline.training.hardware import keep_freed_memory
from tests.figures import DOCS, read_csv

TRAININGS = DOCS / "data" / "recipe_trainings.csv"
WHAT = "stage", "text", "preset", "seed", "options", "stopped_after"
CHOSEN = "learning_rate", "clip", "counting_loss", "recurrent_dropout", "output_dropout", "batch_size"
COLUMNS = (*WHAT, "recipe", "symbols", "train_chars", *CHOSEN, "precision", "epochs", "best_epoch", "val_perplexity")
CURVES = "train_perplexities", "val_perplexities"


class Job(NamedTuple):
    """A training: of ``options`` beside preset and seed, as JSON, stopped after so many passes (0: not)."""

    stage: str
    text: str
    preset: str
    seed: int
    options: str = "{}"
    stopped_after: int = 0


def corpus_of(name: str, folder: Path) -> Corpus:
    """A text of texts.csv, which is in the folder unless the lab knows it."""
    text = next(row for row in read_csv("texts.csv") if row["name"] == name)
    return load_corpus(CorpusConfig(str(folder / f"{name}.txt") if text["package"] else name, text["alphabet"]))


def train(job: Job, folder: Path) -> dict[str, Any]:
    """The row of a training."""
    corpus = corpus_of(job.text, folder)
    given: Mapping[str, Any] = {**json.loads(job.options), "preset": job.preset, "seed": job.seed}
    model, config = resolve(given, corpus.train_chars)
    place = folder / "checkpoints" / "-".join(map(str, job)).replace("/", "_")
    place.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    experiment = Experiment(corpus, model, config, place)
    training = experiment.training
    keep_freed_memory()
    torch.set_num_threads(1)
    experiment.on_start(training)
    while not (training.done or (job.stopped_after and len(training.history) >= job.stopped_after)):
        experiment.on_epoch(training, training.run_epoch(experiment))
    assert training.best is not None
    chosen = {name: getattr(model, name, getattr(config, name, None)) for name in CHOSEN}
    return {
        **job._asdict(),
        **chosen,
        "recipe": RECIPE[config.preset],
        "symbols": len(corpus.vocabulary),
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
        TRAININGS.write_text(",".join((*COLUMNS, "cpu_seconds", *CURVES)) + "\n")
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(train, job, folder) for job in waiting]):
            with TRAININGS.open("a") as file:
                csv.DictWriter(file, (*COLUMNS, "cpu_seconds", *CURVES), lineterminator="\n").writerow(future.result())


def main() -> None:
    tuning = [row["name"] for row in read_csv("texts.csv") if row["role"] == "tuning"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--stage", required=True, help="a name for the code: before, after")
    parser.add_argument("--texts", nargs="+", default=tuning)
    parser.add_argument("--presets", nargs="+", default=["stream", "best"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--options", default="{}", help="as JSON")
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    jobs = [
        Job(options.stage, text, preset, seed, options.options)
        for seed, preset, text in product(options.seeds, options.presets, options.texts)
    ]
    complete(jobs, options.folder, options.processes)


if __name__ == "__main__":
    main()
