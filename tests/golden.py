"""The golden figures: what a short training of each preset, cell, kernel and on-top model computes, by processor.

    python -m tests.golden PROCESSOR    # such as epyc-zen5: write this machine's rows of TABLE anew

Do this after RECIPE was raised, and on a processor whose figures are outside of the bands though nothing was changed.
Each case is trained as it is and under each of SETTINGS, with which a processor computes as others do, in a process of
its own, as libraries read them when they are loaded. Rows of other processors stay if they are of the present recipe,
and are missing until somebody has such a processor; before the options of a case are changed, delete its rows.
"""

import csv
import os
import random
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, get_args

import torch

from models.config import ModelConfig
from pipeline.config import RECIPE, CorpusConfig, PresetName, TrainConfig, resolve
from pipeline.support.machine import environment_variables
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.training.experiment import Experiment

TABLE = Path(__file__).parent / "data" / "golden.csv"
LEAST_BAND = 2e-5  # relative: six digits are written
SETTINGS = (
    *("ATEN_CPU_CAPABILITY=default", "ATEN_CPU_CAPABILITY=avx2"),
    *("ONEDNN_MAX_CPU_ISA=SSE41", "ONEDNN_MAX_CPU_ISA=AVX2"),
    *("MKL_CBWR=COMPATIBLE", "TEST_THREADS=4"),
)

BY_THE_BOOK = {"preset": "report", "batch_size": 512, "sequence_length": 8, "epochs": 1}
CELLS = ("rnn", "gru", "lstm")
CASES: dict[str, dict[str, Any]] = {
    **{f"preset {preset}": {"preset": preset, "batch_size": None} for preset in get_args(PresetName)},
    **{cell: {"cell": cell} for cell in CELLS},
    **{f"{cell} from scratch": {"cell": cell, "implementation": "scratch"} for cell in CELLS},
    **{f"{cell} by the book": {"cell": cell, **BY_THE_BOOK} for cell in CELLS},
    **{
        f"{cell} by the book, from scratch": {"cell": cell, **BY_THE_BOOK, "implementation": "scratch"}
        for cell in CELLS
    },
    "deep": {"cell": "gru", "num_layers": 3, "dropout": 0.2, "recurrent_dropout": 0.2, "output_dropout": 0.2},
    "embedded, by SGD": {"embedding_size": 8, "optimizer": "sgd", "learning_rate": 1.0, "schedule": "constant"},
    "learning from counting": {"counting_loss": 0.4},
    "on top of n-grams": {"on_top_of": "ngram", "own_loss": 0.3, "learning_rate": 0.003},
    "on top of 2,000 n-grams": {"on_top_of": "ngram", "ngrams": 2000, "learning_rate": 0.003},
}


def made_up_text(folder: Path) -> Corpus:
    """A text of 20,000 characters of made-up words."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(1, 7))) for _ in range(60)]
    text = folder / "words.txt"
    text.write_text(" ".join(draw.choices(words, k=4200))[:20_000])
    return load_corpus(CorpusConfig(str(text), alphabet="letters"))


def configured(corpus: Corpus, options: Mapping[str, Any]) -> tuple[ModelConfig, TrainConfig]:
    """The configurations of a short training, with TEST_THREADS."""
    threads = int(os.environ.get("TEST_THREADS", "1"))
    short = {"hidden_size": 12, "epochs": 2, "batch_size": 64, "threads": threads}
    given = {**short, "precision": "fp32", "device": "cpu", **options}
    return resolve(given, corpus.train_chars, len(corpus.vocabulary))


def computed(corpus: Corpus, options: Mapping[str, Any]) -> tuple[float, ...]:
    """Perplexities: training in each epoch, validation of the best, test of the network and of it with the n-gram."""
    result = Experiment(corpus, *configured(corpus, options)).run()
    trained = [point.train_perplexity for point in result.history]
    figures: Mapping[str, Any] = result.figures
    return *trained, *(figures[f"{name}_perplexity"] for name in ("val", "test", "mixture_test"))


def recipe(case: str) -> str:
    return str(RECIPE[CASES[case].get("preset", "stream")])


def rows() -> list[dict[str, str]]:
    with TABLE.open(newline="") as file:
        return list(csv.DictReader(file))


def figures_and_band(case: str) -> tuple[tuple[float, ...], float]:
    """The figures of a case in its first row, and its band: twice the largest difference between any two rows.

    The band is three times that difference while all rows are of one processor. The dropout of torch 2.6 draws other
    numbers; cases without rows of it have none.
    """
    drawn = torch.empty(1000).bernoulli_(0.8, generator=torch.Generator().manual_seed(0))
    known = [row for row in rows() if row["case"] == case]
    known = [row for row in known if (row["processor"] == "torch-2.6") == (drawn.sum() == 808)] or known
    recorded = [tuple(map(float, row["figures"].split())) for row in known]
    largest = max(max(figure) / min(figure) - 1 for figure in zip(*recorded, strict=True))
    times = 2 if len({row["processor"] for row in known}) > 1 else 3
    return recorded[0], max(times * largest, LEAST_BAND)


def all_computed(folder: Path) -> dict[str, str]:
    corpus = made_up_text(folder)
    return {case: " ".join(f"{value:.6g}" for value in computed(corpus, options)) for case, options in CASES.items()}


def record(processor: str) -> None:
    table = [row for row in rows() if row["processor"] != processor and row["recipe"] == recipe(row["case"])]
    for setting in ("native", *SETTINGS):
        variables = dict([setting.split("=")]) if setting in SETTINGS else {}
        with (
            tempfile.TemporaryDirectory() as folder,
            environment_variables({"TMLM_CACHE_DIR": folder, **variables}),
            ProcessPoolExecutor(1, get_context("spawn")) as pool,
        ):
            for case, figures in pool.submit(all_computed, Path(folder)).result().items():
                own = {"processor": processor, "setting": setting, "figures": figures}
                table.append({"case": case, "recipe": recipe(case), **own})
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("case", "recipe", "processor", "setting", "figures"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(table, key=lambda row: list(CASES).index(row["case"])))


if __name__ == "__main__":
    record(*sys.argv[1:])
