"""The course: its commands work, in the order of the page, and its bands are those of the recorded seeds."""

import csv
import re
import shlex
from pathlib import Path

import pytest

from pipeline.config import CorpusConfig
from pipeline.course.bands import ROWS, packaged_course
from pipeline.text.corpus import load_corpus
from tests.checkout import ROOT
from tests.cli.commands import run
from tests.pools import Inline

COURSE = (ROOT / "docs" / "course.md").read_text()
SMALL = {  # options that are given last win
    "train": ["--epochs", "1", "--hidden-size", "8", "--num-layers", "1"],
    "search": ["--trials", "2", "--epochs", "1", "--cell", "gru", "--num-layers", "1", "--hidden-size", "4,8"],
    "reproduce": ["--only", "gru-scratch-1x8"],
}


def test_the_bands_of_the_page_are_those_of_the_recorded_seeds_and_hold_for_other_instructions():
    bands = packaged_course().bands
    shown = re.findall(r"^\| (.+?) \| ([\d.]+ to [\d.]+) \|$", COURSE, re.MULTILINE)
    assert shown == [(band.label, f"{band.low:.2f} to {band.high:.2f}") for band in bands]
    elsewhere = [row for row in csv.DictReader(ROWS.read_text().splitlines()) if row["instructions"]]
    assert len(elsewhere) == 8
    by_figure = {(band.options, band.metric): band for band in bands}
    for row in elsewhere:
        band = by_figure[row["options"], row["metric"]]
        assert band.low <= float(row["value"]) <= band.high, row


def test_the_title_counts_the_exercises():
    assert COURSE.startswith("# A course in seven exercises\n")
    assert re.findall(r"^## (\d)", COURSE, re.MULTILINE) == [*"1234567"]


def test_the_bands_are_of_the_book(book):
    corpus, course = load_corpus(CorpusConfig("time-machine")), packaged_course()
    assert (corpus.corpus_sha256, corpus.train_chars) == (course.corpus_sha256, course.train_chars)


@pytest.mark.slow
def test_the_commands_of_the_exercises_work_in_their_order(store, book, tmp_path, monkeypatch):
    """With less training, in this process."""
    monkeypatch.setattr("pipeline.search.commands.pool_on", lambda *options: lambda corpus: Inline)
    monkeypatch.chdir(tmp_path)
    done = []
    for line in re.findall(r"^ *\$ tmlm (.+)$", COURSE, re.MULTILINE):
        words = shlex.split(line.replace("--seed N", "--seed 1"))
        if words[0] in ("ui", "doctor"):
            continue
        code, _, error = run(*words, *SMALL.get(words[0], []))
        assert code == (2 if words[0] == "check" else 0), (line, error)  # smaller trainings are of no exercise
        done.append(words[0])
    assert {"train", "search", "reproduce", "export", "compare", "best", "check"} <= {*done}
    assert len([*Path("hand-in").glob("*/index.html")]) == 5
