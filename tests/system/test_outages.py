"""A tracking server that keeps the artifacts too: what is printed, refused, and done when it no longer answers."""

import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from models.config import ModelConfig
from pipeline.config import TrainConfig
from pipeline.errors import RecordingError
from pipeline.stages.train import Recorder, TrainingContext, train
from pipeline.text.corpus import Corpus
from pipeline.tracking import runs
from pipeline.tracking import store as store_module
from pipeline.tracking.names import bare_tags
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import Step
from pipeline.tracking.store import setup
from pipeline.training.loop import Callback, EpochPoint, Training
from tests.labs import run_step
from tests.limits import SLACK


def unsent(home: Path) -> list[Path]:
    """The checkpoints that wait on this machine."""
    return [path for path in (home / "mlruns" / "unsent").rglob("*") if path.is_file()]


def train_tiny(corpus: Corpus, stop: Callable[[Any], None] = lambda training: None, reuse: bool = False) -> Step:
    model, recipe = ModelConfig("lstm", 1, 4), TrainConfig(epochs=2, batch_size=64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "before_checkpoint", lambda recorder, training: stop(training))
        return train(corpus, model, recipe, reuse=reuse)


# --- a server that is gone -------------------------------------------------------------------------------------------


@pytest.fixture
def short_outages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server is waited for some seconds, and a person hears of it after one."""
    monkeypatch.setattr(store_module, "SILENT_SECONDS", 1)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")


def test_a_server_that_is_gone_for_good_is_told_soon_and_ends_the_run_in_bounded_time(
    mlflow_server, short_outages, caplog
):
    def record() -> None:
        with runs.tracked_run("train", "a run", {}) as run:
            mlflow_server.stop()
            run.constants({"x": 1.0})

    started = time.monotonic()
    with pytest.raises(RecordingError, match=r"start the server.*") as caught:
        record()
    assert 2 < time.monotonic() - started < 6 + 4 * SLACK, "neither at once, nor one outage for each of the last words"
    (note,) = caught.value.__notes__
    assert re.fullmatch(r"then resume it with: \S*tmlm train --resume \w+", note)
    assert "has not answered for 1 seconds; retrying for about two minutes" in caplog.text
    assert f"the end of a run can't be recorded in {mlflow_server.url()}" in caplog.text


# --- checkpoints that are uploaded -----------------------------------------------------------------------------------


def test_an_artifact_store_that_refuses_does_not_make_a_stopped_training_a_failed_one(
    mlflow_server, no_store, corpus, plain_artifacts, caplog
):
    def stop_and_refuse(training: Any) -> None:
        mlflow_server.refuse("/checkpoints/", "PUT")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_tiny(corpus, stop_and_refuse)
    (run, *_) = MlflowClient().search_runs([setup().experiment_id], order_by=["attributes.start_time DESC"])
    assert (run.info.status, run.data.tags["failure"]) == ("KILLED", "stopped by Ctrl-C")
    assert f"The checkpoints of {run.info.run_name} stay in" in caplog.text


@pytest.mark.slow
def test_uploaded_checkpoints_are_not_kept_here_too(mlflow_server, no_store, corpus, plain_artifacts, monkeypatch):
    def stop(training: Any) -> None:
        if len(training.history) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_tiny(corpus, stop)
    assert unsent(no_store) == []
    monkeypatch.setattr(TrackedRun, "model", lambda *args: None)  # seconds
    step = train_tiny(corpus, reuse=True)
    run = MlflowClient().get_run(step.run_id)
    assert bare_tags(run.data.tags).get("resumed", ""), "by the checkpoint that was fetched from the server"
    assert unsent(no_store) == []
    assert step.result["checkpoint"] == f"{run.info.artifact_uri}/checkpoints/best.safetensors"
    again = train_tiny(corpus, reuse=True)
    assert again.reused
    assert Path(again.result["checkpoint"]).is_file()


def test_checkpoints_are_sent_to_a_server_in_mid_training(mlflow_server, corpus, monkeypatch):
    """Another machine has to go on with them if this one is gone."""
    monkeypatch.setattr(runs, "SEND_SECONDS", 0.0)
    sent: list[bool] = []

    def after_an_epoch(training: Any) -> None:
        (run,) = MlflowClient().search_runs([setup().experiment_id])
        sent.append(bool(MlflowClient().list_artifacts(run.info.run_id, "checkpoints")))
        if len(sent) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_tiny(corpus, after_an_epoch)
    assert sent == [False, True]


def test_a_finished_step_whose_artifacts_a_server_has_lost_is_done_again(mlflow_server, caplog):
    first = run_step("prepare", {}, reuse=True, checkpoint="best.safetensors")
    second = run_step("prepare", {}, reuse=True, checkpoint="best.safetensors")
    assert not second.reused
    assert f"the training {first.run_id} is repeated: its artifacts can't be read" in caplog.text


# --- a checkout that is moved ----------------------------------------------------------------------------------------


def test_a_checkout_that_is_moved_in_mid_training_says_so_and_is_not_made_anew_where_it_was(
    store, corpus, plain_artifacts
):
    class Mover(Callback):
        def on_epoch(self, training: Training, point: EpochPoint) -> None:
            (store / "mlruns").rename(store / "moved")

    model, recipe = ModelConfig("lstm", 1, 4), TrainConfig(epochs=3, batch_size=64)
    moving = TrainingContext(progress=lambda name: nullcontext(Mover()))
    with pytest.raises(RecordingError, match="`tmlm doctor --repair` in its new place") as caught:
        train(corpus, model, recipe, context=moving)
    assert "train --resume" in caught.value.__notes__[0]
    assert not (store / "mlruns" / "0").exists()
    assert list((store / "moved").rglob("last.safetensors"))
