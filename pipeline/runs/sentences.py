"""What ``runs``, ``compare``, ``best`` and ``delete`` print about recorded runs."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.config import COSTS
from pipeline.results import FIGURES
from pipeline.runs.listing import HEADS, SHOWN
from pipeline.stages.seed_means import estimate_of
from pipeline.support.markdown import text_table
from pipeline.support.statistics import Estimate
from pipeline.support.terminal import line_width, side_by_side, wrapped
from pipeline.support.wording import counted, listed
from pipeline.tracking.recorded import SHORT_ID
from pipeline.training.metrics import COMPARED_METRICS
from pipeline.training.stability import FELL_OVER

NAME, TEXT, STATE = map(HEADS.index, ("name", "text", "state"))
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def _shown(row: Mapping[str, Any], name: str) -> str:
    """A figure of a row, with its interval if it is over several seeds."""
    return FIGURES[name].shown(row[name]) if row.get(f"{name}_low") is None else str(estimate_of(row, name))


def runs_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of trainings as a table; long texts and names are cut to the width of the terminal."""
    now_ms = int(1000 * time.time())
    cells = [list(HEADS)]
    for row in rows:
        figures = [_shown(row, name) for name in SHOWN]
        state = "fell over" if row["fell_over"] else "ok" if row["state"] == "finished" else row["state"]
        ago = age((now_ms - (row["ended_ms"] or row["started_ms"])) / 1000)
        name = f"{row['name']}: {counted(row['trainings'], 'training')}" if "trainings" in row else row["name"]
        cells.append([row["run_id"][:SHORT_ID], name, row["corpus"], *figures, state, ago])
    _cut(cells, TEXT, 8)
    _cut(cells, NAME, 12)
    said = f"\n{wrapped(FELL_OVER)}" if any(row["fell_over"] for row in rows) else ""
    return text_table(cells[0], cells[1:], left=(0, NAME, TEXT, STATE)) + said


def _cut(lines: Sequence[list[str]], column: int, shortest: int) -> None:
    """Cut a column of a table, to ``shortest`` characters at least, so that the lines fit into the width."""
    widths = [max(map(len, each)) for each in zip(*lines, strict=True)]
    excess = sum(widths) + 2 * (len(widths) - 1) - line_width()
    allowed = max(shortest, widths[column] - max(0, excess))
    for line in lines:
        line[column] = _shortened(line[column], allowed)


def _shortened(text: str, length: int) -> str:
    """A text, cut to this length."""
    return text if len(text) <= length else f"{text[: length - 2]}.."


def _first_two(names: Sequence[str]) -> str:
    """The first two names, and how many more there are."""
    return listed([*names[:2], *[f"{len(names) - 2} more"] * (len(names) > 2)])


def age(seconds: float) -> str:
    """A duration in the largest unit of which it has at least two: 3 h for 200 minutes, 90 s for 90 seconds."""
    unit, name = next((each for each in UNITS if seconds >= 2 * each[0]), (1, "s"))
    return f"{max(0, seconds) // unit:.0f} {name}"


def comparison_text(result: Mapping[str, Any]) -> str:
    """Render the result of ``compare``: a row for each run, what else differs, and of two runs their sample texts."""
    heads = [run_id[:SHORT_ID] for run_id in result["run_ids"]]
    options = [(name, *(value or "" for value in values)) for name, values in result["options"].items()]
    if "members" in result:
        return _searches_text(result, heads, options)
    shown = {name: [*map(COMPARED_METRICS[name].shown, values)] for name, values in result["figures"].items()}
    columns = [("run", *heads), ("name", *result["names"])]
    for metric in [name for name in shown if COMPARED_METRICS[name].short]:
        columns.append((COMPARED_METRICS[metric].narrow, *shown.pop(metric)))
        if differences := result["differences"].get(metric):
            columns.append(("", *map(_above_best, differences)))
    lines = [list(line) for line in zip(*columns, strict=True)]
    _cut(lines, NAME, 12)
    table = text_table(lines[0], lines[1:], left=(0, NAME))
    if result["differences"]:
        table += "\nboth: with the n-grams mixed in; %: above the best" + ", with 95 % intervals by seeds" * (
            max(result["seeds"]) > 1
        )
    rows = [(COMPARED_METRICS[name].label, *values) for name, values in shown.items() if any(values)]
    parts = [wrapped(result["warning"])] if result["warning"] else []
    parts += [table, _in_blocks(heads, [*rows, ("text", *result["corpora"]), *options])]
    if len(heads) == 2:
        named = zip(result["names"], heads, result["texts"], strict=True)
        left, right = (f"{name} ({head})\n{text}" for name, head, text in named)
        parts.append(side_by_side(left, right, line_width()))
    return "\n\n".join(parts)


def _above_best(difference: Mapping[str, float] | None) -> str:
    """How far a perplexity is above the best one, such as +2.7 ± 0.4 %."""
    if difference is None or not difference["percent"]:
        return "best" if difference else ""
    half = "" if difference["low"] is None else f" ± {(difference['high'] - difference['low']) / 2:.1f}"
    return f"{difference['percent']:+.1f}{half} %"


