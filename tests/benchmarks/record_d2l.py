"""Records what d2l 1.0.3 itself makes of the report's configurations: pipeline/report/data/d2l_curves.csv.

The bands of ``reproduce --check`` are drawn from it. Each row is one training from its own seed, in fp32 on one thread:
the book's perplexities (means over the batches of exp of the batch's loss) after each epoch. Hours of one core; it may
be stopped and started again, and several may run side by side on different ``--only``. A training of more epochs takes
the place of a shorter one of the same seed, and never the other way round, so ``--epochs`` may be raised later.

    pip install --no-deps d2l==1.0.3
    export TMLM_DATA_DIR=FOLDER

These commands make the rows that are there, five seeds of each of the fifteen configurations below 1,024 units, some of
them by fewer epochs than the protocol has (a band ends with the shortest of its five):

    python -m tests.benchmarks.record_d2l --only '*x8' '*1x32' '*2x32' '*-scratch-1x128' rnn-torch-1x128
    python -m tests.benchmarks.record_d2l --only lstm-torch-1x128 --seeds 1
    python -m tests.benchmarks.record_d2l --only '[gl]*-torch-1x128' --seeds 2 --epochs 25
    python -m tests.benchmarks.record_d2l --only '[gl]*-torch-1x128' --epochs 15
    python -m tests.benchmarks.record_d2l --only '*-torch-2x128' --epochs 8
    python -m tests.benchmarks.record_d2l --only '*-torch-8x32' --epochs 6
"""

import argparse
import csv
import io
import sys
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

import torch
from filelock import FileLock

from models.config import ModelConfig
from pipeline.config import CorpusConfig, TrainConfig, resolve
from pipeline.support.files import ROOT, write_atomically
from pipeline.text.corpus import load_corpus

DATA = Path(__file__).parents[2] / "pipeline" / "report" / "data"
TABLE = DATA / "d2l_curves.csv"
LOCK = ROOT / "mlruns" / "d2l_curves.lock"  # not beside the table: it stays, and git would list it
COLUMNS = ("id", "seed", "epochs", "cpu_seconds", "train_perplexities", "val_perplexities")


def rows() -> dict[tuple[str, int], dict[str, str]]:
    """The table's rows, by id and seed."""
    if not TABLE.exists():
        return {}
    with TABLE.open(newline="") as file:
        return {(row["id"], int(row["seed"])): row for row in csv.DictReader(file)}


def keep(row: dict[str, str]) -> None:
    """Add a training in its place, unless there is one of the same seed that is as long."""
    key = row["id"], int(row["seed"])
    with FileLock(LOCK):
        kept = rows()
        if key in kept and int(kept[key]["epochs"]) >= int(row["epochs"]):
            return
        table = io.StringIO()
        writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(each for _, each in sorted({**kept, key: row}.items()))
        write_atomically(TABLE, table.getvalue().encode())


def asked(words: Sequence[str] | None = None) -> Iterator[tuple[str, int, int, ModelConfig, TrainConfig]]:
    """The trainings that a command line asks for: id, seed, epochs, and how it is trained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["*"], help="ids or globs")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="fewer than the protocol's")
    options = parser.parse_args(words)
    for seed in range(options.seeds):
        for row in csv.DictReader((DATA / "reported.csv").read_text().splitlines()):
            if any(fnmatch(row["id"], each) for each in options.only):
                given = {name: row[name] for name in ("implementation", "cell")}
                sizes = {name: int(row[name]) for name in ("num_layers", "hidden_size")}
                model, train = resolve({"preset": "report", **given, **sizes})
                assert train.epochs is not None
                yield row["id"], seed, min(train.epochs, options.epochs or train.epochs), model, train


def main() -> None:
    trainings = list(asked())
    from tests.benchmarks.d2l_twin import Curves, Data, Trainer, build  # which needs d2l

    torch.set_num_threads(1)
    corpus = load_corpus(CorpusConfig("time-machine"))
    data = Data(corpus)
    for id, seed, epochs, model, train in trainings:
        if int(rows().get((id, seed), {"epochs": 0})["epochs"]) >= epochs:
            continue
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
        keep(dict(zip(COLUMNS, (id, str(seed), str(epochs), str(round(seconds)), *texts), strict=True)))
        sys.stdout.write(f"{id} seed {seed}: {points[-1][0]:.2f} / {points[-1][1]:.2f}, {seconds:.0f} s\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
