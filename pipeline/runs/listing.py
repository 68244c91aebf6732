"""The rows of recorded trainings; those of a search, an answer, a reproduction or several seeds as one."""

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from pipeline.errors import InputError
from pipeline.results import FIGURES, METRICS, ROW, SEEDS
from pipeline.stages.seed_means import over_seeds
from pipeline.tracking.queries import nested_trainings
from pipeline.tracking.recorded import RecordedRun, RecordedTraining, find_run

SORTED_BY = {head: name for name, head in ROW.items() if head} | {"age": "age"}  # head of a column -> column
HEADS = list(SORTED_BY)
SHOWN = [name for name in SORTED_BY.values() if name in FIGURES]


def folded(trainings: Iterable[RecordedTraining]) -> Iterator[dict[str, Any]]:
    """The rows of trainings; those of one sweep are one row, at the place of the first."""
    seen: set[str] = set()
    for training in trainings:
        parent_id = training.parent if training.role else ""
        if parent_id in seen:
            continue
        if parent_id and (parent := find_run(parent_id)) is not None:
            seen.add(parent_id)
            yield _row_of(parent, nested_trainings(parent_id))
        else:
            yield training.row()


def _row_of(parent: RecordedRun, parts: Sequence[RecordedTraining]) -> dict[str, Any]:
    """A row for all parts of a run: its own name and state.

    It has the seconds of all, and the figures of the best one; of several seeds, the figures over all seeds.
    """
    metric = "result/val_perplexity"
    of_seeds = parent.stage == SEEDS
    comparable = [part for part in parts if metric in part.metrics and (of_seeds or not part.on_reports_text)]
    best = min(comparable, key=lambda part: part.metrics[metric], default=None)
    figures = best.row() if best else dict.fromkeys(ROW)
    seconds = sum(part.metrics.get("speed/train_seconds", 0.0) for part in parts)
    own = {"run_id": parent.id, "name": parent.name, "corpus": parent.corpus, "corpus_sha256": parent.corpus_sha256}
    own |= {"note": parent.note, "like": parent.like}
    times = {"started_ms": parent.started_ms, "ended_ms": parent.ended_ms, "train_seconds": seconds}
    row = {**figures, **own, **times, "state": parent.state, "seed": None, "config_id": "", "trainings": len(parts)}
    if of_seeds and comparable:
        row |= over_seeds([{name: part.metrics.get(each) for each, name in METRICS.items()} for part in comparable])
        row["fell_over"] = any(part.row()["fell_over"] for part in comparable)
    return row


def sorted_rows(rows: Iterable[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """Sort rows by a column, descending after a minus sign; rows without a value are last in either order.

    Raises InputError for a name that is no column, before the rows are read.
    """
    name = {head.lower(): column for head, column in SORTED_BY.items()}.get(sort.removeprefix("-").lower())
    if name is None:
        raise InputError(f"--sort {sort} is no column: give one of {', '.join(HEADS)}, or -NAME for descending order")
    keyed = [(-(row["ended_ms"] or row["started_ms"]) if name == "age" else row[name], row) for row in rows]
    known = [pair for pair in keyed if pair[0] not in (None, "")]
    known.sort(key=itemgetter(0), reverse=sort.startswith("-"))
    return [row for _, row in [*known, *(pair for pair in keyed if pair[0] in (None, ""))]]
