"""Runs by the beginning of their id, and the latest ones."""

from contextlib import suppress

import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import InputError
from pipeline.stages.evaluate import TrainedModel
from pipeline.tracking import records, runs
from pipeline.tracking.references import run_id_of


def recorded(name: str, stage: str = "train") -> str:
    with runs.tracked_run(stage, name, {}) as run:
        pass
    return run.id


def test_a_full_id_is_returned_without_a_look_at_the_store(no_store):
    assert run_id_of("ab" * 16) == "ab" * 16
    assert not (no_store / "mlruns").exists()


def test_four_characters_of_an_id_name_its_run(store):
    run_id = recorded("one", stage="prepare")
    assert run_id_of(run_id[:4]) == run_id


def test_an_ambiguous_beginning_names_the_runs_that_it_could_be(store, monkeypatch):
    ids = iter(["abcd" + "0" * 28, "abcd" + "1" * 28])
    monkeypatch.setattr("mlflow.store.tracking.sqlalchemy_store.uuid.uuid4", lambda: type("U", (), {"hex": next(ids)}))
    first, second = recorded("lstm-1x8-s0"), recorded("gru-1x8-s0")
    with pytest.raises(InputError, match=rf"--close abcd is .*several.*{second} \(gru-1x8-s0\), {first}"):
        run_id_of("abcd", "--close ")
    assert run_id_of("abcd0") == first


@pytest.mark.parametrize("reference", ["", "abc", "abcd", "latest~x", "latest~", "%%%%", "ABCD"])
def test_what_names_no_run_is_refused_with_what_may_be_given(store, reference):
    with pytest.raises(InputError, match=r"is not a run of .*mlflow\.db; give a run id, the first 4 or more"):
        run_id_of(reference)


def test_latest_counts_back_over_finished_trainings_alone(store):
    older, newer = recorded("older"), recorded("newer")
    recorded("evaluation", stage="evaluate")
    with suppress(ValueError), runs.tracked_run("train", "failed", {}):
        raise ValueError("half way")
    assert [run_id_of("latest"), run_id_of("latest~0"), run_id_of("latest~1")] == [newer, newer, older]
    with pytest.raises(InputError, match=r"latest~2: only 2 trainings have finished"):
        run_id_of("latest~2")


def test_latest_without_a_finished_training_says_to_train(store):
    with pytest.raises(InputError, match="no training has finished yet; run `tmlm pipeline`"):
        run_id_of("latest")


def test_a_deleted_run_is_not_the_latest(store):
    older, newer = recorded("older"), recorded("newer")
    MlflowClient().delete_run(newer)
    assert run_id_of("latest") == older


def test_a_model_may_be_the_latest_or_the_beginning_of_an_id(trained):
    for reference in ("latest", trained.run_id[:8]):
        assert TrainedModel.find(reference).run_id == trained.run_id
    with pytest.raises(InputError, match=r"MODEL 0000 is neither a run of .* nor a file; give .*latest.*checkpoint"):
        records.checkpoint_of("0000")
