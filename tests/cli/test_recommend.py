"""A recommendation: which text it is about, by its name, its path, or the latest; what seeds that diverged count."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.cli.recommend import recommend, recommended, sentence
from pipeline.errors import InputError
from pipeline.tracking.recorded import RecordedTraining
from tests.made_up import made_up_training
from tests.search.candidates import ALL, candidate

VOCABULARY = 28
SHAPE = ModelConfig("gru", 1, 8)


def run_of_seed(seed: int, config_id: str, val_perplexity: float | None, preset: str = "stream") -> RecordedTraining:
    """A training of SHAPE; without a perplexity, one that diverged."""
    params = {"preset": preset, "seed": str(seed), "cell": "gru", "num_layers": "1", "hidden_size": "8"}
    tags = {"corpus": "my-book", "corpus.sha256": "a", "config_id": config_id}
    metrics = {}
    if val_perplexity is not None:
        cost = closed_form(SHAPE, VOCABULARY)
        metrics = {"size/macs_per_char": float(cost.macs_per_char), "size/parameters": float(cost.parameters)}
        metrics["result/val_perplexity"] = val_perplexity
    run_id = f"{config_id}-{seed}" if metrics else f"{config_id}-{seed}-diverged"
    params["embedding_size"] = "0"
    return made_up_training(run_id, "gru-1x8", ended_ms=seed, params=params, metrics=metrics, tags=tags)


def record(monkeypatch: pytest.MonkeyPatch, *runs: RecordedTraining) -> None:
    """Have the store hold these runs, from the first that ended to the last; those without a result diverged."""

    def finished() -> list[RecordedTraining]:
        return sorted((run for run in runs if run.metrics), key=lambda run: -(run.ended_ms or 0))

    def diverged(digest: str) -> list[RecordedTraining]:
        return [run for run in runs if run.corpus_sha256 == digest and not run.metrics]

    monkeypatch.setattr("pipeline.tracking.recorded.finished_trainings", finished)
    monkeypatch.setattr("pipeline.tracking.recorded.diverged_trainings", diverged)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has these runs recorded, and no others."""

    return lambda *runs: record(monkeypatch, *runs)


def test_a_network_on_top_of_an_ngram_is_named_so_with_all_that_it_stores(monkeypatch):
    run = run_of_seed(0, "a", 4.0)
    metrics = {**run.metrics, "size/stored_numbers": run.metrics["size/parameters"] + 1000}
    record(monkeypatch, replace(run, metrics=metrics))
    said = sentence(recommended("auto", None, 9.0))
    assert said.startswith("gru-1x8-on-ngram: ")
    assert f"{int(metrics['size/stored_numbers']):,} stored numbers" in said


def test_a_seed_that_diverged_counts_as_guessing_and_is_told(trained):
    trained(*(run_of_seed(seed, "wild", value) for seed, value in enumerate((4.0, None, 4.0))))
    found = recommended("auto", 10**6, None)
    assert (found["seeds"], found["diverged"], found["run_id"]) == (3, 1, "wild-0")
    assert found["val_perplexity"] == pytest.approx((4.0 * 4.0 * VOCABULARY) ** (1 / 3))
    assert "(the mean of 3 seeds; 1 diverged, counted as guessing)" in sentence(found)


def test_what_its_time_cut_short_is_no_seed_of_the_whole_training(trained):
    cut = run_of_seed(1, "a", 4.0)
    trained(run_of_seed(0, "a", 4.0), replace(cut, tags={**cut.tags, "stopped": "--max-seconds 9"}))
    assert recommended("auto", 10**6, None)["configurations"] == 2


def test_what_diverges_now_and_then_is_not_preferred_to_what_never_does(trained):
    steady = [run_of_seed(seed, "steady", 5.0) for seed in (0, 1)]
    trained(run_of_seed(0, "wild", 4.0), run_of_seed(1, "wild", None), *steady)
    found = recommended("auto", 10**6, None)
    assert found["run_id"] == "steady-0"
    assert "diverged" not in sentence(found)


def test_a_seed_that_diverged_and_was_then_trained_to_its_end_did_not_diverge(trained):
    trained(run_of_seed(0, "a", None), run_of_seed(0, "a", 4.0), run_of_seed(1, "a", None, preset="report-text"))
    found = recommended("auto", 10**6, None)
    assert (found["seeds"], found["diverged"]) == (1, 0)


