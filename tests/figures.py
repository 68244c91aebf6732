"""Draw the pictures of docs/ from docs/data, by the program's own functions: ``python -m tests.figures``."""

import csv
import json
from math import log2
from pathlib import Path

from models.ngram import Baselines, NGramScore
from pipeline import earlier
from pipeline.answer.findings import Findings, MeasuredModel, Rivals
from pipeline.answer.pictures import answer_picture, costs_picture
from pipeline.config import SIZES
from pipeline.search.front import Candidate, Trial, evaluate_front, picks
from pipeline.search.pictures import pareto_front
from pipeline.stages.pictures import perplexity_curves
from pipeline.support.statistics import Estimate, PairedComparison
from pipeline.text.ngrams import PRUNED_SIZES

DOCS = Path(__file__).resolve().parents[1] / "docs"
DEFAULT = "lstm 1x192"


def read_csv(name: str) -> list[dict[str, str]]:
    """The rows of a table of docs/data."""
    with (DOCS / "data" / name).open() as file:
        return list(csv.DictReader(file))


def read_json(name: str) -> dict:
    """A result in docs/data."""
    result: dict = json.loads((DOCS / "data" / name).read_text())
    return result


def findings() -> Findings:
    """The measurements of the answer on The Time Machine."""
    answer = read_json("answer.json")

    def model(row: dict) -> MeasuredModel:
        return MeasuredModel(**row | {"test": tuple(row["test"])})

    def comparison(row: dict) -> PairedComparison:
        seeds, text, both = (Estimate(**row[f"over_{source}"]) for source in ("seeds", "text", "both"))
        return PairedComparison(seeds, text, both, row.get("degrees_of_freedom", 0))

    return Findings(
        corpus=answer["corpus"],
        counted=tuple(map(model, answer["counted"])),
        trained=tuple(map(model, answer["trained"])),
        rivals=tuple(
            Rivals(row["unit"], model(row["network"]), model(row["ngram"]), comparison(row["comparison"]))
            for row in answer["rivals"]
        ),
        systems={system: model(row) for system, row in answer["systems"].items()},
        compared={key: comparison(row) for key, row in answer["compared"].items()},
        python_ms=answer["python_ms"],
    )


def ngrams() -> Baselines:
    """The n-gram models of The Time Machine on its validation text."""
    rows = {row["model"]: row for row in read_csv("ngrams.csv")}
    bits = {name: log2(float(row["val_perplexity"])) for name, row in rows.items() if row["val_perplexity"]}

    def score(name: str, order: int) -> NGramScore:
        stored = int(rows[name]["stored_numbers"])
        return NGramScore(order, stored, stored, bits[name])

    singles = tuple(score(f"{order}-gram", order) for order in range(2, 9))
    best = min(singles, key=lambda single: single.bits_per_char).order
    gated = score("n-grams of orders 1 to 10", 10)
    pruned = tuple(score(f"6-gram, pruned to {most:,}", 6) for most in PRUNED_SIZES)
    return Baselines(log2(28), bits["letter frequencies"], best, singles, gated, pruned)


def candidates() -> list[Candidate]:
    """The configurations of the search, each with its seeds."""
    groups: dict[str, list[dict[str, str]]] = {}
    for row in read_csv("search.csv"):
        if row["status"] == "finished" and row["study"] == "search-time-machine":
            groups.setdefault(row["name"].rpartition("-s")[0], []).append(row)
    return [
        Candidate(
            name=name,
            cell=rows[0]["cell"],
            num_layers=int(rows[0]["num_layers"]),
            hidden_size=int(rows[0]["hidden_size"]),
            sizes={name: int(rows[0][name]) for name in SIZES},
            run_ids=tuple(row["run"] for row in rows),
            val_perplexities=tuple(float(row["val_perplexity"]) for row in rows),
            test_perplexities=tuple(float(row["test_perplexity"]) for row in rows),
        )
        for name, rows in groups.items()
    ]


def search_picture() -> bytes:
    """The Pareto front of the search, beside n-grams."""
    search, searched = read_json("search.json"), candidates()
    trials = [Trial(each.cell, each.sizes["macs_per_char"], each.val_perplexities[0]) for each in searched]
    largest = max(each.sizes["macs_per_char"] for each in searched)
    evaluated = evaluate_front(searched, (search["max_perplexity"], largest))
    about = f"{search['study_name']} on {search['corpus']}"
    compared = [*map(earlier.rival, search["compared"])]
    return pareto_front(trials, evaluated, picks(evaluated), ngrams(), about, compared, DEFAULT)


def training_picture() -> bytes:
    """The curves of the default training, whose seed is 0."""
    curve = read_csv("curve.csv")
    train, val = ([float(row[f"{split}_perplexity"]) for row in curve] for split in ("train", "val"))
    best = val.index(min(val)) + 1
    return perplexity_curves(train, val, best, ngrams().perplexities(), "lstm-1x192-s0 on time-machine")


if __name__ == "__main__":
    (DOCS / "answer.png").write_bytes(answer_picture(findings()))
    (DOCS / "costs.png").write_bytes(costs_picture(findings()))
    (DOCS / "pareto.png").write_bytes(search_picture())
    (DOCS / "perplexity.png").write_bytes(training_picture())
