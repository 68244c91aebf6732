"""Which text a recommendation is about: by its name, its path, or the latest."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline import tracking
from pipeline.cli import cli
from pipeline.errors import InputError
from pipeline.recommendation import recommended
from pipeline.tracking import FinishedTraining


def finished(name: str, source: str, digest: str, ended_ms: int) -> FinishedTraining:
    """A training on a text; its hidden size is its time, so that a test sees which one was chosen."""
    params = {"preset": "stream", "seed": "0", "cell": "gru", "num_layers": "1", "hidden_size": str(ended_ms)}
    metrics = {"cost/macs_per_char": 1000.0, "cost/parameters": 900.0, "final/val_perplexity": 5.0}
    tags = {"corpus": name, "corpus.source": source, "corpus.sha256": digest, "config_id": str(ended_ms)}
    return FinishedTraining(f"run{ended_ms}", "gru", ended_ms, params, metrics, tags)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Trainings on my-book.txt of two folders and on another text; gives the folder that they lie below."""
    runs = [
        finished("my-book", f"{tmp_path}/old/my-book.txt", "a", 1),
        finished("my-book", f"{tmp_path}/my-book.txt", "b", 2),
        finished("page", "https://host/page.txt", "c", 3),
    ]
    monkeypatch.setattr(tracking, "finished_trainings", lambda: runs)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("corpus", "hidden_size"),
    [
        ("auto", 3),
        ("my-book", 2),
        ("my-book.txt", 2),
        ("old/my-book.txt", 1),
        ("page", 3),
        ("https://host/page.txt", 3),
    ],
)
def test_a_text_is_meant_by_its_name_its_path_or_its_address_and_texts_of_one_name_are_not_mixed(
    folder, corpus, hidden_size
):
    found = recommended(corpus, 1000, None)
    assert (found["hidden_size"], found["configurations"]) == (hidden_size, 1)


@pytest.mark.parametrize("corpus", ["nowhere", "", "a\0b", "my-book.txt/x", "~nobody-of-this-name/x"])
def test_a_text_that_was_not_trained_on_is_refused_with_those_that_were(folder, corpus):
    with pytest.raises(InputError, match="has no finished training; texts that have one: my-book, page"):
        recommended(corpus, 1000, None)


def test_the_help_of_corpus_is_of_this_command():
    shown = " ".join(CliRunner().invoke(cli, ["recommend", "--help"], terminal_width=200).stdout.split())
    assert "auto: the text of the latest finished training" in shown
    assert "python-docs" not in shown
