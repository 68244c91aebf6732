"""The recorded trainings as a table."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.support.markdown import text_table
from pipeline.support.terminal import line_width
from pipeline.support.wording import counted
from pipeline.tracking.recorded import ROW, SHORT_ID, RecordedRun, RecordedTraining, find_run, nested_trainings

HEADS = ("run", "name", "text", "val", "test", "MACs", "seconds", "state", "age")
NAME, TEXT, STATE = 1, 2, 7  # columns

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


def runs_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of trainings as a table; long texts and names are cut to the width of the terminal."""
    now_ms = int(1000 * time.time())
    cells = [list(HEADS)]
    for row in rows:
        decimals = {"val_perplexity": 3, "test_perplexity": 3, "macs_per_char": 0, "train_seconds": 1}
        figures = ["" if row[name] is None else f"{row[name]:,.{digits}f}" for name, digits in decimals.items()]
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
