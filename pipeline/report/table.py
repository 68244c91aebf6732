"""The coursework report as data: its 17 configurations with every number that it states, from data/reported.csv."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from models.complexity import REPORT_SYMBOLS, Complexity, closed_form
from models.config import Implementation, ModelConfig
from pipeline.config import TrainConfig, resolve
from pipeline.errors import InputError
from pipeline.support.records import read_as

DATA = Path(__file__).with_name("data")
REPORT_NAME = "the coursework report"
SAMPLE = "sample_"  # prefix of a column of generated texts; the rest of its name is the prompt
SIZE = r"(\d[\d,]*(?:\.\d+)?(?:e[+-]\d+)?) ?(k|K|MMac|M|)"  # 5952; 20.22 k; 1.3 M; 6.32 MMac
LAST_DIGIT = 0.5  # part of the last digit that is given, within which a size agrees
UNITS = {"": 1, "k": 1000, "K": 1000, "M": 1_000_000}


def size_agrees(stated: str, size: Complexity) -> bool:
    """Whether a stated number of parameters or MACs, as SIZE, is that of a shape, within half of its last digit."""
    match = re.fullmatch(SIZE, stated)
    assert match, stated
    exact = size.report_macs / 1e6 if match[2] == "MMac" else size.report_parameters / UNITS[match[2]]
    digits = match[1].replace(",", "")
    tolerance = LAST_DIGIT * 10.0 ** -len(digits.partition(".")[2]) * (1 + 1e-9)  # for float error at exactly a half
    return abs(exact - float(digits)) <= tolerance


@dataclass(frozen=True)
class Reported:
    """A reported configuration and its numbers; None or "" where the report gives none."""

    id: str  # cell, implementation and shape, such as gru-scratch-1x32
    figures: tuple[str, ...]
    implementation: Implementation
    cell: str
    num_layers: int
    hidden_size: int
    perplexity_start: float  # both from the prose, which gives one digit for both curves
    perplexity_end: float
    train_seconds_prose: float
    train_seconds_transcript: float | None = None
    params: str = ""  # as printed (20.22 k)
    mmac: float | None = None  # millions of MACs for 1,024 characters without the output layer
    samples: tuple[tuple[str, str], ...] = ()  # prompt, text

    @property
    def shape(self) -> str:
        """Cell, layers and hidden size, such as gru-2x32."""
        return f"{self.cell}-{self.num_layers}x{self.hidden_size}"

    @property
    def model(self) -> dict[str, Any]:
        """Implementation and shape, by ModelConfig field."""
        return {name: getattr(self, name) for name in ("implementation", "cell", "num_layers", "hidden_size")}

    @property
    def train_seconds(self) -> float:
        """The training time: from the transcript, else from the prose."""
        return self.train_seconds_transcript or self.train_seconds_prose

    @property
    def printed(self) -> tuple[str, str]:
        """The printed parameters and MACs, such as 20.22 k and 20.84 MMac; "" where none are printed."""
        return self.params, "" if self.mmac is None else f"{self.mmac:.10g} MMac"

    def agreement(self, size: Complexity) -> tuple[bool | None, ...]:
        """Whether parameters and MACs are as printed, to the last digit; None where none are printed."""
        return tuple(size_agrees(stated, size) if stated else None for stated in self.printed)

    @property
    def macs_per_char(self) -> int:
        """MACs per character, output layer included."""
        return closed_form(ModelConfig(**self.model), REPORT_SYMBOLS).macs_per_char


def read_csv(name: str) -> list[dict[str, str]]:
    """The rows of a file of data/."""
    with (DATA / name).open(newline="") as file:
        return [*csv.DictReader(file)]


@cache
def report_rows() -> tuple[Reported, ...]:
    """The configurations of the report, in its order."""
    return tuple(map(_row, read_csv("reported.csv")))


def _row(cells: Mapping[str, str]) -> Reported:
    given = {column: text for column, text in cells.items() if text}
    samples = [(column.removeprefix(SAMPLE).replace("_", " "), given[column]) for column in given if SAMPLE in column]
    row = read_as({**given, "figures": cells["figures"].split(";"), "samples": samples}, Reported)
    assert row, cells
    return row


def chosen_rows(only: str) -> tuple[Reported, ...]:
    """Select configurations by comma-separated ids or globs. Raises InputError for a pattern that matches none."""
    rows, patterns = report_rows(), [pattern.strip() for pattern in only.split(",") if pattern.strip()]
    for pattern in patterns or [""]:
        if not any(fnmatchcase(row.id, pattern) for row in rows):
            ids = ", ".join(row.id for row in rows)
            raise InputError(f"--only {pattern or only!r} is no configuration of {REPORT_NAME}; it has {ids}")
    return tuple(row for row in rows if any(fnmatchcase(row.id, pattern) for pattern in patterns))


def configs_of_row(
    row: Reported, seed: int, role: str = "report", precision: str = "fp32"
) -> tuple[ModelConfig, TrainConfig]:
    """The configurations that train a row by the report's protocol; as same-text, in torch.nn by our recipe."""
    options = {**row.model, "seed": seed}
    if role == "report":
        return resolve({**options, "preset": "report", "precision": precision})
    return resolve({**options, "preset": "report-text", "implementation": "torch"})


@cache
def protocol_epochs(reported: Reported) -> int:
    """The number of epochs of the report's protocol."""
    epochs = configs_of_row(reported, 0)[1].epochs
    assert epochs is not None
    return epochs
