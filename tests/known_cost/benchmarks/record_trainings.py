"""Records real short trainings once, so that searches can be replayed on them in seconds.

time-machine, data/trainings.csv: a full grid (3 cells x 4 depths x 12 widths x 2 seeds) under the stream preset, 3
passes over The Time Machine each, and beside it random shapes with a random learning rate. Hours of one core. The first
134 rows of the kept table trained their RNNs and GRUs in bf16, the others in fp32, as ``auto`` chooses since.

python-docs, data/trainings_python_docs.csv: a grid of 3 cells x 3 depths x 9 widths x 2 seeds, 4 passes over the last
60,000 characters of the training split of Python 3.11's reference topics. Six minutes of one core.

    TMLM_DATA_DIR=FOLDER python -m tests.known_cost.benchmarks.record_trainings [--text python-docs] [--workers 2]

It may be stopped and started again.
"""

import argparse
import multiprocessing
import random
import sys
import time
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.config import CorpusConfig, TrainConfig, resolve
from pipeline.errors import TrainingDivergedError
from pipeline.support.files import write_atomically
from pipeline.text.corpus import load_corpus
from pipeline.training.experiment import Experiment

DATA = Path(__file__).parent / "data"
CELLS = ("rnn", "gru", "lstm")
SEEDS = (0, 1)
RATES = (0.001, 0.3)  # learning rates of the random shapes, log-uniform between the two
SHAPE = ("cell", "num_layers", "hidden_size", "learning_rate", "seed")


@dataclass(frozen=True)
class Recording:
    """What is trained on a text, and the table that keeps it."""

    text: str
    table: Path
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    epochs: int
    random_shapes: int = 0
    train_chars: int = 0  # the last so many of the training split; 0: all

    @property
    def columns(self) -> tuple[str, ...]:
        """Header of the table."""
        curve = (f"val_perplexity_{epoch}" for epoch in range(1, self.epochs + 1))
        return (*SHAPE, "grid", "parameters", "macs_per_char", *curve, "test_perplexity", "cpu_seconds")


RECORDINGS = {
    "time-machine": Recording(
        text="time-machine",
        table=DATA / "trainings.csv",
        depths=(1, 2, 3, 4),
        widths=(8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256),
        epochs=3,
        random_shapes=48,
    ),
    "python-docs": Recording(
        text="python-docs",
        table=DATA / "trainings_python_docs.csv",
        depths=(1, 2, 3),
        widths=(8, 12, 16, 24, 32, 48, 64, 96, 128),
        epochs=4,
        train_chars=60_000,
    ),
}

_load = cache(load_corpus)


def shapes(recording: Recording) -> list[dict[str, Any]]:
    """All that is to be trained, the grid's second seed last; the order within each part is random, but the same."""
    order = random.Random(0)
    parts = []
    for seed in SEEDS:
        part = [
            {"cell": c, "num_layers": d, "hidden_size": w}
            for c, d, w in product(CELLS, recording.depths, recording.widths)
        ]
        order.shuffle(part)
        parts.append([{**shape, "seed": seed, "grid": 1} for shape in part])
    low, high = RATES
    rated = [
        {
            "cell": order.choice(CELLS),
            "num_layers": order.choice(recording.depths),
            "hidden_size": order.choice(recording.widths),
            "learning_rate": float(f"{low * (high / low) ** order.random():.3g}"),
            "seed": 0,
            "grid": 0,
        }
        for _ in range(recording.random_shapes)
    ]
    everything = [*parts[0], *rated, *parts[1]]
    return [{**shape, "learning_rate": configs(recording, shape)[1].learning_rate} for shape in everything]


def configs(recording: Recording, shape: dict[str, Any]) -> tuple[ModelConfig, TrainConfig]:
    """The configurations that train one shape."""
    options = {name: value for name, value in shape.items() if name != "grid"}
    protocol = {"epochs": recording.epochs, "train_chars": recording.train_chars}
    return resolve({**options, **protocol})


def record(task: tuple[Recording, dict[str, Any]]) -> dict[str, Any]:
    """One training as a row of the table; perplexities are empty from the epoch on at which it diverged."""
    recording, shape = task
    corpus = _load(CorpusConfig(recording.text))
    model, train = configs(recording, shape)
    cost = closed_form(model, len(corpus.vocabulary))
    row = {**shape, "parameters": cost.parameters, "macs_per_char": cost.macs_per_char}
    began = time.process_time()
    try:
        result = Experiment(corpus, model, train).run()
    except TrainingDivergedError:
        return {**row, "cpu_seconds": round(time.process_time() - began, 2)}
    curve = {f"val_perplexity_{point.epoch}": round(point.val_perplexity, 5) for point in result.history}
    seconds = round(time.process_time() - began, 2)
    return {**row, **curve, "test_perplexity": round(result.figures["test_perplexity"], 5), "cpu_seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", choices=RECORDINGS, default="time-machine")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--table", type=Path)
    args = parser.parse_args()
    recording = RECORDINGS[args.text]
    table = args.table or recording.table
    rows = pd.read_csv(table, dtype=str).to_dict("records") if table.is_file() else []
    done = {tuple(row[name] for name in SHAPE) for row in rows}
    everything = shapes(recording)
    waiting = [(recording, shape) for shape in everything if tuple(str(shape[name]) for name in SHAPE) not in done]
    sys.stdout.write(f"{len(waiting)} of {len(everything)} trainings to record\n")
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool:
        for count, row in enumerate(pool.imap_unordered(record, waiting), 1):
            rows.append(row)
            text = pd.DataFrame(rows, columns=recording.columns).to_csv(index=False, lineterminator="\n")
            write_atomically(table, text.encode())
            sys.stdout.write(f"{count}/{len(waiting)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
