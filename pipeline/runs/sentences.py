"""What ``runs``, ``compare``, ``best`` and ``delete`` print about recorded runs."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import wcwidth

from pipeline.config import COSTS
from pipeline.results import FIGURES, ROW
from pipeline.runs.listing import HEADS, SHOWN
from pipeline.stages.seed_means import estimate_of
from pipeline.support.markdown import text_table
from pipeline.support.statistics import Estimate
from pipeline.support.terminal import line_width, shortened, side_by_side, terminal_width, wrapped
from pipeline.support.wording import counted, listed
from pipeline.tracking.recorded import SHORT_ID
from pipeline.training.metrics import COMPARED_METRICS
from pipeline.training.sentences import ONE_SEED
from pipeline.training.stability import FELL_OVER

NAME = HEADS.index("name")
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def _shown(row: Mapping[str, Any], name: str) -> str:
    """A figure of a row, with its interval if it is over several seeds."""
    return FIGURES[name].shown(row[name]) if row.get(f"{name}_low") is None else str(estimate_of(row, name))


def runs_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of trainings as a table, and their notes below.

    If the terminal is too narrow, it lacks what it has no room for, in this order: the intervals of seeds, seconds,
    states that are all ok, MACs. Then long texts and names are cut.
    """
    now_ms = int(1000 * time.time())
    cells = [list(HEADS)]
    for row in rows:
        figures = [_shown(row, name) for name in SHOWN]
        ago = age((now_ms - (row["ended_ms"] or row["started_ms"])) / 1000)
        name = f"{row['name']}: {counted(row['trainings'], 'training')}" if "trainings" in row else row["name"]
        cells.append([row["run_id"][:SHORT_ID], name, row["corpus"], *figures, _state(row), ago])
    columns = {column[0]: column for column in zip(*cells, strict=True)}
    means = {ROW[name]: (ROW[name], *(FIGURES[name].shown(row[name]) for row in rows)) for name in SHOWN}
    all_ok: dict[str, tuple[str, ...]] = {"state": ()} if {*columns["state"][1:]} == {"ok"} else {}
    for less in (means, {"seconds": ()}, all_ok, {"MACs": ()}):
        if _excess(columns.values()) > 0:
            columns = {head: column for head, column in {**columns, **less}.items() if column}
    lines = [[*line] for line in zip(*columns.values(), strict=True)]
    for head, shortest in (("name", 30), ("text", 12), ("name", 12), ("text", 8)):
        _cut(lines, lines[0].index(head), shortest)
    left = [number for number, head in enumerate(lines[0]) if head in ("run", "name", "text", "state")]
    noted = defaultdict[str, list[str]](list)
    for row in rows:
        noted[row["note"]].append(row["run_id"][:SHORT_ID])
    notes = [shortened(f"{_first_two(ids)}  {note}", terminal_width()) for note, ids in noted.items() if note]
    fell = [wrapped(FELL_OVER)] if any(row["fell_over"] for row in rows) else []
    return "\n".join([text_table(lines[0], lines[1:], left), *notes, *fell])


def _state(row: Mapping[str, Any]) -> str:
    """What a reader of the table has to know of a training, in the column "state"."""
    if row["weights_deleted"]:
        return "no weights"
    if row["fell_over"]:
        return "fell over"
    return "ok" if row["state"] == "finished" else row["state"]


def not_comparable(rows: Sequence[Mapping[str, Any]], sort: str) -> str:
    """That perplexities by which rows are sorted are of several texts, and don't compare; "" if they do."""
    texts = [*{row["corpus_sha256"]: row["corpus"] for row in rows if row["val_perplexity"]}.values()]
    if sort.removeprefix("-").lower() not in ("val", "test") or len(texts) < 2:
        return ""
    return f"Perplexities of several texts ({_first_two(texts)}) don't compare: choose one with --corpus"


def _excess(columns: Iterable[Sequence[str]]) -> int:
    """By how much a table of these columns is wider than the terminal."""
    return sum(2 + max(map(wcwidth.width, each)) for each in columns) - 2 - terminal_width()


def _cut(lines: Sequence[list[str]], column: int, shortest: int) -> None:
    """Cut a column of a table, to ``shortest`` columns of a terminal at least, so that the lines fit into the width."""
    columns = [*zip(*lines, strict=True)]
    allowed = max(shortest, max(map(wcwidth.width, columns[column])) - max(0, _excess(columns)))
    for line in lines:
        line[column] = shortened(line[column], allowed)


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
        table += "\nboth: with the n-grams mixed in; %: above the best, with 95 % intervals by seeds"
        if min(result["seeds"]) == 1:
            table += f"; with one seed, of the text alone\n{ONE_SEED}"
    rows = [(COMPARED_METRICS[name].label, *values) for name, values in shown.items() if any(values)]
    parts = [wrapped(result["warning"])] if result["warning"] else []
    parts += [table, *_why(heads, result), _in_blocks(heads, [*rows, ("text", *result["corpora"]), *options])]
    if len(heads) == 2:
        named = zip(result["names"], heads, result["texts"], strict=True)
        left, right = (f"{name} ({head})\n{text}" for name, head, text in named)
        parts.append(side_by_side(left, right, line_width()))
    return "\n\n".join(parts)


def _why(heads: Sequence[str], result: Mapping[str, Any]) -> list[str]:
    """The notes of compared runs, and what they are like, as one part of the text; none if nothing is said."""
    like = [line and f"like {line}" for line in result.get("like", [""] * len(heads))]
    said = [(head, each) for head, *both in zip(heads, result["notes"], like, strict=True) for each in both if each]
    return ["\n".join(wrapped(f"{head}  {each}", further="  ") for head, each in said)] if said else []


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
    cut = [[shortened(value, longest) for value in column] for column in columns]
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
    parts += [*_why(heads, result), *([_in_blocks(heads, options)] if options else [])]
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
            said = f"is not significantly better than {_first_two(line['level_with'])}, by the spread of seeds"
            level.append(wrapped(f"{label}: {line['name']} {said}."))
        if line["no_verdict_on"]:
            level.append(wrapped(f"{label}: against {_first_two(line['no_verdict_on'])}, {ONE_SEED}."))
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
