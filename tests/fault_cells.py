"""docs/data/faults.csv: how often each command has met each fault.

A row has the cases that met it, those of them in which anything was broken when they were first met, and those in which
something that had been reported was lost.
"""

import csv
from dataclasses import astuple, dataclass, fields

from filelock import FileLock

from tests.checkout import ROOT

FILE = ROOT / "docs" / "data" / "faults.csv"


@dataclass
class Cell:
    """What is known of a command and a fault."""

    cases: int = 0
    broken: int = 0
    lost: int = 0


Cells = dict[tuple[str, str], Cell]  # by command and fault


def read() -> Cells:
    with FILE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [field.name for field in fields(Cell)]
    return {(row["command"], row["fault"]): Cell(*(int(row[name]) for name in names)) for row in rows}


def add(command: str, fault: str, cell: Cell, *, replaces: bool = False) -> None:
    """Add cases to those of a command and a fault, or put them in their place."""
    with FileLock(ROOT / "mlruns" / "faults.lock"):
        cells = read()
        before = Cell() if replaces else cells.get((command, fault), Cell())
        cells[command, fault] = Cell(*(old + new for old, new in zip(astuple(before), astuple(cell), strict=True)))
        with FILE.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["command", "fault", *(field.name for field in fields(Cell))])
            writer.writerows([*key, *astuple(found)] for key, found in sorted(cells.items()))
