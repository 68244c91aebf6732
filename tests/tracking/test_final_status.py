"""The status of a run that was stopped under ``mlflow run``, which overwrites it."""

import pytest
from mlflow.tracking import MlflowClient

from pipeline.tracking import final_status, runs


def test_the_last_word_of_a_run_that_was_not_taken_up_is_that_it_was_stopped_and_by_what(begun):
    MlflowClient().set_terminated(begun, "FAILED")  # as mlflow run does
    final_status.main(begun, "KILLED", "stopped by SIGTERM")
    ended = MlflowClient().get_run(begun)
    assert (ended.info.status, ended.data.tags["failure"]) == ("KILLED", "stopped by SIGTERM")


def test_a_run_that_was_taken_up_before_has_its_last_word_already(begun, monkeypatch):
    with pytest.raises(ValueError, match="own"), runs.tracked_run("prepare", "a run", {}):
        raise ValueError("of its own")
    final_status.main(begun, "KILLED", "stopped by SIGTERM")
    ended = MlflowClient().get_run(begun)
    assert (ended.info.status, ended.data.tags["failure"]) == ("FAILED", "ValueError: of its own")
