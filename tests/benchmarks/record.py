"""Records the trainings behind the figures of docs by the program's own commands, and writes docs/data.

    python -m tests.benchmarks.record FOLDER
    python -m tests.benchmarks.record FOLDER --rows --cpu 'AMD EPYC (Zen 5)'

FOLDER has what each command printed; the first runs those that are missing, in the store that MLFLOW_TRACKING_URI
names, and prints the CPU hours left before each. It may be stopped and started again. The second writes what is there
to runs.csv, course.csv, ngrams.csv, answer.json, search.json, search.csv and curve.csv, in place of older rows.
"""

import argparse
import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from math import exp
from pathlib import Path
from typing import Any

import torch

from models.complexity import ngram_macs_per_char
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, fit_gate, sample_of
from models.ngram import ngrams_of
from models.packing import packed_ngrams
from models.pruning import pruned
from pipeline.config import RECIPE, CorpusConfig, resolve
from pipeline.course.bands import ROWS, options_of
from pipeline.text.corpus import load_corpus
from pipeline.text.ngrams import letters_of_gate
from pipeline.training.experiment import Experiment
from tests.benchmarks.word_ngrams import word_ngrams
from tests.figures import DOCS, read_csv

ROOT, DATA = DOCS.parent, DOCS / "data"
SHAKESPEARE = "--corpus tiny-shakespeare --alphabet raw"
ON_TOP = "--on-top-of ngram"
COURSE = {  # options -> exercise
    "--hidden-size 8 --budget-chars 3000000": "2",
    "--hidden-size 32 --budget-chars 3000000": "2",
    "--hidden-size 128 --budget-chars 3000000": "2",
    "--num-layers 2 --hidden-size 74 --budget-chars 3000000": "3",
    "--num-layers 3 --hidden-size 57 --budget-chars 3000000": "3",
    f"--hidden-size 64 {ON_TOP} --budget-chars 3000000": "4",
}
QUICK = [f"tmlm search --quick --seed {seed} --study-name quick-{seed}" for seed in range(5)]
ANSWER, SEARCH = "tmlm answer --seeds 5", "tmlm search --trials 16"
TRAININGS = {  # -> seeds, CPU hours of them on an AMD EPYC (Zen 5)
    **{f"tmlm train {options}": (5, 0.03) for options in COURSE},
    f"tmlm train --hidden-size 8 {ON_TOP} --ngrams 7100 --budget-chars 3000000": (3, 0.02),
    f"tmlm train --hidden-size 64 {ON_TOP} --ngrams 30000 --budget-chars 3000000": (3, 0.03),
    f"tmlm train --hidden-size 48 {ON_TOP} --ngrams 35000 --budget-chars 3000000": (3, 0.03),
    f"tmlm train --cell gru --hidden-size 54 {ON_TOP} --ngrams 35000 --budget-chars 3000000": (3, 0.04),
    f"tmlm train --hidden-size 128 {ON_TOP} --ngrams 200000 --budget-chars 4000000": (3, 0.05),
    "tmlm train --cell gru --hidden-size 62": (3, 0.06),
    "tmlm train --hidden-size 52": (3, 0.05),
    f"tmlm train {SHAKESPEARE}": (3, 0.16),
    f"tmlm train {SHAKESPEARE} {ON_TOP}": (3, 0.16),
    "tmlm train --preset best": (5, 0.5),
}
COMMANDS = {  # -> CPU hours
    "tmlm prepare": 0.01,
    f"tmlm prepare {SHAKESPEARE}": 0.02,
    **{f"{command} --seeds {seeds}": hours for command, (seeds, hours) in TRAININGS.items()},
    **dict.fromkeys(QUICK, 0.02),
    ANSWER: 1.0,
    SEARCH: 0.9,
}
OF_ANSWER = {  # network -> command of the same training
    "LSTM 1x192": "tmlm train",
    **{f"LSTM 1x{size}": f"tmlm train --hidden-size {size}" for size in (16, 32, 64, 128)},
    "LSTM 1x8 on top": f"tmlm train --hidden-size 8 {ON_TOP} --budget-chars 1000000",
    "LSTM 1x32 on top": f"tmlm train --hidden-size 32 {ON_TOP} --budget-chars 2000000",
    "LSTM 1x192 on top": f"tmlm train {ON_TOP}",
}
ADAPTIVE = "LSTM 1x192", "LSTM 1x192 on top"  # networks of the answer that are also evaluated with --adapt
ADAPTIVE_SEEDS = 3
PRUNED = 7_887, 43_571, 307_259  # n-grams with a gate that fill 20, 100 and 500 kB to 98.5 % or more
COPIED = "macs_per_char", "stored_numbers", "weight_bits", "shipped_bytes"
PERPLEXITIES = "val", "test", "mixture_val", "mixture_test", "ngram_val"


