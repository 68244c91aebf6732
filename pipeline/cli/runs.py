"""The recorded trainings as a table."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.support.markdown import text_table
from pipeline.support.terminal import line_width
from pipeline.tracking.recorded import SHORT_ID

HEADS = ("run", "name", "text", "val", "test", "MACs", "seconds", "state", "age")
NAME, TEXT, STATE = 1, 2, 7  # columns

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def runs_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of trainings as a table; long texts and names are cut to the width of the terminal."""
    now_ms = int(1000 * time.time())
    cells = [list(HEADS)]
    for row in rows:
        decimals = {"val_perplexity": 3, "test_perplexity": 3, "macs_per_char": 0, "train_seconds": 1}
        figures = ["" if row[name] is None else f"{row[name]:,.{digits}f}" for name, digits in decimals.items()]
        state = "ok" if row["state"] == "finished" else row["state"]
        ago = age((now_ms - (row["ended_ms"] or row["started_ms"])) / 1000)
        cells.append([row["run_id"][:SHORT_ID], row["name"], row["corpus"], *figures, state, ago])
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
