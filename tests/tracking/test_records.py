"""Reading what was recorded: finished steps, trainings of a text, and the checkpoint that a MODEL names."""

from contextlib import suppress

import pytest

from pipeline.errors import InputError, TrainingDivergedError
from pipeline.tracking import records, runs


def test_a_finished_step_is_found_by_its_key_and_the_latest_wins(store):
    for value in (1, 2):
        with runs.tracked_run("prepare", "step", {"step_key": "k"}) as run:
            run.json(records.RESULT_FILE, {"value": value})
    with suppress(ValueError), runs.tracked_run("prepare", "step", {"step_key": "k"}) as failed:
        failed.json(records.RESULT_FILE, {"value": 3})
        raise ValueError("half way")
    assert records.finished_step("k") == (run.id, {"value": 2})
    assert records.finished_step("another") is None


def test_a_finished_step_whose_artifacts_are_gone_is_done_again(store):
    with runs.tracked_run("prepare", "step", {"step_key": "k"}) as run:
        run.json(records.RESULT_FILE, {"value": 1})
    (store / "mlruns" / "0" / run.id / "artifacts" / records.RESULT_FILE).unlink()
    assert records.finished_step("k") is None


@pytest.mark.parametrize("model", ["0" * 32, "no/such/file", "models:/nothing/1", "runs:/" + "0" * 32 + "/model", ""])
def test_a_model_that_is_not_there_is_refused_in_words(store, model):
    with pytest.raises(InputError, match="MODEL"):
        records.checkpoint_of(model)


def test_a_run_without_a_model_is_refused(store):
    with runs.tracked_run("prepare", "prepare-x", {}) as run:
        pass
    with pytest.raises(InputError, match="a run without a model"):
        records.checkpoint_of(run.id)


def test_trainings_that_diverged_are_found_in_the_record_and_others_that_failed_are_not(store):
    tags = {"corpus": "topics", "corpus.sha256": "ab"}
    for error in (TrainingDivergedError("the loss is nan"), ValueError("no")):
        with pytest.raises(type(error)), runs.tracked_run("train", type(error).__name__, tags):
            raise error
    assert [run.name for run in records.diverged_trainings("ab")] == ["TrainingDivergedError"]
    assert records.diverged_trainings("cd") == []
    assert records.finished_trainings("ab") == []
