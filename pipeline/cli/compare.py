"""What ``compare`` prints of two trainings or two searches."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.config import COSTS
from pipeline.search.comparison import FIGURES
from pipeline.support.markdown import text_table
from pipeline.support.statistics import Estimate
from pipeline.support.terminal import line_width, side_by_side, wrapped
from pipeline.support.wording import listed
from pipeline.tracking.recorded import SHORT_ID


def comparison_text(result: Mapping[str, Any]) -> str:
    """Render the result of ``compare`` as a table, with the sample texts side by side or the two fronts below it."""
    width = line_width()
    heads = [f"{name} ({run_id[:SHORT_ID]})" for name, run_id in zip(result["names"], result["run_ids"], strict=True)]
    if "members" in result:
        return _searches_text(result, heads)
    rows = [(FIGURES[name], *map(_number, pair)) for name, pair in result["figures"].items() if pair != [None, None]]
    rows.append(("text", *result["corpora"]))
    rows += [(name, *(value or "" for value in values)) for name, values in result["options"].items()]
    longest = (width - max(len(row[0]) for row in rows)) // 2 - 2
    table = text_table(["", *heads], [[row[0], *(value[:longest] for value in row[1:])] for row in rows])
    first, second = (f"{head}\n{text}" for head, text in zip(heads, result["texts"], strict=True))
    parts = [table, side_by_side(first, second, width)]
    if result["warning"]:
        parts.insert(0, wrapped(result["warning"]))
    return "\n\n".join(parts)


def _searches_text(result: Mapping[str, Any], heads: Sequence[str]) -> str:
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
        f"{axis.name}, a tenth of the range beyond the worst member. Members are compared by their means over seeds."
    )
    table = text_table(("study", "member", axis.short, "validation", "dominated by"), members, left=(0, 1, 4))
    return f"{text_table(['', *heads], rows)}\n\n{table}\n\n{within}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:,.3f}"
