"""Copies of runs in another store: equal to their source, found again, and never halves or doubles."""

from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.errors import InputError, RecordingError
from pipeline.runs.note import note
from pipeline.runs.push import push
from pipeline.tracking import recorded, references
from pipeline.tracking.queries import search_runs
from pipeline.tracking.recorded import RecordedRun
from pipeline.tracking.registry import register_picks
from pipeline.tracking.runs import tracked_run
from pipeline.tracking.store import setup
from tests.labs import new_store, store_at
from tests.made_up import SEARCH

WRITES = (
    *("create_run", "log_batch", "log_inputs", "log_artifacts", "set_terminated", "set_tag", "create_logged_model"),
    *("log_model_artifacts", "finalize_logged_model", "log_outputs", "create_registered_model"),
    *("create_model_version", "set_registered_model_alias"),
)


@pytest.fixture
def other(tmp_path: Path, empty_database: Path) -> Path:
    """The folder of another store without any records."""
    return new_store(tmp_path / "other", empty_database)


def searched() -> tuple[str, str]:
    """The ids of a search and of its only trial, whose note and result name each other."""
    with tracked_run("search", "search-tiny", {"study": "tiny", "corpus": "novel", "corpus.sha256": "ab" * 32}) as run:
        with tracked_run("train", "gru-1x8-s0", {"study": "tiny", "role": "trial"}) as trial:
            trial.params({"cell": "gru", "hidden_size": 8})
            trial.curve("perplexity/val", {1: 9.0, 2: float("nan"), 3: 8.5})
        run.describe(f"[gru](#/experiments/{setup().experiment_id}/runs/{trial.id}?workflowType=machine_learning)")
        run.json(
            "result.json", {**SEARCH, "run_id": run.id, "picks": {"knee": {"run_id": trial.id, "sentence": "It is."}}}
        )
    return run.id, trial.id


def curve_of(run_id: str) -> list[tuple[int, int, str]]:
    """The points of a trial's curve: step, time and value."""
    points = MlflowClient().get_metric_history(run_id, "perplexity/val")
    return [(point.step, point.timestamp, str(point.value)) for point in points]


def runs_in(home: Path) -> dict[str, RecordedRun]:
    """The runs of a store by name; fails if two have the same."""
    with store_at(home):
        found = list(search_runs())
        assert len({run.name for run in found}) == len(found)
        return {run.name: run for run in found}


def test_a_run_that_is_deleted_while_it_is_pushed_is_missed_at_its_source(store, other, monkeypatch):
    def log_and_delete(target: MlflowClient, *args: Any) -> None:
        log(target, *args)
        source._hard_delete_run(trial_id)

    *_, trial_id = searched()
    log, source = MlflowClient.log_artifacts, MlflowClient()._tracking_client.store
    monkeypatch.setattr(MlflowClient, "log_artifacts", log_and_delete)
    with pytest.raises(RecordingError, match=rf"the run {trial_id} was deleted from .*lab"):
        push(str(other / "mlruns"), "all")


def test_a_copy_of_a_search_refers_to_copies_and_has_curves_times_and_nesting(store, other):
    search_id, trial_id = searched()
    MlflowClient().delete_tag(trial_id, "mlflow.user")  # as of a user without a name
    with tracked_run("train", "busy", {}) as busy:
        result = push(str(other / "mlruns"), "all")
        assert (result["copied"], result["running"]) == (2, [f"busy ({busy.id})"])
    source, curve = recorded.run_of(trial_id), curve_of(trial_id)
    copies = runs_in(other)
    search, trial = copies["search-tiny"], copies["gru-1x8-s0"]
    assert not {search_id, trial_id} & {search.id, trial.id}
    assert trial.tag("mlflow.parentRunId") == search.id
    assert (trial.started_ms, trial.ended_ms, trial.params) == (source.started_ms, source.ended_ms, source.params)
    with store_at(other):
        assert f"/experiments/{setup().experiment_id}/runs/{trial.id}?" in search.tag("mlflow.note.content")
        assert references.training_of("tiny").id == trial.id
        assert curve_of(trial.id) == curve


def test_what_was_copied_is_neither_overwritten_nor_copied_back(store, other):
    _, trial_id = searched()
    push(str(other / "mlruns"), "tiny")
    MlflowClient().log_batch(trial_id, tags=[RunTag("mlflow.note.content", "a later note")])
    result = push(str(other / "mlruns"), "tiny")
    assert (result["copied"], result["earlier"], result["changed"]) == (0, 2, [f"gru-1x8-s0 ({trial_id})"])
    assert not runs_in(other)["gru-1x8-s0"].tag("mlflow.note.content")
    assert push(str(store / "mlruns"), "all")["copied"] == 0  # into itself
    with store_at(other):
        assert push(str(store / "mlruns"), "all")["copied"] == 0


def test_a_note_is_no_part_of_the_digest_and_reaches_a_copy_unless_that_was_given_another_one(store, other):
    search_id, trial_id = searched()
    target, seen = str(other / "mlruns"), []
    for text in (f"see {trial_id}", "second", "", "third"):
        note(search_id, text)
        result, copies = push(target, "tiny"), runs_in(other)
        seen.append((copies["search-tiny"].note, copies["search-tiny"].tag("mlflow.note.content")))
        assert (result["noted"], result["changed"]) == (len(seen) > 1, [])
    said, link = [f"see {copies['gru-1x8-s0'].id}", "second", "", "third"], seen[2][1]
    assert seen == [(text, f"{text}\n\n{link}".strip()) for text in said]
    with store_at(other):
        note("tiny", "ours")
        push(str(store / "mlruns"), "all")
    assert recorded.run_of(search_id).note == "third"
    assert push(target, "tiny")["renoted"] == [], "there is nothing new"
    note(search_id, "fourth")
    assert push(target, "tiny")["renoted"] == [f"search-tiny ({search_id})"]
    assert runs_in(other)["search-tiny"].note == "ours"


