"""Compare two trainings: the options in which they differ, their figures and their sample texts."""

from collections.abc import Mapping
from typing import Any

from pipeline.config import ON_REPORTS_TEXT
from pipeline.support.markdown import text_table
from pipeline.support.terminal import line_width, side_by_side, wrapped
from pipeline.tracking import recorded
from pipeline.tracking.recorded import SHORT_ID
from pipeline.tracking.references import training_of

FIGURES = {  # metric -> label, in the order of the table
    "perplexity/train": "training perplexity, last epoch",
    "perplexity/val": "validation perplexity, last epoch",
    "result/val_perplexity": "validation perplexity, best",
    "result/test_perplexity": "test perplexity",
    "result/mixture_test_perplexity": "test perplexity with n-gram",
    "result/best_epoch": "best epoch",
    "size/parameters": "parameters",
    "size/stored_numbers": "stored numbers",
    "size/shipped_bytes": "bytes to ship",
    "size/macs_per_char": "MACs per character",
    "speed/train_seconds": "seconds of training",
    "speed/chars_per_second": "characters per second",
}


def compare(*references: str) -> dict[str, Any]:
    """Compare two trainings. ``options`` has those that differ, each with both values; None is a missing value.

    ``warning`` says which of the perplexities can't be compared, "" if all can. Raises InputError for a reference that
    names no training.
    """
    runs = [training_of(reference) for reference in references]
    names = list(dict.fromkeys(name for run in runs for name in run.params))
    pairs = {name: [run.params.get(name) for run in runs] for name in names}
    samples = [recorded.read_json(run.id, "samples/final.json").get("samples") for run in runs]
    return {
        "run_ids": [run.id for run in runs],
        "names": [run.name for run in runs],
        "corpora": [run.corpus for run in runs],
        "warning": _warning(runs),
        "options": {name: values for name, values in pairs.items() if values[0] != values[1]},
        "figures": {name: [run.metrics.get(name) for run in runs] for name in FIGURES},
        "texts": [str(each[-1]["text"]) if each else "" for each in samples],  # the last is the longest
    }


def _warning(runs: list[recorded.RecordedTraining]) -> str:
    """Say which perplexities can't be compared: those on different texts, or on different characters of one text."""
    first, second = runs
    if first.corpus_sha256 != second.corpus_sha256:
        return f"The texts differ ({first.corpus} and {second.corpus}), so their perplexities can't be compared."
    presets = [run.params.get("preset", "") for run in runs]
    if (presets[0] in ON_REPORTS_TEXT) != (presets[1] in ON_REPORTS_TEXT):
        return (
            f"The presets {presets[0]} and {presets[1]} validate on different characters: only the test perplexities "
            "can be compared."
        )
    return ""


def comparison(result: Mapping[str, Any]) -> str:
    """Render the result of ``compare`` as a table, with the sample texts side by side below it."""
    width = line_width()
    heads = [f"{name} ({run_id[:SHORT_ID]})" for name, run_id in zip(result["names"], result["run_ids"], strict=True)]
    rows = [(FIGURES[name], *map(_number, values)) for name, values in result["figures"].items() if any(values)]
    rows.append(("text", *result["corpora"]))
    rows += [(name, *(value or "" for value in values)) for name, values in result["options"].items()]
    longest = (width - max(len(row[0]) for row in rows)) // 2 - 2
    table = text_table(["", *heads], [[row[0], *(value[:longest] for value in row[1:])] for row in rows])
    first, second = (f"{head}\n{text}" for head, text in zip(heads, result["texts"], strict=True))
    parts = [table, side_by_side(first, second, width)]
    if result["warning"]:
        parts.insert(0, wrapped(result["warning"]))
    return "\n\n".join(parts)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.3f}"
