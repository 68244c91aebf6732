"""A recommendation: which text it is about, by its name, its path, or the latest; what seeds that diverged count."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.search.recommendation import recommend, recommended
from pipeline.tracking.recorded import RecordedTraining
from pipeline.training.checkpoints import save_checkpoint
from tests.made_up import made_up_training
from tests.search.candidates import ALL, candidate

SYMBOLS = "abcdefghij"
TEXT = ("corpus", "corpus.source", "corpus.sha256")


def run_of_seed(
    seed: int,
    config_id: str,
    val_perplexity: float | None,
    text: tuple[str, str, str] = ("my-book", "/my-book.txt", "a"),
    stored: int = 506,
    hidden_size: int = 8,
    **tags: str,
) -> RecordedTraining:
    """A GRU 1x8 of 506 parameters, on n-grams if it stores more; without a perplexity, one that diverged.

    ``text`` is its name, source and digest.
    """
    on_top = {"on_top_of": "ngram", "ngrams": 9000} if stored > 506 else {"on_top_of": "nothing"}
    model = {"cell": "gru", "num_layers": 1, "hidden_size": hidden_size, **on_top}
    sizes = {"size/macs_per_char": 500.0, "size/parameters": 506.0, "size/stored_numbers": float(stored)}
    metrics = {} if val_perplexity is None else {**sizes, "result/val_perplexity": val_perplexity}
    return made_up_training(
        f"{config_id}-{seed}" + "-diverged" * (not metrics),
        "gru-1x8",
        ended_ms=seed,
        configuration={"model": model, "train": {"seed": seed}},
        params={"alphabet": "raw" if text[0].endswith("-raw") else "letters"},
        metrics=metrics,
        tags={**dict(zip(TEXT, text, strict=True)), "config_id": config_id, **tags},
    )


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the store hold these runs, from the first that ended to the last; those without a result diverged."""

    def record(*runs: RecordedTraining) -> None:
        finished = sorted((run for run in runs if run.metrics), key=lambda run: -(run.ended_ms or 0))
        diverged = [run for run in runs if not run.metrics]
        monkeypatch.setattr("pipeline.tracking.recorded.finished_trainings", lambda: finished)
        monkeypatch.setattr("pipeline.tracking.recorded.diverged_trainings", lambda digest: diverged)

    return record


def test_a_network_on_top_of_an_ngram_is_named_so_with_all_that_it_stores(trained):
    trained(run_of_seed(0, "a", 4.0, stored=1506))
    found = recommended("auto", None, 9.0)
    assert (found["shape"], found["stored_numbers"]) == ("gru-1x8-on-9000-ngrams", 1506)


def test_a_seed_that_diverged_counts_as_guessing_among_the_symbols_of_its_text(trained, monkeypatch, tmp_path):
    save_checkpoint(tmp_path / "best", {}, {"vocabulary": {"alphabet": "raw", "symbols": [*SYMBOLS]}})
    monkeypatch.setattr("pipeline.tracking.recorded.artifact_path", lambda run_id, path: tmp_path / "best")
    trained(*(run_of_seed(seed, "wild", value) for seed, value in enumerate((4.0, None, 4.0))))
    found = recommended("auto", 10**6, None)
    assert (found["seeds"], found["diverged"], found["run_id"]) == (3, 1, "wild-0")
    assert found["val_perplexity"] == pytest.approx((4.0 * 4.0 * len(SYMBOLS)) ** (1 / 3))


def test_what_its_time_cut_short_is_no_seed_of_the_whole_training(trained):
    trained(run_of_seed(0, "a", 4.0), run_of_seed(1, "a", 4.0, stopped="--max-seconds 9"))
    assert recommended("auto", 10**6, None)["configurations"] == 2


def test_a_seed_that_diverged_and_was_then_trained_to_its_end_did_not_diverge(trained):
    on_other_characters = run_of_seed(1, "a", None, protocol="report-text")
    trained(run_of_seed(0, "a", None), run_of_seed(0, "a", 4.0), on_other_characters)
    found = recommended("auto", 10**6, None)
    assert (found["seeds"], found["diverged"]) == (1, 0)


@pytest.fixture
def folder(trained: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Trainings on my-book.txt of two folders and on another text, with hidden sizes 1, 2 and 3."""
    texts = [
        ("my-book", f"{tmp_path}/old/my-book.txt", "1"),
        ("my-book", f"{tmp_path}/my-book.txt", "2"),
        ("page-raw", "https://host/page.txt", "3"),
    ]
    trained(*(run_of_seed(n, str(n), 5.0, text, hidden_size=n) for n, text in enumerate(texts, 1)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("corpus", "hidden_size"),
    [
        ("https://user:secret@host/page.txt?signature=secret", 3),
        ("my-book", 2),
        ("my-book.txt", 2),
        ("old/my-book.txt", 1),
        ("page-raw", 3),
    ],
)
def test_a_text_is_meant_by_its_name_its_path_or_its_address_and_texts_of_one_name_are_not_mixed(
    folder, corpus, hidden_size
):
    found = recommended(corpus, 10**6, None)
    assert (found["hidden_size"], found["configurations"]) == (hidden_size, 1)


def test_the_text_is_that_of_the_last_training_that_a_person_started_and_the_others_are_told(trained):
    own = run_of_seed(0, "a", 4.0)
    trained(own, run_of_seed(1, "b", 4.0, ("novel", "/novel.txt", "b"), role="trial"))
    found = recommended("auto", 10**6, None)
    assert (found["corpus"], found["other_corpora"], found["run_id"]) == ("my-book", ["novel"], own.id)


@pytest.mark.parametrize("corpus", ["nowhere", "a\0b"])
def test_a_text_that_was_not_trained_on_is_refused_with_those_that_were(folder, corpus):
    with pytest.raises(InputError, match="has no finished training; texts that have one: my-book, page-raw"):
        recommended(corpus, 1000, None)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"max_macs": 1_000_000}, "best"),
        ({"max_macs": 60_000}, "knee"),
        ({"max_perplexity": 4.9}, "small"),
        ({"max_macs": 200_000, "max_perplexity": 5.5}, "knee"),
    ],
)
def test_a_recommendation_is_the_best_for_the_cost_or_the_cheapest_that_is_good_enough(limits, name):
    assert recommend(ALL, **limits).name == name


@pytest.mark.parametrize("limits", [{"max_macs": 999}, {"max_macs": 20_000, "max_perplexity": 4.7}])
def test_what_cannot_be_had_is_refused_with_what_can(limits):
    with pytest.raises(InputError, match=r"cheapest, tiny, has 1,000 MACs .* best, best, .* of 4\.410 with 800,000:"):
        recommend(ALL, **limits)


@given(st.floats(1.0, 28.0))
def test_who_asks_for_the_perplexity_that_a_refusal_names_is_served(perplexity):
    only = candidate("a", 100, perplexity)
    with pytest.raises(InputError) as refusal:
        recommend([only], max_perplexity=0.5)
    named = float(re.findall(r"perplexity of ([0-9.]+)", str(refusal.value))[0])
    assert recommend([only], max_perplexity=named) is only
