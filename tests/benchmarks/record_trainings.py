"""Records real short trainings once, so that searches can be replayed on them in seconds: data/trainings.csv.

A full grid (3 cells x 4 depths x 12 widths x 2 seeds) under the stream preset, 3 passes over The Time Machine each, and
beside it random shapes with a random learning rate. Hours of one core; it may be stopped and started again. The first
134 rows of the kept table trained their RNNs and GRUs in bf16, the others in fp32, as ``auto`` chooses since.

    TMLM_DATA_DIR=FOLDER python -m tests.benchmarks.record_trainings --workers 2
"""

import argparse
import csv
import multiprocessing
import random
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

from models.complexity import closed_form
from pipeline.config import WARM_UP_RECIPE, CorpusConfig, resolve
from pipeline.errors import TrainingDivergedError
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.training.experiment import run_experiment

TABLE = Path(__file__).parent / "data" / "trainings.csv"
EPOCHS = 3
CELLS = ("rnn", "gru", "lstm")
DEPTHS = (1, 2, 3, 4)
WIDTHS = (8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256)
SEEDS = (0, 1)
RATES, RANDOM_SHAPES = (0.001, 0.3), 48  # learning rates, log-uniform between the two
SHAPE = ("cell", "num_layers", "hidden_size", "learning_rate", "seed")
COLUMNS = (
    *SHAPE,
    "grid",
    "parameters",
    "macs_per_char",
    *(f"val_perplexity_{epoch}" for epoch in range(1, EPOCHS + 1)),
    "test_perplexity",
    "cpu_seconds",
)

_corpus: Corpus | None = None


def shapes() -> list[dict[str, Any]]:
    """All that is to be trained, the grid's second seed last; the order within each part is random, but the same."""
    order = random.Random(0)
    parts = []
    for seed in SEEDS:
        part = [{"cell": c, "num_layers": d, "hidden_size": w} for c, d, w in product(CELLS, DEPTHS, WIDTHS)]
        order.shuffle(part)
        parts.append([{**shape, "seed": seed, "grid": 1} for shape in part])
    low, high = RATES
    rated = [
        {
            "cell": order.choice(CELLS),
            "num_layers": order.choice(DEPTHS),
            "hidden_size": order.choice(WIDTHS),
            "learning_rate": float(f"{low * (high / low) ** order.random():.3g}"),
            "seed": 0,
            "grid": 0,
        }
        for _ in range(RANDOM_SHAPES)
    ]
    return [*parts[0], *rated, *parts[1]]


def record(shape: dict[str, Any]) -> dict[str, Any]:
    """One training as a row of the table; perplexities are empty from the epoch on at which it diverged."""
    global _corpus
    if _corpus is None:
        _corpus = load_corpus(CorpusConfig("time-machine"))
    options = {name: value for name, value in shape.items() if name != "grid"}
    model, train = resolve({**options, "epochs": EPOCHS, "recipe": WARM_UP_RECIPE})
    cost = closed_form(model, len(_corpus.vocabulary))
    row = {**shape, "learning_rate": train.learning_rate, "parameters": cost.parameters}
    row["macs_per_char"] = cost.macs_per_char
    began = time.process_time()
    try:
        result = run_experiment(_corpus, model, train)
    except TrainingDivergedError:
        return {**row, "cpu_seconds": round(time.process_time() - began, 2)}
    curve = {f"val_perplexity_{point.epoch}": round(point.val_perplexity, 5) for point in result.history}
    seconds = round(time.process_time() - began, 2)
    return {**row, **curve, "test_perplexity": round(result.test.perplexity, 5), "cpu_seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--table", type=Path, default=TABLE)
    args = parser.parse_args()
    done = set()
    if args.table.is_file():
        with args.table.open(newline="") as file:
            done = {tuple(str(row[name]) for name in SHAPE) for row in csv.DictReader(file)}
    else:
        args.table.parent.mkdir(exist_ok=True)
        args.table.write_text(",".join(COLUMNS) + "\n")

    def key(shape: dict[str, Any]) -> tuple[str, ...]:
        _, train = resolve(
            {name: value for name, value in shape.items() if name != "grid"} | {"recipe": WARM_UP_RECIPE}
        )
        return tuple(str({**shape, "learning_rate": train.learning_rate}[name]) for name in SHAPE)

    waiting = [shape for shape in shapes() if key(shape) not in done]
    sys.stdout.write(f"{len(waiting)} of {len(shapes())} trainings to record\n")
    with multiprocessing.get_context("spawn").Pool(args.workers) as pool, args.table.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        for count, row in enumerate(pool.imap_unordered(record, waiting), 1):
            writer.writerow(row)
            file.flush()
            sys.stdout.write(f"{count}/{len(waiting)} {row}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
