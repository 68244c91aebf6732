"""The best models: which text they are of, by its name, its path, or the latest; limits; what seeds count."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.runs.best import best
from pipeline.runs.sentences import best_text
from pipeline.tracking.recorded import RecordedTraining
from pipeline.training.checkpoints import save_checkpoint
from tests.made_up import made_up_training

SYMBOLS = "abcdefghij"
TEXT = ("corpus", "corpus.source", "corpus.sha256")


def run_of_seed(
    seed: int,
    config_id: str,
    val_perplexity: float | None,
    text: tuple[str, str, str] = ("my-book", "/my-book.txt", "a"),
    stored: int = 506,
    hidden_size: int = 8,
    macs: float = 500.0,
    shipped_bytes: float = 2000.0,
    mixed: float = 3.9,
    **tags: str,
) -> RecordedTraining:
    """A GRU 1x8 of 506 parameters, on n-grams if it stores more; without a perplexity, one that diverged.

    ``text`` is its name, source and digest.
    """
    on_top = {"on_top_of": "ngram", "ngrams": 9000} if stored > 506 else {"on_top_of": "nothing"}
    model = {"cell": "gru", "num_layers": 1, "hidden_size": hidden_size, **on_top}
    sizes = {
        "macs_per_char": macs,
        "parameters": 506.0,
        "stored_numbers": float(stored),
        "shipped_bytes": shipped_bytes,
    }
    metrics = {f"size/{name}": value for name, value in sizes.items()}
    metrics |= {"result/mixture_val_perplexity": mixed, "result/val_perplexity": val_perplexity or 0.0}
    return made_up_training(
        f"{config_id}-{seed}" + "-diverged" * (val_perplexity is None),
        f"{config_id}-s{seed}",
        ended_ms=seed,
        configuration={"model": model, "train": {"seed": seed}, "text": {}},
        params={"alphabet": "raw" if text[0].endswith("-raw") else "letters"},
        metrics={} if val_perplexity is None else metrics,
        tags={**dict(zip(TEXT, text, strict=True)), "config_id": config_id, **tags},
    )


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the store hold these runs, from the first that ended to the last; those without a result diverged."""

    def record(*runs: RecordedTraining) -> None:
        finished = sorted((run for run in runs if run.metrics), key=lambda run: -(run.ended_ms or 0))
        diverged = [run for run in runs if not run.metrics]
        monkeypatch.setattr("pipeline.tracking.queries.finished_trainings", lambda: finished)
        monkeypatch.setattr("pipeline.tracking.queries.diverged_trainings", lambda digest: diverged)

    return record


def test_a_seed_that_diverged_counts_as_guessing_among_the_symbols_of_its_text(trained, monkeypatch, tmp_path):
    save_checkpoint(tmp_path / "wild-2", {}, {"vocabulary": {"alphabet": "raw", "symbols": [*SYMBOLS]}})
    monkeypatch.setattr("pipeline.tracking.recorded.artifact_path", lambda run_id, path: tmp_path / run_id)
    without_weights = run_of_seed(0, "wild", 4.0, weights="deleted")
    trained(without_weights, run_of_seed(1, "wild", None), run_of_seed(2, "wild", 4.0))
    found = best()["alone"]
    assert (found["seeds"], found["diverged"], found["run_id"]) == (3, 1, "wild-0")
    assert found["val_perplexity"] == pytest.approx((4.0 * 4.0 * len(SYMBOLS)) ** (1 / 3))


def test_what_its_time_cut_short_is_no_seed_of_the_whole_training(trained):
    trained(run_of_seed(0, "a", 4.0), run_of_seed(1, "a", 4.0, stopped="--max-seconds 9"))
    assert best()["configurations"] == 2


def test_a_seed_that_diverged_and_was_then_trained_to_its_end_did_not_diverge(trained):
    on_other_characters = run_of_seed(1, "a", None, protocol="report-text")
    trained(run_of_seed(0, "a", None), run_of_seed(0, "a", 4.0), on_other_characters)
    assert (best()["alone"]["seeds"], best()["alone"]["diverged"]) == (1, 0)


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
    found = best(corpus)
    assert (found["alone"]["hidden_size"], found["configurations"]) == (hidden_size, 1)


def test_configurations_of_one_name_are_told_apart_by_what_differs_or_else_by_the_run(trained):
    runs = {clip: run_of_seed(0, str(clip), 4.0) for clip in (0.01, 0.03, 0.030001)}
    for clip, run in runs.items():
        vars(run).update(name="gru-1x8-s0", configuration={**run.configuration, "train": {"seed": 0, "clip": clip}})
    trained(*runs.values())
    found = best()["alone"]
    names = ["gru-1x8-s0 (clip 0.01)", "gru-1x8-s0 (run 0.03-0)", "gru-1x8-s0 (run 0.030001)"]
    assert sorted([found["name"], *found["no_verdict_on"]]) == names
    assert found["level_with"] == [], "one seed has no verdict"


