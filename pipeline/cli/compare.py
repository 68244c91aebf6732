"""Compare two trainings or two searches: the options in which they differ and their figures.

Of trainings also the sample texts, of searches which members of their fronts dominate which.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from math import log10
from typing import Any

from pipeline.config import COSTS, ON_REPORTS_TEXT
from pipeline.errors import InputError
from pipeline.export.commands import search_options
from pipeline.search.front import dominators, hypervolume
from pipeline.support.markdown import text_table
from pipeline.support.statistics import Estimate
from pipeline.support.terminal import line_width, side_by_side, wrapped
from pipeline.support.wording import listed
from pipeline.tracking import recorded
from pipeline.tracking.recorded import SHORT_ID
from pipeline.tracking.references import described, find, training_behind

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

MEMBER = (  # of a search's front, in the result
    *("name", "macs_per_char", "stored_numbers"),
    *("val_perplexity", "val_perplexity_low", "val_perplexity_high", "test_perplexity", "run_ids"),
)


def compare(*references: str) -> dict[str, Any]:
    """Compare two trainings, or two searches, as a flat result.

    ``options`` has those that differ, each with both values; None is a missing value. ``warning`` says which of the
    perplexities can't be compared, "" if all can. Raises InputError for a reference that names neither a training nor a
    search, and for searches that can't be compared.
    """
    found = [find(reference) for reference in references]
    if all(run.stage == "search" for run in found):
        return _compare_searches(found)
    runs = [training_behind(run) for run in found]
    samples = [recorded.read_samples(run.id) for run in runs]
    return {
        "run_ids": [run.id for run in runs],
        "names": [run.name for run in runs],
        "corpora": [run.corpus for run in runs],
        "warning": _warning(runs),
        "options": _differences([run.params for run in runs]),
        "figures": {name: [run.metrics.get(name) for run in runs] for name in FIGURES},
        "texts": [str(each[-1]["text"]) if each else "" for each in samples],  # the last is the longest
    }


def _differences(options: Sequence[Mapping[str, str]]) -> dict[str, list[str | None]]:
    """The options that differ, each with both values."""
    names = dict.fromkeys(name for each in options for name in each)
    pairs = {name: [each.get(name) for each in options] for name in names}
    return {name: values for name, values in pairs.items() if values[0] != values[1]}


def _compare_searches(runs: Sequence[recorded.RecordedRun]) -> dict[str, Any]:
    """Compare two fronts by their members' means over seeds; their hypervolumes share one reference point."""
    results = [recorded.read_result(run.id, run.stage) for run in runs]
    for run, result in zip(runs, results, strict=True):
        if not result.get("front"):
            raise InputError(f"{described(run)}, has no front yet; the same `tmlm search` again finishes it")
    for name in ("corpus_sha256", "cost"):
        if results[0][name] != results[1][name]:
            said = " and ".join(f"{result['corpus']} by {result['cost']}" for result in results)
            raise InputError(
                f"their fronts can't be compared: they are on {said}; give two searches of one text and cost"
            )
    axis, fronts = COSTS[results[0]["cost"]], [result["front"] for result in results]
    points = [[(log10(member[axis.attribute]), member["val_perplexity"]) for member in front] for front in fronts]
    reference = max(x for x, _ in chain(*points)), max(y for _, y in chain(*points))
    members = [
        {
            "search": runs[i].id,
            **{name: member.get(name) for name in MEMBER},
            "dominated_by": [fronts[1 - i][j]["name"] for j in better],
        }
        for i in (0, 1)
        for member, better in zip(fronts[i], dominators(points[i], points[1 - i]), strict=True)
    ]
    return {
        "run_ids": [run.id for run in runs],
        "names": [result["study_name"] for result in results],
        "corpora": [run.corpus for run in runs],
        "options": _differences([{**search_options(run), "study_name": ""} for run in runs]),
        "cost": results[0]["cost"],
        "hypervolumes": [hypervolume(each, reference) for each in points],
        "reference": [reference[1], round(10 ** reference[0])],  # perplexity and cost, the worst of either front
        "members": sorted(members, key=lambda member: member[axis.attribute]),
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
    """Render the result of ``compare`` as a table, with the sample texts side by side or the two fronts below it."""
    width = line_width()
    heads = [f"{name} ({run_id[:SHORT_ID]})" for name, run_id in zip(result["names"], result["run_ids"], strict=True)]
    if "members" in result:
        return _comparison_of_searches(result, heads)
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


def _comparison_of_searches(result: Mapping[str, Any], heads: Sequence[str]) -> str:
    """The figures and options of two searches, and the members of their fronts by cost, with what dominates each."""
    axis, (perplexity, cost) = COSTS[result["cost"]], result["reference"]
    fronts = [[member for member in result["members"] if member["search"] == run_id] for run_id in result["run_ids"]]
    studies = dict(zip(result["run_ids"], heads, strict=True))
    rows = [("hypervolume", *map(_number, result["hypervolumes"]))]
    rows.append(("members of the front", *(str(len(front)) for front in fronts)))
    rows.append(("dominated by the other", *(str(sum(bool(m["dominated_by"]) for m in front)) for front in fronts)))
    rows.append(
        ("validation perplexity, best", *(_number(min(m["val_perplexity"] for m in front)) for front in fronts))
    )
    rows += [(name, *(value or "" for value in values)) for name, values in result["options"].items()]
    members = []
    for member in result["members"]:
        named, more = member["dominated_by"][:2], len(member["dominated_by"]) - 2
        value = Estimate(member["val_perplexity"], member["val_perplexity_low"], member["val_perplexity_high"])
        by = listed([*named, *([f"{more} more"] if more > 0 else [])])
        members.append((studies[member["search"]], member["name"], f"{member[axis.attribute]:,}", str(value), by))
    within = wrapped(
        f"Hypervolume in perplexity times decades of {axis.name}, within perplexity {perplexity:.2f} and {cost:,} "
        f"{axis.name}, the worst of either front. Members are compared by their means over seeds."
    )
    table = text_table(("study", "member", axis.short, "validation", "dominated by"), members, left=(0, 1, 4))
    return f"{text_table(['', *heads], rows)}\n\n{table}\n\n{within}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.3f}"