def place(folder: Path, command: str) -> Path:
    return folder / f"{command.removeprefix('tmlm ').replace(' ', '_').replace('/', '_')}.json"


def printed(folder: Path, command: str) -> dict[str, Any]:
    """What a command printed; nothing if it has not been run."""
    file = place(folder, command)
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def complete(folder: Path, commands: Mapping[str, float]) -> None:
    """Run the commands whose output the folder lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    for command in commands:
        left = {each: hours for each, hours in commands.items() if not place(folder, each).exists()}
        if command in left:
            sys.stderr.write(f"{sum(left.values()):.1f} CPU hours left; {command}\n")
            found = subprocess.run(
                [sys.executable, "-m", "pipeline", *shlex.split(command)[1:], "--json"],
                cwd=folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                check=True,
            )
            place(folder, command).write_bytes(found.stdout)


def further(folder: Path) -> dict[str, float]:
    """The commands that name a run of the answer, and the export of the search."""
    runs = {(each["network"], each["seed"]): each["run_id"] for each in printed(folder, ANSWER)["trainings"]}
    adaptive = (runs[network, seed] for network in ADAPTIVE for seed in range(ADAPTIVE_SEEDS))
    return {
        **{f"tmlm evaluate {run} --adapt": 0.01 for run in adaptive},
        f"tmlm export {runs['LSTM 1x192', 0]} --output {folder / 'default'}": 0.0,
        f"tmlm export search-time-machine --output {folder / 'search'}": 0.0,
    }


def seconds_of_epoch(command: str, folder: Path) -> float:
    """CPU seconds of the second epoch of a training, on one thread, with its validation; kept in the folder.

    Those that a training records are elapsed, and depend on what else the machine does.
    """
    file = folder / "seconds.json"
    known: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    if command not in known:
        options = options_of(command.removeprefix("tmlm train "))
        corpus = load_corpus(CorpusConfig(options.pop("corpus", "time-machine"), options.pop("alphabet", "letters")))
        torch.set_num_threads(1)
        experiment = Experiment(corpus, *resolve(options, corpus.train_chars, len(corpus.vocabulary)))
        for _ in range(2):
            began = time.process_time()
            experiment.training.run_epoch(experiment)
            known[command] = time.process_time() - began
        file.write_text(json.dumps(known, indent=1))
    return known[command]


def trainings(folder: Path, cpu: str) -> Iterator[dict[str, Any]]:
    """The rows of runs.csv."""
    answer = printed(folder, ANSWER).get("trainings", [])
    found = [(OF_ANSWER[each["network"]], each) for each in answer if each["network"] in OF_ANSWER]
    for command, (seeds, _) in TRAININGS.items():
        found += [(command, each) for each in printed(folder, f"{command} --seeds {seeds}").get("trainings", [])]
    for command, each in found:
        adaptive = printed(folder, f"tmlm evaluate {each['run_id']} --adapt")
        yield {
            "command": command,
            "seed": each["seed"],
            "recipe": RECIPE["stream"],
            **{f"{name}_perplexity": f"{each[f'{name}_perplexity']:.5f}" for name in PERPLEXITIES},
            "adaptive_test_perplexity": f"{adaptive['adaptive_perplexity']:.5f}" if adaptive else "",
            "adaptive_ms_per_char": f"{adaptive['adaptive_ms_per_char']:.3f}" if adaptive else "",
            "best_epoch": each["best_epoch"],
            "epochs": each["epochs"],
            "cpu_seconds": f"{each['epochs'] * seconds_of_epoch(command, folder):.1f}",
            "cpu_seconds_of": "epochs, each as long as the second",
            "cpu": cpu,
            **{name: each[name] for name in COPIED},
        }


def course(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of course.csv that depend on the recipe."""
    for options, exercise in COURSE.items():
        row = {"exercise": exercise, "options": options, "metric": "test_perplexity"}
        for each in printed(folder, f"tmlm train {options} --seeds 5").get("trainings", []):
            yield {**row, "seed": each["seed"], "value": f"{each['test_perplexity']:.4f}"}
    counted = f"{printed(folder, 'tmlm prepare')['ngram_test_perplexity']:.4f}"
    yield {**row, "metric": "ngram_test_perplexity", "seed": 0, "value": counted}  # of the fourth exercise
    for seed, command in enumerate(QUICK):
        best = min(member["val_perplexity"] for member in printed(folder, command)["front"])
        row = {"exercise": "5", "options": "--quick", "metric": "val_perplexity"}
        yield {**row, "seed": seed, "value": f"{best:.4f}"}