def test_the_text_is_that_of_the_last_training_that_a_person_started_and_the_others_are_told(trained):
    own = run_of_seed(0, "a", 4.0)
    trained(own, run_of_seed(1, "b", 4.0, ("novel", "/novel.txt", "b"), role="trial"))
    found = best()
    assert (found["corpus"], found["other_corpora"], found["alone"]["run_id"]) == ("my-book", ["novel"], own.id)


@pytest.mark.parametrize("corpus", ["nowhere", "a\0b"])
def test_a_text_that_was_not_trained_on_is_refused_with_those_that_were(folder, corpus):
    with pytest.raises(InputError, match="has no finished training; texts that have one: my-book, page-raw"):
        best(corpus)


# --- limits -----------------------------------------------------------------------------------------------------------

SIZED = {  # MACs, shipped bytes, perplexities by seed alone and with n-grams, numbers stored
    "tiny": (1_000, 3_000, (9.0, 9.2), 3.8, 506),
    "knee": (10_000, 12_000, (4.55, 4.45), 3.7, 506),
    "top": (5_000, 500_000, (4.40,), 4.3, 9_000),
    "best": (800_000, 700_000, (4.36, 4.34), 3.6, 506),
    "also": (900_000, 300_000, (4.36, 4.36), 3.6, 506),
}


@pytest.fixture
def sized(trained: Callable[..., None]) -> None:
    trained(
        *(
            run_of_seed(seed, name, value, stored=stored, macs=macs, shipped_bytes=size, mixed=mixed)
            for name, (macs, size, values, mixed, stored) in SIZED.items()
            for seed, value in enumerate(values)
        )
    )


@pytest.mark.parametrize(
    ("limits", "within"),
    [
        ({}, "top"),
        ({"max_macs": 1_000_000}, "best"),
        ({"max_macs": 4_999}, "tiny"),
        ({"max_kb": 12.0}, "knee"),
        ({"max_kb": 500.0, "max_macs": 10_000}, "top"),
    ],
)
def test_three_lines_have_the_best_alone_within_the_limits_and_with_n_grams(sized, limits, within):
    found = best(**limits)
    names = {line: found[line] and found[line]["name"] for line in ("alone", "within", "mixed", "cheapest")}
    assert {name: value and value[:-3] for name, value in names.items()} == {
        "alone": "best", "within": within, "mixed": "best", "cheapest": None,
    }  # fmt: skip


def test_what_the_spread_of_seeds_leaves_open_is_level_and_each_line_has_a_command(sized):
    found = best()
    assert [name[:-3] for name in found["alone"]["level_with"]] == ["also"], "but not a network on top of n-grams"
    assert [found[line]["command"].split()[-2] for line in ("alone", "within", "mixed")] == [
        "sample", "sample", "evaluate",
    ]  # fmt: skip
    assert found["alone"]["run_id"].startswith(found["alone"]["command"].split()[-1])


@pytest.mark.parametrize(("apart", "level"), [(1.001, []), (1.05, ["b"])])
def test_configurations_are_level_where_the_seeds_of_their_own_text_vary_as_much(trained, apart, level):
    values = {"a": (4.0, 4.0 * apart), "b": (4.2, 4.2 * apart), "c": (9.0, 9.0 * apart)}
    by_seed = ((seed, name, each) for name, of in values.items() for seed, each in enumerate(of))
    trained(*(run_of_seed(*each, study="search-b", role="trial") for each in by_seed))
    found = best()
    assert [name[:1] for name in found["alone"]["level_with"]] == level
    assert "a-s0 of search-b" in best_text(found, is_limited=False)


@pytest.mark.parametrize(
    ("limits", "name"), [({"max_perplexity": 4.6}, "top"), ({"max_perplexity": 4.6, "max_kb": 400.0}, "knee")]
)
def test_with_a_perplexity_the_cheapest_is_the_only_line(sized, limits, name):
    found = best(**limits)
    assert found["cheapest"]["name"].startswith(name)
    assert (found["alone"], found["within"], found["mixed"]) == (None, None, None)


def test_what_cannot_be_had_is_refused_with_the_nearest(sized):
    nearest = r"3 kB \(tiny-s0\) and 4\.35 validation perplexity \(best-s1\)\. Raise --max-kb and --max-perplexity"
    with pytest.raises(InputError, match=nearest):
        best(max_kb=5.0, max_perplexity=5.0)


@given(st.floats(1.0, 28.0))
def test_who_asks_for_the_perplexity_that_a_refusal_names_is_served(perplexity):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.tracking.queries.finished_trainings", lambda: [run_of_seed(0, "a", perplexity)])
        patch.setattr("pipeline.tracking.queries.diverged_trainings", lambda digest: [])
        with pytest.raises(InputError) as refusal:
            best(max_perplexity=0.5)
        named = float(re.findall(r"([0-9.]+) validation perplexity", str(refusal.value))[0])
        assert best(max_perplexity=named)["cheapest"]["run_id"] == "a-0"
