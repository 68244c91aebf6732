"""Tunes the n-grams' gate: settings drawn at random, scored on the validation texts of all tuning texts.

    python -m tests.benchmarks.tune_counting FOLDER [--texts faq-de ...]

FOLDER has the texts of texts.py. Prints the rows of docs/data/counting_trials.csv: trial 0 has the settings of before,
the others are drawn from RANGES with SEED. The evidence about a text is computed once. Nothing here reads a test text.
"""

import argparse
import csv
import random
import sys
import time
from collections.abc import Iterator
from math import exp, log
from pathlib import Path

from models import gated_ngrams
from models.gated_ngrams import BATCH, LONGEST, NGramModel, NGramTables, fit_gate, gate_symbols, sample_of
from models.ngram import KneserNey
from tests.benchmarks.tune_recipe import corpus_of
from tests.figures import read_csv

SEED, TRIALS = 20261202, 24
BEFORE = {"PEAK_RATE": 0.01, "PASSES": 4, "GATE_UNITS": 32, "WEIGHT_DECAY": 0.01, "SYMBOLS": 48, "MOST_STEPS": 600}
RANGES: dict[str, tuple[float, float] | list[int]] = {  # a pair of floats is drawn from log-uniformly
    "PEAK_RATE": (0.002, 0.03),
    "PASSES": [2, 4, 6, 8, 10, 12],
    "GATE_UNITS": [16, 24, 32, 48, 64],
    "WEIGHT_DECAY": (0.0001, 1.0),
    "SYMBOLS": [12, 24, 36, 48],
    "MOST_STEPS": [600, 1200, 1800, 2400],
}

Settings = dict[str, float]


def trials() -> Iterator[Settings]:
    draw = random.Random(SEED)
    yield BEFORE
    for _ in range(TRIALS):
        yield {name: drawn(draw, values) for name, values in RANGES.items()}


def drawn(draw: random.Random, values: tuple[float, float] | list[int]) -> float:
    if isinstance(values, list):
        return draw.choice(values)
    return float(f"{exp(draw.uniform(*map(log, values))):.3g}")


def main() -> None:
    tuning = [row["name"] for row in read_csv("texts.csv") if row["role"] == "tuning"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", nargs="+", default=tuning)
    options = parser.parse_args()
    columns = (
        "trial",
        "is_drawn",
        "text",
        *(name.lower() for name in BEFORE),
        "steps",
        "val_perplexity",
        "cpu_seconds",
    )
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(columns)
    for name in options.texts:
        corpus = corpus_of(name, options.folder)
        text, val = corpus.baseline_text("stream"), corpus.split("stream", "val")
        tables = NGramTables(KneserNey(text, len(corpus.vocabulary), LONGEST))
        sample, letters = sample_of(text, tables), [symbol.isalpha() for symbol in corpus.vocabulary.symbols]
        for number, settings in enumerate(trials()):
            for constant, value in settings.items():
                setattr(gated_ngrams, constant, value)
            began = time.process_time()
            model = NGramModel(tables, fit_gate(sample, gate_symbols(text, letters)))
            seconds = time.process_time() - began
            steps = min(settings["MOST_STEPS"], settings["PASSES"] * -(-len(sample.targets) // BATCH))
            found = (steps, f"{exp(model.calibrate(val)):.5f}", f"{seconds:.1f}")
            rows.writerow([number, int(number > 0), name, *settings.values(), *found])
            sys.stdout.flush()


if __name__ == "__main__":
    main()
