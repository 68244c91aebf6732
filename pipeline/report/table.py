"""The coursework report as data: its 17 configurations with every number that it states.

The table is data/reported.csv; what the report says about the configurations is in ``statements``. Other tables with
the same columns (``report --against``) are read in the same way.
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from hashlib import sha256
from itertools import islice
from math import inf, nan
from pathlib import Path
from typing import Literal, get_args

from models.complexity import closed_form
from models.config import CellName, Implementation, ModelConfig
from pipeline.config import PresetName, TrainConfig, resolve
from pipeline.errors import InputError
from pipeline.support.files import read_small

Split = Literal["", "training", "validation", "both"]

DATA = Path(__file__).with_name("data")

REPORT_SYMBOLS = 28

LARGEST_FILE, MOST_ROWS = 1_000_000, 1000  # limits of a table: bytes (samples are texts), rows

REQUIRED_COLUMNS = ("id", "implementation", "cell", "num_layers", "hidden_size")  # of every table

SAMPLE = "sample_"  # prefix of a column of generated texts; the rest of its name is the prompt

PRINTED = re.compile(r"(\d[\d,]*(?:\.\d+)?) ?([kKM]?)")

UNITS = {"": 1, "k": 1000, "K": 1000, "M": 1_000_000}


def rounds_to(number: float, printed: str, part: float = 0.5) -> bool:
    """Whether a number agrees with its printed form, within half (or another part) of the last digit."""
    decimals = len(printed.partition(".")[2])
    tolerance = part * 10.0**-decimals * (1 + 1e-9)  # allows for float error at exactly a half
    return abs(number - float(printed)) <= tolerance


@dataclass(frozen=True)
class Reported:
    """A reported configuration and its numbers; None or "" where the report gives none.

    Perplexities of the coursework report are taken from its prose, which gives one digit for both curves. ``params`` is
    as printed (20.22 k), ``mmac`` is in millions of MACs for 1,024 characters without the output layer. ``split`` names
    the curve of the perplexities, ``epoch`` is the epoch of ``perplexity_end`` (None for the last), ``seeds`` is the
    number of trainings that it averages, and ``tolerance`` the largest difference in perplexity that still agrees.
    """

    id: str
    figures: tuple[str, ...]
    implementation: Implementation
    cell: CellName
    num_layers: int
    hidden_size: int
    perplexity_start: float | None = None
    perplexity_end: float | None = None
    gap: str = ""
    train_seconds_transcript: float | None = None
    train_seconds_prose: float | None = None
    params: str = ""
    mmac: float | None = None
    samples: tuple[tuple[str, str], ...] = ()  # prompt, text
    split: Split = ""
    epoch: int | None = None
    seeds: int | None = None
    tolerance: float | None = None

    @property
    def label(self) -> str:
        """The name in sentences, tables and figures, such as GRU scratch 1x32; the id unless it is ``shape_id``."""
        if self.id != self.shape_id:
            return self.id
        return f"{self.cell.upper()} {self.implementation} {self.num_layers}x{self.hidden_size}"

    @property
    def shape_id(self) -> str:
        """The id that the coursework report's table gives to the shape, such as gru-scratch-1x32."""
        return f"{self.cell}-{self.implementation}-{self.num_layers}x{self.hidden_size}"

    @property
    def model(self) -> dict[str, str | int]:
        """Implementation and shape, by ModelConfig field."""
        names = ("implementation", "cell", "num_layers", "hidden_size")
        return {name: getattr(self, name) for name in names}

    def agrees_on_parameters(self, parameters: int) -> bool | None:
        """Whether the printed parameter count agrees, within half of its last digit; None if none is printed."""
        printed = PRINTED.fullmatch(self.params)
        return rounds_to(parameters / UNITS[printed[2]], printed[1].replace(",", "")) if printed else None

    def agrees_on_macs(self, macs: int) -> bool | None:
        """Whether the printed MMac agrees, within half of its last digit; None if none is printed."""
        return None if self.mmac is None else rounds_to(macs / 1e6, f"{self.mmac:.10g}")

    @property
    def macs_per_char(self) -> int:
        """MACs per character, output layer included."""
        model = ModelConfig(cell=self.cell, num_layers=self.num_layers, hidden_size=self.hidden_size)
        return closed_form(model, REPORT_SYMBOLS).macs_per_char


@dataclass(frozen=True)
class Table:
    """Reported configurations; ``digest`` is a hash of the table's text."""

    name: str
    digest: str
    rows: tuple[Reported, ...]

    def chosen(self, only: str) -> tuple[Reported, ...]:
        """Select rows by comma-separated ids or globs. Raises InputError for a pattern that matches none."""
        patterns = [pattern.strip() for pattern in only.split(",") if pattern.strip()]
        for pattern in patterns or [""]:
            if not any(fnmatchcase(row.id, pattern) for row in self.rows):
                ids = ", ".join(row.id for row in self.rows)
                raise InputError(f"--only {pattern or only!r} is no configuration of {self.name}; it has {ids}")
        return tuple(row for row in self.rows if any(fnmatchcase(row.id, pattern) for pattern in patterns))


