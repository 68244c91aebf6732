"""Write the values of an export as CSV (curves, runs, fronts), and a table of the configurations for LaTeX."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_type_hints

import pandas as pd

from pipeline.config import DECLARED
from pipeline.pages.configurations import by_characters, configurations_of, means_of, title_of
from pipeline.pages.repeat import text_option
from pipeline.results import FIGURES, Member
from pipeline.tracking.recorded import RecordedTraining
from pipeline.training.metrics import TRAIN_CURVE, VAL_CURVE

REQUESTED = "requested_"  # before an option whose name a figure has too: the epochs that were asked for, say

SIZES = {"macs_per_char": "MACs per character", "parameters": "parameters"}

FRONT = [name for name in get_type_hints(Member) if name != "run_ids"]


def curves_csv(trainings: Iterable[RecordedTraining]) -> str:
    """One row for each training and epoch, with perplexities averaged by the protocol of the training."""
    rows = []
    for training in trainings:
        train, val = training.curve(TRAIN_CURVE), training.curve(VAL_CURVE)
        for epoch in sorted({*train, *val}):
            rows.append((training.id, training.seed, epoch, train.get(epoch), val.get(epoch)))
    return _csv(("run", "seed", "epoch", "train_perplexity", "val_perplexity"), rows)


def runs_csv(trainings: Iterable[RecordedTraining]) -> str:
    """One row for each training, finished or not: options and final figures."""
    heads = ("run", "name", "status", "study", "role", "corpus", "corpus_sha256", "text", "alphabet", "note")
    rows = []
    for training in trainings:
        options = {**training.configuration["model"], **training.configuration["train"]}
        own = (training.id, training.name, training.state, training.study, training.role, training.corpus)
        text = (training.corpus_sha256, text_option(training), training.configuration["corpus"]["alphabet"])
        figures = map(training.result.get, FIGURES)
        rows.append((*own, *text, training.note, *map(options.get, DECLARED), *figures))
    option_heads = [REQUESTED + name if name in FIGURES else name for name in DECLARED]
    return _csv((*heads, *option_heads, *FIGURES), rows)


def front_csv(searches: Iterable[Mapping[str, Any]], with_study: bool = False) -> str:
    """One row for each member of a study's front, with the names of its picks and the ids of its runs."""
    rows = []
    for search in searches:
        for member in search["front"]:
            names = [name for name, pick in search["picks"].items() if pick["run_id"] in member["run_ids"]]
            ours = (*map(member.get, FRONT), " ".join(names), " ".join(member["run_ids"]))
            rows.append((*[search["study_name"]] * with_study, *ours))
    return _csv((*["study"] * with_study, *FRONT, "picks", "runs"), rows)


def latex(trainings: Iterable[RecordedTraining]) -> str:
    """A tabular with one row for each configuration, and the means of ``means_of``."""
    groups, rows = by_characters(trainings), list[dict[str, str]]()
    for group in groups:
        text = {"text": title_of(group)} if len(groups) > 1 else {}  # perplexities of different ones do not compare
        configurations = configurations_of(group)
        means = [means_of(configurations, f"{split}_perplexity") for split in ("val", "test")]
        for each, val, test in zip(configurations, *means, strict=True):
            perplexities = {"validation": val, "test": test}
            sizes = {label: f"{each.trainings[0].result[name]:,}" for name, label in SIZES.items()}
            seeds = {"configuration": each.name, "seeds": str(len(each.trainings))}
            rows.append(text | seeds | perplexities | sizes)
    style = pd.DataFrame(rows).style.hide(axis="index").format(escape="latex")
    return str(style.to_latex(column_format="l" * (1 + (len(groups) > 1)) + "r" * 5)).replace("±", r"$\pm$")


def _csv(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([[_as_text(value) for value in row] for row in (heads, *rows)])
    return text.getvalue()


def _as_text(value: Any) -> Any:
    """A value that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
