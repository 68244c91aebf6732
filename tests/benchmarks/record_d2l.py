"""Records what d2l 1.0.3 itself makes of the report's configurations: pipeline/data/d2l_curves.csv.

The bands of ``reproduce --check`` are drawn from it. Each row is one training from its own seed, in fp32 on one thread:
the book's perplexities (means over the batches of exp of the batch's loss) after each epoch. Hours of one core; it may
be stopped and started again, and several may run side by side on different ``--only``.

    pip install --no-deps d2l==1.0.3
    TMLM_DATA_DIR=FOLDER python -m tests.benchmarks.record_d2l --only 'gru-scratch-1x*' --seeds 5
"""

import argparse
import csv
import fcntl
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

import torch

from pipeline.config import CorpusConfig, resolve
from pipeline.corpus import load_corpus
from tests.benchmarks.d2l_twin import Curves, Data, Trainer, build

DATA = Path(__file__).parents[2] / "pipeline" / "data"
TABLE = DATA / "d2l_curves.csv"
COLUMNS = ("id", "seed", "epochs", "cpu_seconds", "train_perplexities", "val_perplexities")


def configurations() -> list[dict[str, str]]:
    """The rows of the report's own table."""
    with (DATA / "reported.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def recorded() -> set[tuple[str, int]]:
    """The trainings that the table has."""
    if not TABLE.exists():
        return set()
    with TABLE.open(newline="") as file:
        return {(row["id"], int(row["seed"])) for row in csv.DictReader(file)}


def keep(row: dict[str, object]) -> None:
    """Add a row; other processes may be adding theirs."""
    with TABLE.open("a", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        writer.writerow(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["*"], help="ids or globs")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="fewer than the protocol's")
    options = parser.parse_args()
    torch.set_num_threads(1)
    corpus = load_corpus(CorpusConfig("time-machine"))
    data = Data(corpus)
    for seed in range(options.seeds):
        for row in configurations():
            if (row["id"], seed) in recorded() or not any(fnmatch(row["id"], each) for each in options.only):
                continue
            given = {name: row[name] for name in ("implementation", "cell")}
            sizes = {name: int(row[name]) for name in ("num_layers", "hidden_size")}
            model, train = resolve({"preset": "report", **given, **sizes})
            assert train.epochs is not None
            epochs = min(train.epochs, options.epochs or train.epochs)
            began = time.process_time()
            torch.manual_seed(seed)
            curves = Curves()
            trainer = Trainer(max_epochs=epochs, gradient_clip_val=train.clip)
            trainer.begin(build(model, len(corpus.vocabulary), train.learning_rate, curves), data)
            points = []
            for trainer.epoch in range(epochs):
                trainer.fit_epoch()
                points.append(curves.epoch())
            seconds = time.process_time() - began
            texts = [" ".join(f"{value:.4g}" for value in values) for values in zip(*points, strict=True)]
            keep(dict(zip(COLUMNS, (row["id"], seed, epochs, round(seconds), *texts), strict=True)))
            sys.stdout.write(f"{row['id']} seed {seed}: {points[-1][0]:.2f} / {points[-1][1]:.2f}, {seconds:.0f} s\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
