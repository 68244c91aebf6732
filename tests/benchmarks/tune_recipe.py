"""Trains presets on the tuning texts and records the curves; nothing here reads a test figure of a network.

    python -m tests.benchmarks.tune_recipe FOLDER --presets stream best --seeds 0 1 [--options JSON]
    python -m tests.benchmarks.tune_recipe --table

FOLDER has the texts of texts.py and keeps the checkpoints, so that the program may be stopped and started again. Each
training is a row of docs/data/recipe_trainings.csv; those that have a row are not repeated. The stages: ``before`` is
recipe 6 and ``after`` recipe 7; ``screen`` and ``second`` have the candidates for recipe 7, with the n-grams' gate of
recipe 7, by the program of f28073f7, which drew 3 to 6 and stopped --preset best after 20 passes for ``screen``.
``--table`` prints the mean over texts and presets of the logarithm of validation perplexity, in percent, of the worse
of two seeds; what would be chosen without each text; and the table of results.md, whose picture it draws.

Candidate 9, whose constants recipe 7 has, takes the learning rates of the best of the first eight, 6, and a lower clip,
as 6 jumped: in one training on the Ukrainian guide, the norm of the gradient went from 0.1 to 800 in one step of pass
15 and to 76,000 in the next ones. That pass again, from its first step, has a training perplexity of 4.41 with clip 1,
3.93 with 0.473, 4.73 with 0.2, 3.13 with 0.1, 3.11 with 0.05; the pass before had 3.17.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import product
from math import log
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any, NamedTuple

import torch

from pipeline.config import RECIPE, CorpusConfig, PresetName, resolve
from pipeline.pages.plotting import TRAIN, VAL, add_axes, legend_below, new_figure, png, scatter
from pipeline.support.machine import keep_freed_memory, tune_process
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.training.experiment import Experiment
from tests.figures import DOCS, read_csv


class Job(NamedTuple):
    text: str
    preset: PresetName
    seed: int
    options: str


TRAININGS = DOCS / "data" / "recipe_trainings.csv"
CHOSEN = "learning_rate", "clip", "counting_loss", "recurrent_dropout", "output_dropout", "batch_size"
OF_TEXT, FOUND = ("recipe", "symbols", "train_chars"), ("precision", "epochs", "best_epoch", "val_perplexity")
CURVES = "train_perplexities", "val_perplexities"
TUNING = {row["name"]: row["text"] for row in read_csv("texts.csv") if row["role"] == "tuning"}
RECIPES = "recipe 6", "recipe 7"
RECIPE_OF = {("before", "0"): RECIPES[0], ("second", "9"): RECIPES[1], ("after", "0"): RECIPES[1]}
COLUMNS = "stage", "candidate", *Job._fields, "constants", *OF_TEXT, *CHOSEN, *FOUND, "cpu_seconds", *CURVES


def corpus_of(name: str, folder: Path) -> Corpus:
    """A text of texts.csv, which is in the folder unless the lab knows it."""
    text = next(row for row in read_csv("texts.csv") if row["name"] == name)
    options: Any = {"alphabet": text["alphabet"]}
    return load_corpus(CorpusConfig(str(folder / f"{name}.txt") if text["package"] else name, **options))


def train(job: Job, folder: Path) -> dict[str, Any]:
    """The row of a training."""
    corpus = corpus_of(job.text, folder)
    symbols, options = len(corpus.vocabulary), json.loads(job.options)
    model, config = resolve({**options, "preset": job.preset, "seed": job.seed}, corpus.train_chars, symbols)
    place = folder / "checkpoints" / "-".join(map(str, job)).replace("/", "_").replace('"', "")
    place.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    experiment = Experiment(corpus, model, config, place)
    training = experiment.training
    tune_process()
    keep_freed_memory()
    torch.set_num_threads(1)
    experiment.on_start(training)
    while not training.done:
        experiment.on_epoch(training, training.run_epoch(experiment))
    assert training.best is not None
    return {
        "stage": "after",
        "candidate": 0,
        **job._asdict(),
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


def complete(jobs: Sequence[Job], folder: Path) -> None:
    """Train what has no row yet, and append the rows."""
    rows = [row for row in read_csv(TRAININGS.name) if row["stage"] == "after"]
    done = {tuple(row[name] for name in Job._fields) for row in rows}
    for job in jobs:
        if tuple(map(str, job)) not in done:
            row = train(job, folder)
            with TRAININGS.open("a") as file:
                csv.DictWriter(file, COLUMNS, lineterminator="\n").writerow(row)


def perplexities() -> dict[str, dict[tuple[str, str], list[float]]]:
    """The best validation perplexities of whole trainings: {candidate or recipe: {(text, preset): by seed}}."""
    found: dict[str, dict[tuple[str, str], dict[str, float]]] = {}
    for row in read_csv(TRAININGS.name):
        is_whole = (row["stage"], row["preset"]) != ("screen", "best")
        if is_whole and row["options"] == "{}" and row["text"] in TUNING:
            name = RECIPE_OF.get((row["stage"], row["candidate"]), f"candidate {row['candidate']}")
            seeds = found.setdefault(name, {}).setdefault((row["text"], row["preset"]), {})
            seeds[row["seed"]] = float(row["val_perplexity"])
    return {name: {key: [by[seed] for seed in sorted(by)] for key, by in of.items()} for name, of in found.items()}


def choice() -> Iterator[str]:
    """The means of those that went to all texts, and what would be chosen without each text."""
    worse = {
        name: {key: 100 * log(max(seeds[:2])) for key, seeds in of_texts.items()}
        for name, of_texts in perplexities().items()
        if len(of_texts) == 2 * len(TUNING)
    }
    for name, found in worse.items():
        yield f"{name}: {fmean(found.values()):.2f}"
    for text in TUNING:
        on_text = [fmean(value for key, value in found.items() if key[0] == text) for found in worse.values()]
        on_others = [fmean(value for key, value in found.items() if key[0] != text) for found in worse.values()]
        behind = on_text[on_others.index(min(on_others))] - min(on_text)
        yield f"the best without {text} is {behind:.2f} % behind the best on it"


def recipe_table() -> Iterator[str]:
    """The rows of results.md's table of recipes: mean, number of seeds, and the highest seed above the lowest.

    The last row has the geometric mean of the ratios over the texts.
    """
    found, ratios = perplexities(), dict[str, list[float]](best=[], stream=[])
    for text in sorted(TUNING):
        cells = [TUNING[text]]
        for preset, of_texts in ratios.items():
            both = [found[recipe][text, preset] for recipe in RECIPES]
            cells += [f"{fmean(each):.3f} ({len(each)}; {100 * (max(each) / min(each) - 1):.1f} %)" for each in both]
            of_texts.append(fmean(both[1]) / fmean(both[0]))
            cells.append(f"{100 * (of_texts[-1] - 1):+.1f} %")
        yield f"| {' | '.join(cells)} |"
    best, stream = (f"{100 * (geometric_mean(of_texts) - 1):+.1f} %" for of_texts in ratios.values())
    yield f"| mean |  |  | {best} |  |  | {stream} |"


def seeds_picture() -> bytes:
    """Each seed of the tuning texts, in percent above the lowest of its text and recipe."""
    figure, names, found = new_figure(8, 4), sorted(TUNING, reverse=True), perplexities()
    panels = [add_axes(figure, f"--preset {preset}", place) for preset, place in (("stream", 121), ("best", 122))]
    for recipe, colour, shift in zip(RECIPES, (VAL, TRAIN), (0.15, -0.15), strict=True):
        for axes, preset in zip(panels, ("stream", "best"), strict=True):
            by_text = [found[recipe][text, preset] for text in names]
            places = [(100 * (each / min(seeds) - 1), y + shift) for y, seeds in enumerate(by_text) for each in seeds]
            scatter(axes, places, "o", color=colour, alpha=0.6, label=recipe)
            axes.set(xlabel="% above the lowest seed", yticks=range(len(names)), yticklabels=names)
    panels[1].set_yticklabels([])
    legend_below(figure, panels, 2)
    return png(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--texts", nargs="+", default=TUNING)
    parser.add_argument("--presets", nargs="+", default=["stream", "best"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--options", default="{}", help="of each training, as JSON")
    options = parser.parse_args()
    each = product(options.seeds, options.presets, options.texts)
    jobs = [Job(text, preset, seed, options.options) for seed, preset, text in each]
    if options.table:
        (DOCS / "seeds.png").write_bytes(seeds_picture())
        sys.stdout.write("\n".join([*choice(), "", *recipe_table(), ""]))
    else:
        complete(jobs, options.folder)


if __name__ == "__main__":
    main()
