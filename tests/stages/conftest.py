"""Fixtures of the stages' tests: a reproduction recorded once, in a store to read or to copy."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import REPORT_PROMPTS, CorpusConfig
from pipeline.stages.report import ReproductionRun
from pipeline.stages.reproduce import reproduce
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.tracking.store import setup
from tests.labs import copy_store, leave_out_the_served_model, new_store, store_at
from tests.pools import Inline
from tests.stages.reproductions import TWO, stand_in

Kept = tuple[Path, ReproductionRun]  # a store, and the reproduction in it


@pytest.fixture(scope="session")
def corpus(small_text: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A short text in place of the book, with the prompts that the report takes from the book."""
    path = tmp_path_factory.mktemp("text") / small_text.name
    path.write_text(f"{small_text.read_text()} {' and '.join(REPORT_PROMPTS)} and")
    return load_corpus(CorpusConfig(str(path)))


@pytest.fixture
def _stand_in(monkeypatch: pytest.MonkeyPatch, corpus: Corpus) -> None:
    """Train on ``corpus`` in place of the book, and leave out the pictures."""
    stand_in(monkeypatch, corpus)


@pytest.fixture(scope="session")
def kept(tmp_path_factory, empty_database, corpus) -> Kept:
    """A quick reproduction of two configurations, made once."""
    home = new_store(tmp_path_factory.mktemp("kept") / "lab", empty_database)
    with store_at(home), pytest.MonkeyPatch.context() as patch:
        stand_in(patch, corpus)
        return home, reproduce(TWO, quick=True, make_pool=Inline)


@pytest.fixture
def lab(kept) -> Path:
    """The folder in which ``done`` was made."""
    home: Path = kept[0]
    return home


@pytest.fixture
def done(kept) -> Iterator[ReproductionRun]:
    """A quick reproduction of two configurations, to read and not to resume."""
    home, run = kept
    with store_at(home):
        setup()
        yield run


@pytest.fixture
def own(no_store: Path, kept: Kept) -> ReproductionRun:
    """A copy of the quick reproduction of two configurations, for the test alone."""
    home, run = kept
    copy_store(home, no_store)
    setup()
    folder = no_store / run.folder.relative_to(home)
    return replace(run, folder=folder, result={**run.result, "report": str(folder / "report.html")})


@pytest.fixture
def no_served_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train without logging the model to be served."""
    leave_out_the_served_model(monkeypatch)
