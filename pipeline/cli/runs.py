"""The recorded trainings as a table."""

import time
from collections.abc import Sequence

from pipeline.support.markdown import text_table
from pipeline.support.terminal import line_width
from pipeline.tracking.completion import SHORT_ID
from pipeline.tracking.listing import RunRow

HEADS = ("run", "name", "text", "val", "test", "MACs", "seconds", "state", "age")
NAME, TEXT, STATE = 1, 2, 7  # columns

SHORTEST = {TEXT: 8, NAME: 12}  # columns to cut on a narrow terminal, in this order, and their minimum widths

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def runs_table(rows: Sequence[RunRow]) -> str:
    """The rows as a table, cut to the width of the terminal but not below SHORTEST."""
    now_ms = int(1000 * time.time())
    cells = [list(HEADS), *(_cells(row, now_ms) for row in rows)]
    for column, shortest in SHORTEST.items():
        longest = max(len(line[column]) for line in cells)
        allowed = max(shortest, longest - max(0, _width(cells) - line_width()))
        for line in cells:
            line[column] = _cut(line[column], allowed)
    return text_table(cells[0], cells[1:], left=(0, NAME, TEXT, STATE))


def _cells(row: RunRow, now_ms: int) -> list[str]:
    macs = "" if row.macs_per_char is None else f"{row.macs_per_char:,}"
    return [
        row.run_id[:SHORT_ID],
        row.name,
        row.corpus,
        _decimals(row.val_perplexity, 3),
        _decimals(row.test_perplexity, 3),
        macs,
        _decimals(row.train_seconds, 1),
        "ok" if row.state == "finished" else row.state,
        age((now_ms - (row.ended_ms or row.started_ms)) / 1000),
    ]


def age(seconds: float) -> str:
    """A duration in the largest unit of which it has at least two: 3 h for 200 minutes, 90 s for 90 seconds."""
    for unit, name in UNITS:
        if seconds >= 2 * unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{max(0, seconds):.0f} s"


def _decimals(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:,.{decimals}f}"


def _width(cells: Sequence[Sequence[str]]) -> int:
    """The width of the table with these cells."""
    return sum(max(map(len, column)) + 2 for column in zip(*cells, strict=True)) - 2


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 2]}.."
