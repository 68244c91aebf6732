"""Facts decide, not the sentences beside them: this version's may have other words, an earlier one has only these."""

from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import TrainingDivergedError
from pipeline.tracking import recorded
from pipeline.tracking.names import recorded_tag
from pipeline.tracking.runs import tracked_run
from tests.labs import record
from tests.made_up import SEARCH

WORDS = "in other words"


def put_in_other_words(run_id: str) -> None:
    for sentence in {"failure", "stopped"} & MlflowClient().get_run(run_id).data.tags.keys():
        MlflowClient().set_tag(run_id, sentence, WORDS)


def as_an_earlier_version(run_id: str) -> None:
    facts = {recorded_tag(name) for name in ("failure.kind", "failure.message", "stopped_by")}
    for fact in facts & MlflowClient().get_run(run_id).data.tags.keys():
        MlflowClient().delete_tag(run_id, fact)


@pytest.mark.parametrize("change", [put_in_other_words, as_an_earlier_version])
def test_what_became_of_a_run_does_not_hang_on_the_words_for_it(store, change):
    text = {"corpus": "topics", "corpus_sha256": "ab"}
    errors = {"stopped": KeyboardInterrupt(), "diverged": TrainingDivergedError("it is nan"), "failed": ValueError("0")}
    ids = {name: record(name, error=error, **text) for name, error in errors.items()}
    limits = {"time": "--max-seconds 9", "patience": "patience 9"}
    for by, limit in limits.items():
        ids[by] = record(by, stopped=limit, stopped_by=by)
    MlflowClient().update_run(ids["stopped"], status="FAILED")  # as `mlflow run` does
    for run_id in ids.values():
        change(run_id)
    runs: dict[str, Any] = {name: recorded.find_run(run_id) for name, run_id in ids.items()}
    assert [runs[name].state for name in errors] == ["stopped", "failed", "failed"]
    assert [run.name for run in recorded.diverged_trainings("ab")] == ["diverged"]
    assert runs["diverged"].facts["failure.message"] == "it is nan"
    assert {name: run.stopped_by for name, run in runs.items() if run.stopped_by} == {by: by for by in limits}


@pytest.mark.parametrize("given", [{"label": WORDS, "kind": "yours"}, {"label": "yours so far"}])
def test_whose_a_compared_model_is_does_not_hang_on_its_label(store, given):
    with tracked_run("search", "a search", {}) as run:
        run.json(recorded.RESULT_FILE, {**SEARCH, "compared": [{**given, "name": "a"}, {"label": "best", "name": "b"}]})
    assert [row["kind"] for row in recorded.read_result(run.id, "search")["compared"]] == ["yours", "pick"]
