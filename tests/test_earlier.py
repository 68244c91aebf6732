"""Facts decide, not the sentences beside them: this version's may have other words, an earlier one has only these."""

from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from pipeline import earlier
from pipeline.errors import TrainingDivergedError
from pipeline.tracking import artifacts, queries, recorded
from pipeline.tracking.names import HIDDEN
from pipeline.tracking.runs import tracked_run
from tests.labs import record
from tests.made_up import SEARCH


@pytest.mark.parametrize("has_facts", [True, False])
def test_what_became_of_a_run_does_not_hang_on_the_words_for_it(store, has_facts):
    errors = {"stopped": KeyboardInterrupt(), "diverged": TrainingDivergedError("it is nan"), "failed": ValueError("0")}
    ids = {name: record(name, error=error, corpus="topics", corpus_sha256="ab") for name, error in errors.items()}
    limits = {"time": "--max-seconds 9", "patience": "patience 9"}
    ids |= {by: record(by, stopped=limit, stopped_by=by) for by, limit in limits.items()}
    client = MlflowClient()
    client.update_run(ids["stopped"], status="FAILED")  # as `mlflow run` does
    for run_id in ids.values():
        for tag in client.get_run(run_id).data.tags:
            if has_facts and tag in ("failure", "stopped"):
                client.set_tag(run_id, tag, "in other words")
            if not has_facts and tag.removeprefix(HIDDEN) in ("failure.kind", "failure.message", "stopped_by"):
                client.delete_tag(run_id, tag)
    runs: dict[str, Any] = {name: recorded.find_run(run_id) for name, run_id in ids.items()}
    assert [runs[name].state for name in errors] == ["stopped", "failed", "failed"]
    assert [run.name for run in queries.diverged_trainings("ab")] == ["diverged"]
    assert runs["diverged"].facts["failure.message"] == "it is nan"
    assert [run.facts["stopped_by"] for run in runs.values()] == ["", "", "", *limits]


@pytest.mark.parametrize("given", [{"label": "in other words", "kind": "yours"}, {"label": "yours so far"}])
def test_whose_a_compared_model_is_does_not_hang_on_its_label(store, given):
    with tracked_run("search", "a search", {}) as run:
        run.json(
            artifacts.RESULT_FILE, {**SEARCH, "compared": [{**given, "name": "a"}, {"label": "best", "name": "b"}]}
        )
    assert [row["kind"] for row in artifacts.read_result(run.id, "search")["compared"]] == ["yours", "pick"]


def test_an_id_is_found_in_a_description_whatever_stands_beside_it():
    assert "0f" * 16 in earlier.steps(f"trained by a{'0f' * 16}")
