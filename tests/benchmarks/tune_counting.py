"""Tunes the n-grams' gate: settings drawn at random, scored on the validation texts of all tuning texts.

    python -m tests.benchmarks.tune_counting FOLDER
    python -m tests.benchmarks.tune_counting --table

FOLDER has the texts of texts.py. Appends the rows of texts that docs/data/counting_trials.csv lacks: trial 0 has the
settings of before, the next 24 are drawn from RANGES with SEED, and the last are BY_HAND, to find what the best one can
do without. Nothing here reads a test text.

``symbols`` has no effect: in counting_trials_last_character.csv, the gate saw the last character as well, by an input
for each of so many characters and one for all others. Without, it is 0.05 and 0.07 % better (29 and 0, 27 and 26).
``--table`` prints the recorded trials by the mean over the texts of the logarithm of validation perplexity, as a
difference to trial 0 in percent, with the text that gains least.
"""

import argparse
import csv
import random
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import exp, log
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

from torch import Tensor

from models import gated_ngrams
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, OrderGate, Sample, fit_gate, gate_letters, sample_of
from models.ngram import KneserNey
from pipeline.text.corpus import Corpus
from tests.benchmarks.tune_recipe import TUNING, corpus_of
from tests.figures import DOCS, read_csv

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
Fit = Callable[[Settings], NGramModel]


def trials() -> Iterator[Settings]:
    draw = random.Random(SEED)
    yield BEFORE
    for _ in range(TRIALS):
        yield {name: drawn(draw, values) for name, values in RANGES.items()}
    yield from ({name: settings[name] for name in BEFORE} for settings in BY_HAND)


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


def prepared(corpus: Corpus) -> Fit:
    """What fits the n-grams of a text with settings; the evidence about the text is computed once."""
    text, vocabulary = corpus.baseline_text("stream"), corpus.vocabulary
    tables = NGramTables(KneserNey(text, len(vocabulary), LONGEST))
    sample, letters = sample_of(text, tables), gate_letters(text, vocabulary.letters)
    return lambda settings: NGramModel(tables, gate_with(settings, sample, letters))


def gate_with(settings: Settings, sample: Sample, letters: Tensor) -> OrderGate:
    """The gate that is trained with these settings in place of the program's constants."""
    with patch.dict(vars(gated_ngrams), {name: value for name, value in settings.items() if name != "SYMBOLS"}):
        return fit_gate(sample, letters)


def rows(name: str, folder: Path, trials: Iterable[Settings], prepare: Callable[[Corpus], Fit]) -> Iterator[list[Any]]:
    """The rows of a text: the last column is the most memory that the process has had."""
    corpus = corpus_of(name, folder)
    fit, val = prepare(corpus), corpus.split("stream", "val")
    for number, settings in enumerate(trials):
        began = time.process_time()
        model = fit(settings)
        seconds, mib = time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        found = f"{exp(model.calibrate(val)):.5f}", f"{seconds:.1f}", mib
        yield [number, int(0 < number <= TRIALS), name, *settings.values(), *found]


def main(name: str, trials: Sequence[Settings], prepare: Callable[[Corpus], Fit], about: str | None) -> None:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        table(name)
        return
    done = {row["text"] for row in read_csv(name)}
    for text in TUNING:
        if text not in done:
            found = [*rows(text, options.folder, trials, prepare)]
            with (DOCS / "data" / name).open("a") as file:
                csv.writer(file, lineterminator="\n").writerows(found)


if __name__ == "__main__":
    main("counting_trials.csv", [*trials()], prepared, __doc__)