def finished(name: str, source: str, digest: str, ended_ms: int) -> RecordedTraining:
    """A training on a text; its hidden size is its time, so that a test sees which one was chosen."""
    params = {"preset": "stream", "seed": "0", "cell": "gru", "num_layers": "1", "hidden_size": str(ended_ms)}
    metrics = {"size/macs_per_char": 1000.0, "size/parameters": 900.0, "result/val_perplexity": 5.0}
    tags = {"corpus": name, "corpus.source": source, "corpus.sha256": digest, "config_id": str(ended_ms)}
    return made_up_training(f"run{ended_ms}", "gru", ended_ms=ended_ms, params=params, metrics=metrics, tags=tags)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Trainings on my-book.txt of two folders and on another text; gives the folder that they lie below."""
    runs = [
        finished("my-book", f"{tmp_path}/old/my-book.txt", "a", 1),
        finished("my-book", f"{tmp_path}/my-book.txt", "b", 2),
        finished("page", "https://host/page.txt", "c", 3),
    ]
    record(monkeypatch, *runs)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("corpus", "hidden_size"),
    [
        ("https://user:secret@host/page.txt?signature=secret", 3),
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


def test_a_text_is_also_meant_by_the_name_that_its_training_printed(monkeypatch):
    """A training on novel.txt with --alphabet raw prints "novel"; its record has "novel-raw"."""
    raw = finished("novel-raw", "/novel.txt", "a", 1)
    raw = replace(raw, params={**raw.params, "alphabet": "raw"})
    letters = finished("novel", "/novel.txt", "b", 2)
    other = finished("page-raw", "/page-raw.txt", "c", 3)
    record(monkeypatch, raw, other)
    assert recommended("novel", 1000, None)["hidden_size"] == recommended("novel-raw", 1000, None)["hidden_size"] == 1
    record(monkeypatch, raw, other, letters)
    assert recommended("novel", 1000, None)["hidden_size"] == 2
    with pytest.raises(InputError, match="texts that have one: novel, novel-raw, page-raw"):
        recommended("page", 1000, None)  # letters, and its file is called so


@pytest.mark.parametrize("corpus", ["nowhere", "", "a\0b", "my-book.txt/x", "~nobody-of-this-name/x"])
def test_a_text_that_was_not_trained_on_is_refused_with_those_that_were(folder, corpus):
    with pytest.raises(InputError, match="has no finished training; texts that have one: my-book, page"):
        recommended(corpus, 1000, None)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"max_macs": 1_000_000}, "best"),
        ({"max_macs": 799_999}, "small"),
        ({"max_macs": 100_000}, "small"),
        ({"max_macs": 60_000}, "knee"),
        ({"max_perplexity": 20}, "tiny"),
        ({"max_perplexity": 4.9}, "small"),
        ({"max_perplexity": 4.5}, "best"),
        ({"max_macs": 200_000, "max_perplexity": 5.5}, "knee"),
    ],
)
def test_a_recommendation_is_the_best_for_the_cost_or_the_cheapest_that_is_good_enough(limits, name):
    assert recommend(ALL, **limits).name == name


@pytest.mark.parametrize(
    "limits", [{"max_macs": 999}, {"max_perplexity": 4}, {"max_macs": 20_000, "max_perplexity": 4.7}]
)
def test_what_cannot_be_had_is_refused_with_what_can(limits):
    with pytest.raises(InputError, match=r"cheapest, tiny, has 1,000 MACs .* best, best, .* of 4\.410 with 800,000:"):
        recommend(ALL, **limits)


def test_without_a_limit_there_is_no_recommendation():
    with pytest.raises(InputError, match="--max-macs, --max-perplexity or both"):
        recommend(ALL)


@given(st.floats(1.0, 28.0))
def test_who_asks_for_the_perplexity_that_a_refusal_names_is_served(perplexity):
    only = candidate("a", 100, perplexity)
    with pytest.raises(InputError) as refusal:
        recommend([only], max_perplexity=0.5)
    named = float(re.findall(r"perplexity of ([0-9.]+)", str(refusal.value))[0])
    assert recommend([only], max_perplexity=named) is only
