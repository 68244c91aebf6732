"""Reading what is recorded: runs, trainings as rows, finished steps."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import InputError, TrainingDivergedError
from pipeline.tracking import artifacts, queries, recorded, runs
from pipeline.tracking.names import VISIBLE
from pipeline.tracking.queries import (
    BEST_FIRST,
    diverged_trainings,
    finished_trainings,
    has_tag,
    latest,
    listed_trainings,
    nested_trainings,
    trainings,
)
from pipeline.tracking.recorded import RecordedTraining, run_of
from pipeline.tracking.store import set_tags, setup
from tests.cli.commands import run
from tests.labs import execute, record


def test_the_ui_hides_all_tags_but_those_that_people_filter_by(store):
    tags = {"corpus": "topics", "corpus.sha256": "ab", "config_id": "c", "study": "s", "trained_run": "abc"}
    with runs.tracked_run("train", "a run", tags) as run:
        run.tags({"stopped": "--max-seconds 1", "note": "why"})
    shown = {name for name in MlflowClient().get_run(run.id).data.tags if not name.startswith("mlflow.")}
    assert shown == set(VISIBLE) - {"failure"}
    assert (run_of(run.id).corpus_sha256, run_of(run.id).tag("trained_run")) == ("ab", "abc")


def test_what_a_training_has_recorded_is_read_when_it_is_asked_for(trained, monkeypatch):
    training = run_of(trained.run_id)
    assert isinstance(training, RecordedTraining)
    assert training.result == trained.result
    assert list(training.curve("perplexity/val").values()) == pytest.approx(trained.result["val_perplexities"], 1e-5)
    assert training.curve("no/such/metric") == {}
    assert (training.seed, training.preset, training.configuration["model"]["hidden_size"]) == (0, "stream", 8)
    monkeypatch.setattr(MlflowClient, "get_metric_history", lambda *words: pytest.fail("it was read before"))
    assert len(training.curve("perplexity/val")) == 2


@pytest.mark.parametrize(("address", "value", "is_nan"), [("http://127.0.0.1:1/x", -1, 1), ("foo://[", 1e308, 0)])
def test_an_impossible_metric_and_artifacts_at_an_unreadable_address_count_as_missing(trained, address, value, is_nan):
    database = Path(setup().uri.removeprefix("sqlite:///"))
    execute(database, f"UPDATE latest_metrics SET value = {value}, is_nan = {is_nan}")
    execute(database, "UPDATE runs SET artifact_uri = ?", address)
    code, out, _ = run("compare", trained.run_id, "latest", "--json")
    assert (code, json.loads(out)["figures"]["result/val_perplexity"]) == (0, [None, None])
    code, _, err = run("sample", trained.run_id)
    assert (code, "has no checkpoint" in err) == (2, True)
    code, _, err = run("best", "--max-perplexity", "2")
    assert (code, "there is no finished training" in err) == (2, True)


@pytest.mark.parametrize("content", ["[1]", "null", "{", "[" * 10**5, "\udcff"])
def test_what_is_recorded_in_a_wrong_form_counts_as_missing(content):
    assert artifacts.as_dict(json.loads, content, dict) == {}


def test_a_recorded_text_is_utf_8_in_any_locale(trained, monkeypatch):
    MlflowClient().log_text(trained.run_id, "Straße", "note.txt")
    monkeypatch.setattr("io.text_encoding", lambda encoding, level=2: encoding or "ascii")  # as with LC_ALL=C
    assert artifacts.read_text(trained.run_id, "note.txt") == "Straße"


def test_a_training_of_another_format_is_refused_by_both_numbers_and_not_listed(trained):
    set_tags(trained.run_id, {"format": recorded.FORMAT + 1})
    with pytest.raises(
        InputError, match=rf"is recorded in format {recorded.FORMAT + 1}.* reads format {recorded.FORMAT}"
    ):
        run_of(trained.run_id)
    assert [*listed_trainings()] == finished_trainings() == []


def test_a_study_of_any_name_can_be_asked_for(store):
    for name in ("it's", 'the "best"', "100%", "a_b"):
        run = record("search", stage="search", study=name)
        assert [found.id for found in queries.search_runs(has_tag("study", name))] == [run]
    assert latest(has_tag("study", "axb")) is None


# --- lists ------------------------------------------------------------------------------------------------------------


def test_a_training_is_a_row_with_its_shape_figures_and_cost(trained, small_text):
    (row,) = [training.row() for training in listed_trainings()]
    expected = {name: trained.result[name] for name in ("corpus_sha256", "macs_per_char", "parameters")}
    expected |= {"run_id": trained.run_id, "corpus": small_text.stem, "state": "finished", "cell": "lstm"}
    expected |= {"num_layers": 1, "hidden_size": 8, "seed": 0, "preset": "stream"}
    assert expected.items() <= row.items()
    for name in ("val_perplexity", "test_perplexity", "train_seconds"):
        assert row[name] == pytest.approx(trained.result[name], rel=1e-4)
    assert row["ended_ms"] > row["started_ms"]


def test_running_trainings_come_first_and_then_the_last_that_ended(store, monkeypatch):
    record("older")
    record("stopped", error=KeyboardInterrupt())
    record("broken", error=ValueError("half way"))
    record("parent", stage="search")
    with runs.tracked_run("train", "now", {}) as run:
        run.params({"hidden_size": "foo", "num_layers": "inf", "seed": "3"})  # as `mlflow run` records any -P
        rows = [training.row() for training in listed_trainings()]
        monkeypatch.setattr("pipeline.tracking.recorded.is_gone", lambda tags: True)
        assert next(listed_trainings()).state == "failed", "its process is gone"
    expected = [("now", "running"), ("broken", "failed"), ("stopped", "stopped"), ("older", "finished")]
    assert [(row["name"], row["state"]) for row in rows] == expected
    assert [rows[0][name] for name in ("ended_ms", "val_perplexity", "num_layers", "hidden_size", "seed")] == [
        None, None, None, None, 3,
    ]  # fmt: skip


def test_trainings_are_chosen_by_words_text_and_number_from_all_pages(store, monkeypatch):
    monkeypatch.setattr(queries, "PAGE", 2)
    record("lstm-1x8-s0", corpus="a-text")
    record("gru-1x8-s0", corpus="novel", study="tiny")
    last = record("gru-2x8-s0", corpus="novel")

    def names(*words: Any, **options: Any) -> list[str]:
        return [training.name for training in listed_trainings(*words, **options)]

    assert names() == ["gru-2x8-s0", "gru-1x8-s0", "lstm-1x8-s0"]
    assert names("GRU nov") == ["gru-2x8-s0", "gru-1x8-s0"]
    assert names("tiny") == ["gru-1x8-s0"]
    assert names(last[:6]) == names(corpus="novel")[:1] == ["gru-2x8-s0"]
    with pytest.raises(InputError, match="nov has no training; texts that have one: a-text, novel"):
        names(corpus="nov")


def test_the_training_with_the_lowest_perplexity_comes_first(store):
    for name, perplexity in {"worse": 9.0, "best": 3.5, "good": 4.0}.items():
        run_id = record(name)
        MlflowClient().log_metric(run_id, "result/val_perplexity", perplexity)
    record("without")
    assert [run.name for run in trainings(order=BEST_FIRST)] == ["best", "good", "worse", "without"]


def test_trainings_that_diverged_are_found_and_others_that_failed_are_not(store):
    tags = {"corpus": "topics", "corpus.sha256": "ab"}
    diverged = record("diverged", error=TrainingDivergedError("the loss is nan"), **tags)
    record("failed", error=ValueError("no"), **tags)
    assert [run.id for run in diverged_trainings("ab")] == [diverged]
    assert diverged_trainings("cd") == finished_trainings("ab") == []


def test_nested_trainings_are_in_the_order_in_which_they_started(store):
    with runs.tracked_run("search", "search", {}) as parent:
        ids = [record("first"), record("second")]
        record("other", stage="sample")
    record("elsewhere")
    nested = nested_trainings(parent.id)
    assert [run.id for run in nested] == ids
    assert all(isinstance(run, RecordedTraining) for run in nested)