@cache
def report_table() -> Table:
    """The table of the coursework report."""
    return read_table(DATA / "reported.csv", "the coursework report")


def read_table(path: Path, name: str = "") -> Table:
    """Read a table of reported numbers. Raises InputError, naming line and column, for an invalid table."""
    text = read_small(path, "--against", LARGEST_FILE)
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        columns, lines = reader.fieldnames or (), list(islice(reader, MOST_ROWS + 1))
    except csv.Error as error:
        raise InputError(f"--against {path} is no table of comma-separated values: {error}") from None
    if missing := [column for column in REQUIRED_COLUMNS if column not in columns]:
        raise InputError(f"--against {path} has no column {', '.join(missing)}; see pipeline/report/data/reported.csv")
    if len(lines) > MOST_ROWS:
        raise InputError(f"--against {path} has more than {MOST_ROWS:,} rows; give fewer configurations")
    rows: list[Reported] = []
    for number, row in enumerate(lines, 2):
        try:
            rows.append(_row({name: (value or "").strip() for name, value in row.items() if name is not None}))
        except ValueError as error:
            raise InputError(f"--against {path}, line {number}: {error}") from None
    if not rows or len({row.id for row in rows}) < len(rows):
        raise InputError(
            f"--against {path} has {'an id twice' if rows else 'no rows'}; each row needs an id of its own"
        )
    digest = sha256(text.encode()).hexdigest()[:16]
    return Table(name or path.name, digest, tuple(rows))


def _row(cells: Mapping[str, str]) -> Reported:
    """Parse one row. Raises ValueError, naming the column, for an invalid value."""
    if (printed := cells.get("params_reported", "")) and not PRINTED.fullmatch(printed):
        raise ValueError(
            f"params_reported is {printed!r}; it must be a number such as 5952, 20.22 k or 1.3 M, or empty"
        )
    if not cells["id"]:
        raise ValueError("id is empty; each row needs one of its own")
    model = ModelConfig(
        implementation=cells["implementation"],  # type: ignore[arg-type]  # checked by ModelConfig
        cell=cells["cell"],  # type: ignore[arg-type]
        num_layers=_count(cells, "num_layers"),
        hidden_size=_count(cells, "hidden_size"),
    )
    split = cells.get("split", "")
    if split not in get_args(Split):
        raise ValueError(f"split is {split!r}; it must be one of {', '.join(filter(None, get_args(Split)))}, or empty")
    samples = [
        (name.removeprefix(SAMPLE).replace("_", " "), text) for name, text in cells.items() if name.startswith(SAMPLE)
    ]
    return Reported(
        id=cells["id"],
        figures=tuple(filter(None, cells.get("figures", "").split(";"))),
        implementation=model.implementation,
        cell=model.cell,
        num_layers=model.num_layers,
        hidden_size=model.hidden_size,
        perplexity_start=_number(cells, "perplexity_start"),
        perplexity_end=_number(cells, "perplexity_end"),
        gap=cells.get("gap_as_reported", ""),
        train_seconds_transcript=_number(cells, "train_seconds_transcript"),
        train_seconds_prose=_number(cells, "train_seconds_prose"),
        params=cells.get("params_reported", ""),
        mmac=_number(cells, "mmac_reported"),
        samples=tuple((prompt, text) for prompt, text in samples if text),
        split=split,  # type: ignore[arg-type]  # checked above
        epoch=_count(cells, "epoch") if cells.get("epoch") else None,
        seeds=_count(cells, "seeds") if cells.get("seeds") else None,
        tolerance=_number(cells, "tolerance"),
    )


def _number(cells: Mapping[str, str], column: str) -> float | None:
    """Parse a positive number; None if the cell is empty. Raises ValueError for any other text."""
    if not (text := cells.get(column, "")):
        return None
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not 0 < value < inf:
        raise ValueError(f"{column} is {text!r}; it must be a number above 0, or empty")
    return value


def _count(cells: Mapping[str, str], column: str) -> int:
    """Parse a whole number. Raises ValueError for any other text."""
    text = cells[column]
    if not text.isdecimal():
        raise ValueError(f"{column} is {text!r}; it must be a whole number")
    return int(text)


def configurations_of(row: Reported, seed: int, precision: str = "fp32") -> tuple[ModelConfig, TrainConfig]:
    """The configurations that train a row by the report's protocol."""
    return resolve({"preset": "report", **row.model, "seed": seed, "precision": precision})


def own_configurations_of(
    row: Reported, preset: PresetName, seed: int, train_chars: int
) -> tuple[ModelConfig, TrainConfig]:
    """The configurations that train the shape of a row in torch.nn by another preset.

    ``train_chars`` is the number of characters of the training text, on which defaults of the preset depend.
    """
    return resolve({"preset": preset, **row.model, "implementation": "torch", "seed": seed}, train_chars)
