"""Tunes the n-grams' gate: settings drawn at random, scored on the validation texts of all tuning texts.

    python -m tests.benchmarks.tune_counting FOLDER [--texts faq-de ...]
    python -m tests.benchmarks.tune_counting --table

FOLDER has the texts of texts.py. Prints the rows of docs/data/counting_trials.csv: trial 0 has the settings of before,
the next 24 are drawn from RANGES with SEED, and the last are BY_HAND, to find what the best one can do without. The
evidence about a text is computed once. Nothing here reads a test text.

``symbols`` has no effect: in counting_trials_last_character.csv, the gate saw the last character as well, by an input
for each of so many characters and one for all others. Without, it is 0.05 and 0.07 % better (29 and 0, 27 and 26).
``--table`` prints the recorded trials by the mean over the texts of the logarithm of validation perplexity, as a
difference to trial 0 in percent, with the text that gains least.
"""

import argparse
import csv
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from math import exp, log
from pathlib import Path
from statistics import fmean

from models import gated_ngrams
from models.gated_ngrams import BATCH, LONGEST, NGramModel, NGramTables, fit_gate, gate_letters, sample_of
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

WITHOUT = {"PEAK_RATE": 0.0063, "PASSES": 8, "WEIGHT_DECAY": 0.05, "SYMBOLS": 0, "MOST_STEPS": 2400}
BY_HAND = [
    {**WITHOUT, "GATE_UNITS": 64},
    {**WITHOUT, "GATE_UNITS": 32, "SYMBOLS": 24},
    {**WITHOUT, "GATE_UNITS": 32},
    {**WITHOUT, "GATE_UNITS": 32, "MOST_STEPS": 1200},
    {**BEFORE, "SYMBOLS": 0},
]

Settings = dict[str, float]


def trials() -> Iterator[Settings]:
    draw = random.Random(SEED)
    yield BEFORE
    for _ in range(TRIALS):
        yield {name: drawn(draw, values) for name, values in RANGES.items()}
    yield from BY_HAND


def drawn(draw: random.Random, values: tuple[float, float] | list[int]) -> float:
    if isinstance(values, list):
        return draw.choice(values)
    return float(f"{exp(draw.uniform(*map(log, values))):.3g}")


def table(name: str) -> None:
    logs: dict[str, dict[str, float]] = {}
    for row in read_csv(name):
        logs.setdefault(row["trial"], {})[row["text"]] = 100 * log(float(row["val_perplexity"]))
    differences = {trial: [found[text] - logs["0"][text] for text in found] for trial, found in logs.items()}
    for trial, found in sorted(differences.items(), key=lambda entry: fmean(entry[1])):
        sys.stdout.write(f"{trial:>2} {fmean(found):+.3f} % (at most {max(found):+.3f} %)\n")


def run(texts: Sequence[str], folder: Path) -> None:
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["trial", "is_drawn", "text", *map(str.lower, BEFORE), "steps", "val_perplexity", "cpu_seconds"])
    for name in texts:
        corpus = corpus_of(name, folder)
        text, val = corpus.baseline_text("stream"), corpus.split("stream", "val")
        tables = NGramTables(KneserNey(text, len(corpus.vocabulary), LONGEST))
        sample, letters = sample_of(text, tables), gate_letters(text, corpus.vocabulary.letters)
        for number, settings in enumerate(trials()):
            for constant in settings.keys() - {"SYMBOLS"}:
                setattr(gated_ngrams, constant, settings[constant])
            began = time.process_time()
            model = NGramModel(tables, fit_gate(sample, letters))
            seconds = time.process_time() - began
            steps = min(settings["MOST_STEPS"], settings["PASSES"] * -(-len(sample.targets) // BATCH))
            found = (steps, f"{exp(model.calibrate(val)):.5f}", f"{seconds:.1f}")
            rows.writerow(
                [number, int(0 < number <= TRIALS), name, *(settings[constant] for constant in BEFORE), *found]
            )
            sys.stdout.flush()


def main(
    tune: Callable[[Sequence[str], Path], None] = run,
    trials_file: str = "counting_trials.csv",
    about: str | None = None,
) -> None:
    tuning = [row["name"] for row in read_csv("texts.csv") if row["role"] == "tuning"]
    about = about or __doc__
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--texts", nargs="+", default=tuning)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        table(trials_file)
    else:
        tune(options.texts, options.folder)


if __name__ == "__main__":
    main()
