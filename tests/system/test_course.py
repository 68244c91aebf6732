"""The course: its commands work, in the order of the page, and its bands are those of the recorded seeds."""

import csv
import re
import shlex
from pathlib import Path

import pytest

from pipeline.support.statistics import estimate
from tests.checkout import ROOT
from tests.cli.commands import run
from tests.pools import Inline

COURSE = (ROOT / "docs" / "course.md").read_text()
SLACK = 0.01  # for another processor or version of PyTorch
SMALL = {  # options that are given last win
    "train": ["--epochs", "1", "--hidden-size", "8", "--num-layers", "1"],
    "search": ["--trials", "2", "--epochs", "1", "--cell", "gru", "--num-layers", "1", "--hidden-size", "4,8"],
    "reproduce": ["--only", "gru-scratch-1x8"],
}


def band(values: list[float]) -> str:
    """The 95 % prediction interval of these, widened by SLACK."""
    found = estimate(values, of_next=True)
    low, high = found.ends or (found.mean, found.mean)
    return f"{low * (1 - SLACK):.2f} to {high * (1 + SLACK):.2f}"


def test_the_bands_are_those_of_the_recorded_seeds_and_hold_for_other_instructions():
    recorded: dict[str, list[float]] = {}
    elsewhere = {}
    for row in csv.DictReader((ROOT / "docs" / "data" / "course.csv").read_text().splitlines()):
        if row["instructions"]:
            elsewhere[row["figure"]] = float(row["value"])
        else:
            recorded.setdefault(row["figure"], []).append(float(row["value"]))
    shown = dict(re.findall(r"^\| (.+?) \| ([\d.]+ to [\d.]+) \|$", COURSE, re.MULTILINE))
    assert shown == {figure: band(values) for figure, values in recorded.items()}
    assert len(elsewhere) == 8
    for figure, value in elsewhere.items():
        low, high = map(float, shown[figure].split(" to "))
        assert low <= value <= high, figure


@pytest.mark.slow
def test_the_commands_of_the_exercises_work_in_their_order(store, book, tmp_path, monkeypatch):
    """With less training, in this process."""
    monkeypatch.setattr("pipeline.search.commands.pool_on", lambda *options: lambda corpus: Inline)
    monkeypatch.chdir(tmp_path)
    Path("hand-in").mkdir()
    done = []
    for line in re.findall(r"^ *\$ tmlm (.+)$", COURSE, re.MULTILINE):
        words = shlex.split(line)
        if words[0] in ("ui", "doctor"):
            continue
        code, _, error = run(*words, *SMALL.get(words[0], []))
        assert code == 0, (line, error)
        done.append(words[0])
    assert {"train", "search", "reproduce", "export", "compare", "best", "evaluate"} <= {*done}
    assert len([*Path("hand-in").glob("*/index.html")]) == 5
