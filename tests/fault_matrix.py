"""The matrix of docs/robustness.md: how often each command that writes has met each fault.

``python -m tests.fault_matrix`` writes it there, from docs/data/faults.csv.
"""

import re
from collections.abc import Iterator
from fnmatch import fnmatch

import click

from pipeline.cli.main import cli
from tests.anomalies.calls import ERRORS
from tests.checkout import ROOT
from tests.fault_cells import Cell, Cells, read
from tests.faults import FAULTS, HOSTILE

PAGE = ROOT / "docs" / "robustness.md"
READERS = ("sample", "chat", "complexity", "runs", "compare", "best", "ui", "check")  # record nothing
OTHERS = ("creation", "mlflow run", "search --cluster")
CALLS = sorted({f"a call fails: {error}" for errors in ERRORS.values() for error in errors})
CAN_NOT_BE = [  # a reason, patterns of commands, and faults that they can't meet
    ("it is one process", "creation|prepare|evaluate|note|open|report|export|push|delete|doctor|cluster keys",
     ["kill -9 of a worker"]),
    ("its exit code is MLflow's", "mlflow run", ["kill -9 of the command", "SIGTERM"]),
    ("it opens no study's trials", "creation|prepare|train|pipeline|mlflow run|evaluate|note|answer|reproduce|report",
     ["trials locked"]),
    ("it uses no cluster", "creation|prepare|train|pipeline|mlflow run|evaluate|note|open|report|export|push|delete",
     ["node killed", "node frozen", "node's link cut", "no node left", "scheduler killed", "MLflow's server killed"]),
    ("it deletes nothing", "creation|prepare|train|pipeline|mlflow run|evaluate|note|open|search*|answer|reproduce|"
     "report|export|cluster*|node", list(HOSTILE)),
]  # fmt: skip


def commands() -> list[str]:
    """The commands that write."""

    def named(group: click.Group, before: str) -> Iterator[str]:
        for name, command in group.commands.items():
            yield from named(command, f"{name} ") if isinstance(command, click.Group) else [f"{before}{name}"]

    return [*(name for name in named(cli, "") if name not in READERS), *OTHERS]


def reason(command: str, fault: str) -> str:
    """The letter of why a command can't meet a fault, or nothing."""
    for number, (_, patterns, faults) in enumerate(CAN_NOT_BE):
        if fault in faults and any(fnmatch(command, pattern) for pattern in patterns.split("|")):
            return "abcde"[number]
    return ""


def written(cell: Cell) -> str:
    counts = [f"{cell.broken} broken"] * (cell.broken > 0) + [f"{cell.lost} lost"] * (cell.lost > 0)
    return f"{cell.cases:,}" + (f" ({', '.join(counts)})" if counts else "") if cell.cases else ""


def table(cells: Cells) -> str:
    """The matrix, with its empty cells, and why some can't be filled."""
    faults = [*FAULTS, *CALLS, "power failure"]
    lines = [["fault", *commands()], ["---"] * (1 + len(commands()))]
    for fault in faults:
        row = [written(cells.get((command, fault), Cell())) or reason(command, fault) for command in commands()]
        lines.append([fault, *row])
    reasons = [f"{letter}: {because}" for letter, (because, *_) in zip("abcde", CAN_NOT_BE, strict=True)]
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{rows}\n\nA letter says why a cell can't be filled; {'; '.join(reasons)}."


def page_with(matrix: str) -> str:
    """The page, with this matrix in place of its own."""
    return re.sub(r"^\| fault \| (?s:.*?)\n\nA letter [^\n]*$", lambda _: matrix, PAGE.read_text(), count=1, flags=re.M)


if __name__ == "__main__":
    PAGE.write_text(page_with(table(read())))
