"""Lists the numbers of README and docs/*.md with the rows of docs/data that have them.

    python -m tests.benchmarks.numbers [--without]

A line for each number in a sentence: page, line, the number as printed, and where it is recorded, rounded in the same
way: a cell, or the mean, lowest or highest of the seeds of a row. ``--without`` lists only those that no row has:
versions, definitions and what was measured by hand. Numbers in code are left out, and those of tables and of the
sentences of answers, searches and texts, which tests/project/test_data.py compares. A whole number under 100 is left
out unless it is a percentage. Digits meet by chance: a line says where to look, and proves nothing.
"""

import argparse
import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator
from math import log2
from pathlib import Path
from statistics import fmean
from typing import Any

from pipeline.course.bands import ROWS
from tests.figures import DOCS

NUMBER = re.compile(r"(?<![\w.:/#-])[+-]?\d[\d,]*(?:\.\d+)?(?![\w/:]|\.\d)(?: %)?")
LEFT_OUT = re.compile(r"```.*?```|`[^`]*`|\]\([^)]*\)|https?://\S+|\b(?:19|20)\d\d\b", re.S)
SAMPLERS = DOCS.parent / "tests" / "known_cost" / "benchmarks" / "data"
TRAININGS: list[str | Path] = ["runs.csv", "ngrams.csv", "speed.csv", "systems.csv", "compared.csv"]
# page -> the files of docs/data, or folders, that it speaks of; of all other pages TRAININGS
SOURCES: dict[str, list[str | Path]] = {
    "README.md": [*TRAININGS, "search.json", "answer.json"],
    "answer.md": ["answer.json"],
    "course.md": [str(ROWS), *TRAININGS],
    "known-cost-sampler.md": [SAMPLERS],
    "on-top-of-counting.md": [*TRAININGS, "counting_loss.csv", "gates.csv"],
    "reproduction.md": [DOCS / "report"],
    "results.md": [*TRAININGS, "recipe_trainings.csv", "counting_trials.csv", "rivals.csv", "bench.json"],
    "sampler-comparison.md": [SAMPLERS],
    "search.md": ["search.json", "search.csv", *TRAININGS],
}


def of_json(value: Any, path: str) -> Iterator[tuple[float, str]]:
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from of_json(each, f"{path} {key}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value), path


def of_table(file: Path) -> Iterator[tuple[float, str]]:
    """Cells; and of rows that differ in the seed alone, by column, the mean, lowest and highest."""
    groups: dict[tuple[str, ...], dict[str, list[float]]] = {}
    with file.open() as text:
        for number, row in enumerate(csv.DictReader(text), 2):
            numeric = {name: float(cell) for name, cell in row.items() if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell)}
            key = tuple(cell for name, cell in row.items() if name not in numeric or name in ("recipe", "trial"))
            for name, value in numeric.items():
                yield value, f"{file.name}:{number} {name}"
                groups.setdefault(key, {}).setdefault(name, []).append(value)
    for key, columns in groups.items():
        for name, values in columns.items():
            if 1 < len(values) < 50:
                for kind, value in ("mean", fmean(values)), ("lowest", min(values)), ("highest", max(values)):
                    yield value, f"{file.name} {' '.join(filter(None, key))[:60]} {name}, {kind} of {len(values)}"


def recorded(page: str) -> dict[str, str]:
    """Where the numbers that a page speaks of are recorded, by their digits as printed with 0 to 4 decimals."""
    found: dict[str, str] = {}
    for source in SOURCES.get(page, TRAININGS):
        for file in sorted(source.iterdir()) if isinstance(source, Path) else [DOCS / "data" / source]:
            values: Iterable[tuple[float, str]] = ()
            if file.suffix == ".csv":
                values = of_table(file)
            elif file.suffix == ".json":
                values = of_json(json.loads(file.read_text()), file.name)
            for value, place in values:
                for each in (value, log2(value)) if value > 1 else (value,):
                    for decimals in range(5):
                        found.setdefault(f"{abs(each):.{decimals}f}", place)
    return found


def numbers(page: Path) -> Iterator[tuple[int, str]]:
    """The numbers in sentences of a page, with their lines."""
    text = LEFT_OUT.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), page.read_text())
    for number, line in enumerate(text.split("\n"), 1):
        for found in NUMBER.finditer(line) if not line.startswith("|") else ():
            printed = found[0].strip()
            if "." in printed or "%" in printed or float(printed.replace(",", "")) >= 100:
                yield number, printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without", action="store_true", help="only numbers that no row has")
    parser.add_argument("pages", nargs="*", type=Path, default=[DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))])
    options = parser.parse_args()
    for page in options.pages:
        places = recorded(page.name)
        for line, printed in numbers(page):
            source = places.get(re.sub(r"[^\d.]", "", printed), "-")
            if source == "-" or not options.without:
                sys.stdout.write(f"{page.name}:{line}\t{printed}\t{source}\n")


if __name__ == "__main__":
    main()
