"""What ``runs``, ``compare`` and ``recommend`` print about recorded runs."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from pipeline.config import COSTS
from pipeline.errors import InputError
from pipeline.support.markdown import text_table
from pipeline.support.statistics import Estimate
from pipeline.support.terminal import line_width, side_by_side, wrapped
from pipeline.support.wording import counted, listed
from pipeline.tracking.recorded import ROW, SHORT_ID, RecordedRun, RecordedTraining, find_run, nested_trainings
from pipeline.training.metrics import COMPARED_METRICS
from pipeline.training.result import FIGURES

COLUMNS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {  # head -> the value by which rows are sorted
    "run": itemgetter("run_id"),
    "name": itemgetter("name"),
    "text": itemgetter("corpus"),
    "val": itemgetter("val_perplexity"),
    "test": itemgetter("test_perplexity"),
    "MACs": itemgetter("macs_per_char"),
    "seconds": itemgetter("train_seconds"),
    "state": itemgetter("state"),
    "age": lambda row: -(row["ended_ms"] or row["started_ms"]),
}
NAME, TEXT, STATE = 1, 2, 7  # columns
SHOWN = ("val_perplexity", "test_perplexity", "macs_per_char", "train_seconds")

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def folded(trainings: Iterable[RecordedTraining]) -> Iterator[dict[str, Any]]:
    """The rows of trainings; those of one search, answer or reproduction are one row, at the place of the first."""
    seen: set[str] = set()
    for training in trainings:
        parent_id = training.tag("mlflow.parentRunId") if training.role else ""
        if parent_id in seen:
            continue
        if parent_id and (parent := find_run(parent_id)) is not None:
            seen.add(parent_id)
            yield _row_of(parent, nested_trainings(parent_id))
        else:
            yield training.row()


def _row_of(parent: RecordedRun, parts: Sequence[RecordedTraining]) -> dict[str, Any]:
    """A row for all parts of a run: its own name and state, the seconds of all, and the figures of the best one."""
    metric = "result/val_perplexity"
    comparable = [part for part in parts if metric in part.metrics and not part.on_reports_text]
    best = min(comparable, key=lambda part: part.metrics[metric], default=None)
    figures = best.row() if best else dict.fromkeys(ROW)
    seconds = sum(part.metrics.get("speed/train_seconds", 0.0) for part in parts)
    own = {"run_id": parent.id, "name": parent.name, "corpus": parent.corpus, "corpus_sha256": parent.corpus_sha256}
    times = {"started_ms": parent.started_ms, "ended_ms": parent.ended_ms, "train_seconds": seconds}
    return {**figures, **own, **times, "state": parent.state, "seed": None, "config_id": "", "trainings": len(parts)}


def sorted_rows(rows: Iterable[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Sort rows by a column, in descending order after a minus sign; rows without a value are last in both orders.

    Raises InputError for a name that is no column, before the rows are read.
    """
    of = {head.lower(): value for head, value in COLUMNS.items()}.get(sort.removeprefix("-").lower())
    if of is None:
        raise InputError(f"--sort {sort} is no column: give one of {', '.join(COLUMNS)}, or -NAME for descending order")
    rows = list(rows)
    known = [row for row in rows if of(row) not in (None, "")]
    return sorted(known, key=of, reverse=sort.startswith("-")) + [row for row in rows if of(row) in (None, "")]


def runs_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of trainings as a table; long texts and names are cut to the width of the terminal."""
    now_ms = int(1000 * time.time())
    cells = [list(COLUMNS)]
    for row in rows:
        figures = [FIGURES[name].shown(row[name]) for name in SHOWN]
        state = "ok" if row["state"] == "finished" else row["state"]
        ago = age((now_ms - (row["ended_ms"] or row["started_ms"])) / 1000)
        name = f"{row['name']}: {counted(row['trainings'], 'training')}" if "trainings" in row else row["name"]
        cells.append([row["run_id"][:SHORT_ID], name, row["corpus"], *figures, state, ago])
    for column, shortest in ((TEXT, 8), (NAME, 12)):
        widths = [max(map(len, each)) for each in zip(*cells, strict=True)]
        excess = sum(widths) + 2 * (len(widths) - 1) - line_width()
        allowed = max(shortest, widths[column] - max(0, excess))
        for line in cells:
            if len(line[column]) > allowed:
                line[column] = f"{line[column][: allowed - 2]}.."
    return text_table(cells[0], cells[1:], left=(0, NAME, TEXT, STATE))


def age(seconds: float) -> str:
    """A duration in the largest unit of which it has at least two: 3 h for 200 minutes, 90 s for 90 seconds."""
    for unit, name in UNITS:
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{max(0, seconds):.0f} s"


def comparison_text(result: Mapping[str, Any]) -> str:
    """Render the result of ``compare`` as a table, with the sample texts side by side or the two fronts below it."""
    width = line_width()
    heads = [f"{name} ({run_id[:SHORT_ID]})" for name, run_id in zip(result["names"], result["run_ids"], strict=True)]
    if "members" in result:
        return _searches_text(result, heads)
    measured = {COMPARED_METRICS[name]: pair for name, pair in result["figures"].items() if pair != [None, None]}
    rows = [(figure.label, *map(figure.shown, pair)) for figure, pair in measured.items()]
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
    rows = [("hypervolume", *(f"{each:,.3f}" for each in result["hypervolumes"]))]
    rows.append(("members of the front", *(str(len(front)) for front in fronts)))
    rows.append(("dominated by the other", *(str(sum(bool(m["dominated_by"]) for m in front)) for front in fronts)))
    best = FIGURES["val_perplexity"]
    rows.append((best.label, *(best.shown(min(m["val_perplexity"] for m in front)) for front in fronts)))
    rows += [(name, *(value or "" for value in values)) for name, values in result["options"].items()]
    members = []
    for member in result["members"]:
        named, more = member["dominated_by"][:2], len(member["dominated_by"]) - 2
        value = Estimate(member["val_perplexity"], member.get("val_perplexity_low"), member.get("val_perplexity_high"))
        by = listed([*named, *([f"{more} more"] if more > 0 else [])])
        members.append((studies[member["search"]], member["name"], f"{axis.of(member):,}", str(value), by))
    within = wrapped(
        f"Hypervolume in perplexity times decades of {axis.name}, within perplexity {perplexity:.2f} and {cost:,} "
        f"{axis.name}, a tenth of the range beyond the worst member. Members are compared by their means over seeds."
    )
    table = text_table(("study", "member", axis.short, "validation", "dominated by"), members, left=(0, 1, 4))
    return f"{text_table(['', *heads], rows)}\n\n{table}\n\n{within}"


def recommendation_text(result: Mapping[str, Any]) -> str:
    """The recommended configuration in words, with the other texts that have trainings."""
    stored = f"{result['stored_numbers']:,} stored numbers, " if result["on_top_of"] != "nothing" else ""
    seeds = f"the mean of {result['seeds']} seeds" if result["seeds"] > 1 else "one seed"
    if result["diverged"]:
        seeds += f"; {result['diverged']} diverged, counted as guessing"
    others = f"\nOther texts (--corpus): {', '.join(result['other_corpora'])}" if result["other_corpora"] else ""
    return (
        f"On {result['corpus']}, of {counted(result['configurations'], 'configuration')}:\n{result['shape']}: "
        f"{result['macs_per_char']:,} MACs per character, {stored}validation perplexity "
        f"{result['val_perplexity']:.3f} ({seeds}){others}"
    )