def _in_blocks(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Tables with a column for each run, each with as many as the width has room for; long values are cut."""
    labels, *columns = zip(("", *heads), *rows, strict=True)
    room = line_width() - max(map(len, labels))
    longest = room // min(len(heads), 4) - 2
    cut = [[_shortened(value, longest) for value in column] for column in columns]
    size = max(1, room // (2 + max(len(value) for column in cut for value in column)))
    blocks = [cut[start : start + size] for start in range(0, len(cut), size)]
    return "\n\n".join(text_table((), zip(labels, *block, strict=True)) for block in blocks)


def _searches_text(result: Mapping[str, Any], heads: Sequence[str], options: Sequence[Sequence[str]]) -> str:
    """The figures and options of searches, and the members of their fronts by cost, with what dominates each."""
    axis, (perplexity, cost), best = COSTS[result["cost"]], result["reference"], FIGURES["val_perplexity"]
    studies = [f"{name} ({head})" for name, head in zip(result["names"], heads, strict=True)]
    study_of = dict(zip(result["run_ids"], studies, strict=True))
    rows, members = list[Sequence[str]](), list[Sequence[str]]()
    for run_id, study, area in zip(result["run_ids"], studies, result["hypervolumes"], strict=True):
        front = [member for member in result["members"] if member["search"] == run_id]
        lowest = min(member["val_perplexity"] for member in front)
        dominated = sum(bool(member["dominated_by"]) for member in front)
        rows.append((study, f"{area:,.3f}", str(len(front)), str(dominated), best.shown(lowest)))
    for member in result["members"]:
        value = Estimate(member["val_perplexity"], member.get("val_perplexity_low"), member.get("val_perplexity_high"))
        by = _first_two(member["dominated_by"])
        members.append((study_of[member["search"]], member["name"], f"{axis.of(member):,}", str(value), by))
    within = wrapped(
        f"Hypervolume in perplexity times decades of {axis.name}, within perplexity {perplexity:.2f} and {cost:,} "
        f"{axis.name}, a tenth of the range beyond the worst member. Members are compared by their means over seeds."
    )
    parts = [text_table(("study", "hypervolume", "members", "dominated by others", best.label), rows)]
    parts += [_in_blocks(heads, options)] if options else []
    parts.append(text_table(("study", "member", axis.short, "validation", "dominated by"), members, left=(0, 1, 4)))
    return "\n\n".join([*parts, within])


def best_text(result: Mapping[str, Any], is_limited: bool) -> str:
    """The best models of a text in columns, with the commands that use them, and the other texts with trainings."""
    within = "within the limits" if is_limited else "smallest within 5 %"
    names = {"alone": "network alone", "within": within, "mixed": "with n-grams", "cheapest": "cheapest"}
    rows, level = [], []
    for name, label in names.items():
        if (line := result[name]) is None:
            continue
        of = "mixture_" * (name == "mixed")
        shown = f"{of}val_perplexity", f"{of}test_perplexity", "macs_per_char"
        figures = [FIGURES[figure].shown(line[figure]) for figure in shown]
        seeds = f"{line['seeds']}" + f", {line['diverged']} diverged" * bool(line["diverged"])
        size = "" if line["shipped_bytes"] is None else f"{line['shipped_bytes'] / 1000:,.0f}"
        study = f" of {line['study']}" * bool(line["study"])
        rows.append((label, f"{line['name']}{study}", *figures, size, seeds, line["command"]))
        if line["level_with"]:
            others = _first_two(line["level_with"])
            level.append(wrapped(f"{label}: {line['name']} is level with {others}, by the spread of seeds."))
    heads = ("", "model", "validation", "test", "MACs", "kB", "seeds", "use")
    texts = [f"Other texts: {', '.join(result['other_corpora'])}"] if result["other_corpora"] else []
    title = f"The best on {result['corpus']}, of {counted(result['configurations'], 'configuration')}"
    return "\n\n".join([title, text_table(heads, rows, left=(0, 1, 7)), *level, *texts])


def deletion_text(result: Mapping[str, Any]) -> str:
    """What is deleted, with its size, and what stays."""
    lines = [wrapped(f"{note}.") for note in result["notes"]]
    if result["completed"]:
        by = "the next `tmlm delete`" if result["dry_run"] else "this"
        said = f"An earlier deletion was cut off: {by} completes it, and deletes nothing else. Give the command again."
        lines.insert(0, wrapped(said))
    rows = [
        (step["kind"], step["name"], step["id"], f"{step['megabytes']:.1f} MB" if step["path"] else "")
        for step in result["deleted"]
    ]
    lines.append(text_table((), [*rows, ("sum", "", "", f"{result['megabytes']:.1f} MB")], left=(0, 1, 2)))
    return "\n".join([*lines, *(f"{step['name']} ({step['id']}) stays: {step['reason']}" for step in result["stayed"])])
