"""The recorded trainings as a table."""

import time
from collections.abc import Sequence

from pipeline.support.markdown import text_table
from pipeline.support.terminal import line_width
from pipeline.tracking.completion import SHORT_ID
from pipeline.tracking.listing import RunRow

HEADS = ("run", "name", "text", "val", "test", "MACs", "seconds", "state", "age")
NAME, TEXT, STATE = 1, 2, 7  # columns

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def runs_table(rows: Sequence[RunRow]) -> str:
    """The rows as a table; long texts and names are cut to the width of the terminal."""
    now_ms = int(1000 * time.time())
    cells = [list(HEADS)]
    for row in rows:
        macs = "" if row.macs_per_char is None else f"{row.macs_per_char:,}"
        state = "ok" if row.state == "finished" else row.state
        ago = age((now_ms - (row.ended_ms or row.started_ms)) / 1000)
        perplexities = _decimals(row.val_perplexity, 3), _decimals(row.test_perplexity, 3)
        seconds = _decimals(row.train_seconds, 1)
        cells.append([row.run_id[:SHORT_ID], row.name, row.corpus, *perplexities, macs, seconds, state, ago])
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


def _decimals(value: float | None, decimals: int) -> str:
    return "" if value is None else f"{value:,.{decimals}f}"