def ngrams() -> Iterator[dict[str, Any]]:
    """The rows of ngrams.csv that depend on the recipe, with their bytes and the CPU seconds of fitting."""
    of_texts = {"": CorpusConfig(), ", Tiny Shakespeare": CorpusConfig("tiny-shakespeare", "raw")}
    for text, config in of_texts.items():
        corpus = load_corpus(config)
        symbols, train, val = len(corpus.vocabulary), corpus.baseline_text("stream"), corpus.split("stream", "val")
        for most in (0,) if text else (0, *PRUNED):
            began = time.process_time()
            tables = NGramTables(pruned(ngrams_of(train, symbols, LONGEST), symbols, most))
            model = NGramModel(
                tables, fit_gate(sample_of(train, tables, most), letters_of_gate(corpus, "stream", most))
            )
            nats = {"val": model.calibrate(val)}
            seconds = time.process_time() - began
            nats["test"] = float(model.costs(corpus.split("stream", "test")).mean())
            yield {
                "model": f"n-grams of orders 1 to 10{f', pruned to {most:,}' if most else text}",
                "stored_numbers": model.stored_numbers,
                "macs_per_char": "" if text else ngram_macs_per_char(model),
                **{f"{split}_perplexity": f"{exp(of_split):.4f}" for split, of_split in nats.items()},
                "shipped_bytes": len(packed_ngrams(model)),
                "cpu_seconds": f"{seconds:.2f}",
            }


def with_words() -> Iterator[dict[str, Any]]:
    """The row of ngrams.csv of word_ngrams.py."""
    corpus = load_corpus(CorpusConfig())
    model = word_ngrams(corpus)
    costs = {split: float(model.costs(corpus.split("stream", split)).mean()) for split in ("val", "test")}
    yield {
        "model": "n-grams of orders 1 to 10, with word and skip contexts",
        "stored_numbers": model.stored_numbers,
        **{f"{split}_perplexity": f"{exp(nats):.4f}" for split, nats in costs.items()},
    }


def replace(name: str, rows: Iterable[Mapping[str, Any]], key: tuple[str, ...]) -> None:
    """Write rows to a table of docs/data: in place of those with the same key, others at the end."""
    table = {tuple(row[name] for name in key): row for row in read_csv(name)}
    columns = list(next(iter(table.values())))
    for row in rows:
        cells = {column: str(row.get(column, "")) for column in columns}
        table[tuple(cells[name] for name in key)] = cells
    with (DATA / name).open("w") as file:
        out = csv.DictWriter(file, columns, lineterminator="\n")
        out.writeheader()
        out.writerows(table.values())


def write_rows(folder: Path, cpu: str) -> None:
    """Write the rows of what has been run, on this processor."""
    replace("runs.csv", trainings(folder, cpu), ("command", "seed", "recipe", "change"))
    replace(str(ROWS), course(folder), ("exercise", "options", "metric", "seed", "instructions"))
    replace("ngrams.csv", [*ngrams(), *with_words()], ("model",))
    for command, name in ((ANSWER, "answer.json"), (SEARCH, "search.json")):
        if result := printed(folder, command):
            result.pop("storage", None)
            (DATA / name).write_text(json.dumps(result, indent=1) + "\n")
    for exported, name in (("search/runs.csv", "search.csv"), ("default/curves.csv", "curve.csv")):
        if (folder / exported).exists():
            shutil.copyfile(folder / exported, DATA / name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", action="store_true", help="write docs/data")
    parser.add_argument("--cpu", help="the processor on which the commands ran, for --rows")
    options = parser.parse_args()
    if options.rows and not options.cpu:
        parser.error("--rows needs --cpu, the processor on which the commands ran")
    if options.rows:
        write_rows(options.folder, options.cpu)
    else:
        complete(options.folder, COMMANDS)
        complete(options.folder, further(options.folder))


if __name__ == "__main__":
    main()