def test_a_copied_model_is_loaded_by_its_alias_unless_that_is_taken(trained, other, monkeypatch):
    """Among more registered models than a page of the source's has."""
    page_of_one = partialmethod(MlflowClient.search_registered_models, max_results=1)
    monkeypatch.setattr(MlflowClient, "search_registered_models", page_of_one)
    MlflowClient().create_registered_model("another")
    run = recorded.run_of(trained.run_id)
    register_picks({"knee": (run.id, "It is the knee.")}, "tiny", run.corpus)
    first = push(str(other / "mlruns"), run.id)
    assert (first["copied"], first["aliases"], first["taken"]) == (1, ["@tiny-knee"], [])
    with store_at(other):
        checkpoint, copy = references.checkpoint_of("@tiny-knee")
        assert checkpoint.read_bytes() == Path(trained.result["checkpoint"]).read_bytes()
        assert checkpoint.is_relative_to(other)
        assert recorded.run_of(str(copy)).result["checkpoint"] == str(checkpoint)
        MlflowClient().delete_run(str(copy))
    again = push(str(other / "mlruns"), run.id)
    assert (again["copied"], again["aliases"], again["taken"]) == (1, [], ["@tiny-knee"])


def test_a_push_whose_requests_arrive_twice_leaves_no_doubles(trained, other, monkeypatch):
    def twice(write: Callable[..., object]) -> Callable[..., object]:
        return lambda *args, **options: (write(*args, **options), write(*args, **options))[1]

    for name in ("create_run", "create_logged_model", "log_batch", "set_tag"):
        monkeypatch.setattr(MlflowClient, name, twice(getattr(MlflowClient, name)))
    assert push(str(other / "mlruns"), "all")["copied"] == 1
    assert len(runs_in(other)) == 1
    with store_at(other):
        assert len(MlflowClient().search_logged_models([setup().experiment_id])) == 1


@pytest.mark.slow
def test_a_model_and_a_run_without_artifacts_reach_a_server_that_keeps_them(trained, mlflow_server, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with tracked_run("train", "without artifacts", {}):
        pass
    run = recorded.run_of(trained.run_id)
    register_picks({"knee": (run.id, "It is the knee.")}, "tiny", run.corpus)
    assert push(mlflow_server.url(), "all")["copied"] == 2
    assert (push(mlflow_server.url(), "all")["earlier"], setup().database is None) == (2, False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.url())
    checkpoint, copy = references.checkpoint_of("@tiny-knee")
    assert checkpoint.read_bytes() == Path(trained.result["checkpoint"]).read_bytes()
    place = f"{recorded.run_of(str(copy)).artifact_uri}/checkpoints/best.safetensors"
    assert (place.partition(":")[0], recorded.run_of(str(copy)).result["checkpoint"]) == ("mlflow-artifacts", place)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_push_that_is_killed_after_any_write_is_completed_by_the_next(trained, tmp_path, empty_database, monkeypatch):
    run = recorded.run_of(trained.run_id)
    register_picks({"knee": (run.id, "It is the knee.")}, "tiny", run.corpus)
    searched()
    left = 0

    def killed_later(write: Callable[..., object]) -> Callable[..., object]:
        def killed(*args: object, **options: object) -> object:
            nonlocal left
            result, left = write(*args, **options), left - 1
            if left == 0:
                raise KeyboardInterrupt
            return result

        return killed

    for name in WRITES:
        monkeypatch.setattr(MlflowClient, name, killed_later(getattr(MlflowClient, name)))
    for kills in range(1, 100):
        other = new_store(tmp_path / f"killed after {kills}", empty_database)
        left = kills
        try:
            push(str(other / "mlruns"), "all")
            break
        except KeyboardInterrupt:
            complete = [copy for copy in runs_in(other).values() if copy.tag("pushed.digest")]
        assert all(copy.stage and copy.status == "FINISHED" for copy in complete)
        result = push(str(other / "mlruns"), "all")
        assert (result["earlier"], result["changed"]) == (len(complete), [])
        assert all(copy.tag("pushed.digest") for copy in runs_in(other).values())
        with store_at(other):
            setup()
            assert len(MlflowClient().search_logged_models([setup().experiment_id])) == 1
            assert len(MlflowClient().search_model_versions()) == 1
            assert references.find("@tiny-knee").tag("pushed.from") == run.id
    assert kills > 2 * len(WRITES)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [("search_logged_models", InputError, "before MLflow 3"), ("set_terminated", RecordingError, "failed with error")],
)
def test_a_server_that_is_too_old_is_wrong_input_and_one_that_fails_is_not(
    store, other, monkeypatch, call, error, says
):
    def refuse(client: MlflowClient, *args: object, **options: object) -> None:
        raise MlflowException("request to http://me:secret@host/logged-models failed with error code 404 != 200.\n<p>")

    searched()
    monkeypatch.setattr(MlflowClient, call, refuse)
    with pytest.raises(error, match=says) as refused:
        push(str(other / "mlruns"), "all")
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
