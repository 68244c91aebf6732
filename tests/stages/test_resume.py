"""A training that was killed, at whatever moment, and resumed is the training that was not killed.

One configuration is recorded and killed at every moment. That all which differs between configurations is kept (layers,
masks, the state that is carried, batches) is for tests/training/test_loop.py and tests/test_cells.py.
"""

import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from mlflow.tracking import MlflowClient
from torch import Tensor

from pipeline.config import RECIPE, StoppedBy, resolve
from pipeline.errors import InputError
from pipeline.stages import pictures
from pipeline.stages import train as train_stage
from pipeline.support import machine
from pipeline.text.corpus import Corpus
from pipeline.tracking import artifacts, recorded, runs
from pipeline.tracking import step as step_module
from pipeline.tracking.names import bare_tags, recorded_tag
from pipeline.tracking.store import set_tags, setup
from pipeline.training import experiment
from pipeline.training.checkpoints import load_checkpoint
from pipeline.training.experiment import Experiment
from pipeline.training.loop import Training
from tests.labs import copy_store, plain_store, store_at

pytestmark = pytest.mark.usefixtures("plain_artifacts", "no_served_model")

TINY: dict[str, Any] = {
    "hidden_size": 8, "epochs": 4, "batch_size": 64, "sequence_length": 16, "precision": "fp32", "sample_every": 2,
}  # fmt: skip
TWO_EPOCHS: dict[str, Any] = {**TINY, "epochs": 2, "schedule": "constant"}
Outcome = tuple[dict[str, Tensor], dict[str, list[tuple[int, float]]], dict[str, str]]
OF_THE_CLOCK = {"training/seconds", "speed/train_seconds", "speed/chars_per_second"}


class KilledError(BaseException):
    """Nobody's to catch."""


def train(corpus: Corpus, options: dict[str, Any]) -> step_module.Step:
    return train_stage.train(corpus, *resolve(options))


def reuse(corpus: Corpus, options: dict[str, Any], patch: pytest.MonkeyPatch) -> step_module.Step:
    """The recorded training with these options; KilledError where there is none, when a new one has begun."""
    patch.setattr(experiment.Experiment, "run", dying_at(1, experiment.Experiment.run))
    return train_stage.train(corpus, *resolve(options), reuse=True)


def outcome(run_id: str) -> Outcome:
    """All that a run came to, but for the clock: the best weights, every metric's history, the sample texts."""
    client = MlflowClient()
    tensors, _ = load_checkpoint(artifacts.artifact_path(run_id, "checkpoints/best.safetensors"))
    keys = client.get_run(run_id).data.metrics.keys() - OF_THE_CLOCK
    metrics = {key: [(m.step, m.value) for m in client.get_metric_history(run_id, key)] for key in keys}
    texts = {file.path: artifacts.read_text(run_id, file.path) for file in client.list_artifacts(run_id, "samples")}
    return tensors, metrics, texts


def assert_same(run_id: str, reference: Outcome) -> None:
    tensors, metrics, texts = outcome(run_id)
    assert metrics == reference[1]
    assert texts == reference[2]
    assert tensors.keys() == reference[0].keys()
    assert all(torch.equal(tensor, reference[0][name]) for name, tensor in tensors.items())
    run = MlflowClient().get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "failure" not in run.data.tags
    assert run.inputs is not None
    assert len(run.inputs.dataset_inputs) == 3
    steps = [m.step for m in MlflowClient().get_metric_history(run_id, "training/seconds")]
    assert steps == [1, 2, 3, 4]


Stores = Callable[[str], tuple[Path, str]]  # the name of a run in RUNS -> a store with that run alone, and the run's id


@pytest.fixture(scope="module")
def stores(tmp_path_factory, empty_database, corpus) -> Stores:
    """Records each run of RUNS once, artifacts as in the tests."""

    @cache
    def store_of(name: str) -> tuple[Path, str]:
        with plain_store(tmp_path_factory.mktemp("recorded") / "lab", empty_database) as home:
            return home, RUNS[name](corpus)

    return store_of


def copy_of(name: str) -> Any:
    """A fixture: the id of a run of RUNS, in a store of the test's own."""

    @pytest.fixture(name=name)
    def copied(no_store: Path, stores: Stores) -> str:
        home, run_id = stores(name)
        copy_store(home, no_store)
        setup()
        return run_id

    return copied


@pytest.fixture(scope="module")
def expected(stores: Stores) -> Outcome:
    """The outcome of TINY when nothing happens."""
    home, run_id = stores("finished")
    with store_at(home):
        setup()
        return outcome(run_id)


# --- the moments -----------------------------------------------------------------------------------------------------


def dying_at(number: int, function: Callable, error: type[BaseException] = KilledError) -> Callable:
    """The function, but for its call of this number (from 1), which never comes back."""
    calls = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            raise error
        return function(*args, **kwargs)

    return wrapped


def kill_between_checkpoint_and_figures(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(runs.TrackedRun, "metrics", dying_at(2, runs.TrackedRun.metrics))


def stop_in_an_epoch(patch: pytest.MonkeyPatch) -> None:
    on_step = experiment.Experiment.on_step
    patch.setattr(experiment.Experiment, "on_step", dying_at(3, on_step, KeyboardInterrupt))


# beside the two above, at which the stores of ``stopped`` and ``cut`` were killed
MOMENTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before its configuration is an artifact": lambda patch: patch.setattr(
        runs.TrackedRun, "yaml", dying_at(1, runs.TrackedRun.yaml)
    ),
    "in a later epoch": lambda patch: patch.setattr(Training, "train_step", dying_at(20, Training.train_step)),
    "while a checkpoint is written": lambda patch: patch.setattr(os, "replace", dying_at(5, os.replace)),
    "between the last and the best checkpoint": lambda patch: patch.setattr(
        experiment.Experiment, "_write_best", dying_at(2, experiment.Experiment._write_best)
    ),
    "between training and its pictures": lambda patch: patch.setattr(
        pictures, "perplexity_curves", dying_at(1, pictures.perplexity_curves)
    ),
    "while its model is logged": lambda patch: patch.setattr(
        runs.TrackedRun, "model", dying_at(1, runs.TrackedRun.model)
    ),
    "before its result is": lambda patch: patch.setattr(runs.TrackedRun, "json", dying_at(2, runs.TrackedRun.json)),
}


def be_killed(moment: Callable[[pytest.MonkeyPatch], None], work: Callable[[], Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        moment(patch)
        with pytest.raises((KilledError, KeyboardInterrupt)):
            work()


def killed(corpus: Corpus, options: dict[str, Any], moment: Callable[[pytest.MonkeyPatch], None]) -> str:
    """Train, be killed, and give the run's id."""
    be_killed(moment, lambda: train(corpus, options))
    (run,) = MlflowClient().search_runs(["0"], "attributes.status != 'FINISHED'")
    return str(run.info.run_id)


RUNS: dict[str, Callable[[Corpus], str]] = {
    "finished": lambda corpus: train(corpus, TINY).run_id,
    "stopped": lambda corpus: killed(corpus, TINY, stop_in_an_epoch),
    "cut": lambda corpus: killed(corpus, TINY, kill_between_checkpoint_and_figures),
    "timed_out": lambda corpus: train(corpus, {**TINY, "max_seconds": 1e-6}).run_id,
    "two_epochs": lambda corpus: train(corpus, TWO_EPOCHS).run_id,
}
finished, stopped, cut, timed_out, two_epochs = map(copy_of, RUNS)


@pytest.mark.parametrize(
    "moment", [pytest.param(each, marks=() if "result" in each else pytest.mark.slow) for each in MOMENTS]
)
def test_killed_at_this_moment_and_resumed_it_is_the_same(store, corpus, expected, moment):
    run_id = killed(corpus, TINY, MOMENTS[moment])
    step = train_stage.resume(run_id, {})
    assert step.run_id == run_id
    assert_same(run_id, expected)


def test_killed_time_and_again_it_is_the_same(stopped, small_text, expected):
    """Also where options are given as the run has them, or as auto or None, which is no change."""
    kept = MlflowClient().get_run(stopped).data.tags[recorded_tag("config")]
    for moment in (stop_in_an_epoch, kill_between_checkpoint_and_figures, MOMENTS["while a checkpoint is written"]):
        be_killed(moment, lambda: train_stage.resume(stopped, {}))
    given = {"hidden_size": 8, "epochs": 4, "corpus": str(small_text)}
    train_stage.resume(stopped, {**given, "batch_size": None, "max_seconds": None, "device": "auto"})
    assert_same(stopped, expected)
    tags = bare_tags(MlflowClient().get_run(stopped).data.tags)
    assert tags["config"] == kept
    assert tags["resumed"].startswith("stopped by Ctrl-C; stopped by Ctrl-C; KilledError")
    folder = artifacts.artifact_path(stopped, "checkpoints")
    assert [path.name for path in folder.iterdir()] == ["best.safetensors"]


def test_figures_that_a_checkpoint_does_not_know_of_are_not_recorded_twice(cut, expected, caplog):
    """An earlier copy of the checkpoint was put back: the training says again what it had said.

    The process of the run is gone: the command that resumes it closes it first.
    """
    MlflowClient().update_run(cut, status="RUNNING")
    set_tags(cut, {"process.pid": 2**22 + 1})  # past the largest there can be
    last = artifacts.artifact_path(cut, "checkpoints/last.safetensors")
    earlier = last.read_bytes()
    be_killed(MOMENTS["between training and its pictures"], lambda: train_stage.resume(cut, {}))
    assert "Closed 1 run whose process is gone: lstm-1x8-s0-epochs-4-" in caplog.text
    last.write_bytes(earlier)
    train_stage.resume(cut, {})
    assert_same(cut, expected)


def test_a_training_that_has_lost_its_checkpoints_is_not_begun_again(two_epochs):
    folder = artifacts.artifact_path(two_epochs, "checkpoints")
    folder.rename(folder.with_name("elsewhere"))
    result = artifacts.read_text(two_epochs, "result.json")
    with pytest.raises(InputError, match=r"has lost its checkpoints: .* has no last.safetensors; restore it"):
        train_stage.resume(two_epochs, {"epochs": 3})
    assert artifacts.read_text(two_epochs, "result.json") == result
    assert MlflowClient().get_run(two_epochs).info.status == "FINISHED"


def test_a_finished_training_may_go_on_after_a_limit_of_time_or_with_a_constant_rate():
    constant = {"schedule": "constant", "counting_loss": 0.0}
    may = {by: train_stage._may_go_on(resolve({})[1], by) for by in get_args(StoppedBy)}
    assert may == {"": False, "patience": False, "time": True}
    assert train_stage._may_go_on(resolve(constant)[1], "")
    assert not train_stage._may_go_on(resolve({**constant, "counting_loss": 0.1})[1], "")


def test_what_can_not_go_on_keeps_its_best_checkpoint_only_and_has_nothing_left_to_do(finished, corpus, monkeypatch):
    (checkpoint,) = artifacts.artifact_path(finished, "checkpoints").iterdir()
    assert checkpoint.name == "best.safetensors"
    for changes in ({}, {"epochs": 9}, {"max_seconds": 9.0}):
        with pytest.raises(InputError, match=r"nothing left to do: epoch 4 was the last one; start a new training"):
            train_stage.resume(finished, changes)
    assert MlflowClient().get_run(finished).info.status == "FINISHED"
    assert reuse(corpus, TINY, monkeypatch).run_id == finished


def test_the_same_training_again_resumes_the_one_that_was_stopped(stopped, corpus, expected):
    step = train_stage.train(corpus, *resolve(TINY), reuse=True)
    assert step.run_id == stopped
    assert_same(stopped, expected)


def test_a_training_of_two_versions_of_torch_is_nobody_elses_result_and_has_both_environments(
    stopped, corpus, monkeypatch, caplog
):
    before = bare_tags(MlflowClient().get_run(stopped).data.tags).get("step_key", "")
    first = artifacts.read_text(stopped, "environment.yaml")
    monkeypatch.setattr("torch.__version__", "99.0.0")
    monkeypatch.setattr(machine, "environment", lambda: {"python": "4.0"})
    train_stage.resume(stopped, {})
    assert "it may not be bit-identical" in caplog.text
    assert artifacts.read_text(stopped, "environment.yaml") == first
    assert artifacts.read_text(stopped, "environment-from-epoch-0000.yaml") == "python: '4.0'\n"
    assert bare_tags(MlflowClient().get_run(stopped).data.tags).get("step_key", "") != before
    with pytest.raises(KilledError):
        reuse(corpus, TINY, monkeypatch)


# --- what may change, and what may not -------------------------------------------------------------------------------


def test_a_constant_learning_rate_may_go_on_for_longer_and_the_earlier_outcome_is_kept(two_epochs, corpus):
    """Though keeping the earlier outcome is interrupted at first."""
    result = json.loads(artifacts.read_text(two_epochs, "result.json"))
    best = artifacts.artifact_path(two_epochs, "checkpoints/best.safetensors").read_bytes()
    copies = runs.TrackedRun.keep_copies
    be_killed(
        lambda patch: patch.setattr(runs.TrackedRun, "keep_copies", dying_at(1, copies)),
        lambda: train_stage.resume(two_epochs, {"epochs": 3}),
    )
    train_stage.resume(two_epochs, {"epochs": 3})
    _, metrics, _ = outcome(two_epochs)
    whole = Experiment(corpus, *resolve({**TWO_EPOCHS, "epochs": 3})).run()
    vals = [value for _, value in metrics["perplexity/val"]]
    assert vals == pytest.approx([point.val_perplexity for point in whole.history], rel=1e-5)
    assert [step for step, _ in metrics["result/val_perplexity"]] == [0, 0]
    assert json.loads(artifacts.read_text(two_epochs, "earlier/epoch-0002/result.json")) == result
    assert artifacts.artifact_path(two_epochs, "earlier/epoch-0002/checkpoints/best.safetensors").read_bytes() == best
    assert json.loads(artifacts.read_text(two_epochs, "result.json"))["epochs"] == 3
    assert json.loads(bare_tags(MlflowClient().get_run(two_epochs).data.tags)["config"])["train"]["epochs"] == 3
    with pytest.raises(InputError, match="--epochs 1 is not possible: 3 epochs are done"):
        train_stage.resume(two_epochs, {"epochs": 1})


def test_what_can_not_be_resumed_is_refused_and_the_run_stays_as_it_was(stopped):
    changes: dict[str, dict[str, Any]] = {
        r"--epochs 9 .* planned for 4 epochs": {"epochs": 9},
        "--hidden-size 9 is not what lstm-1x8-s0-epochs-4-.*-topics was": {"hidden_size": 9},
        "--seed 1 is not what lstm-1x8-s0-epochs-4-.*-topics was": {"seed": 1},
        "--corpus python-docs is not what lstm-1x8-s0-epochs-4-.*-topics was": {"corpus": "python-docs"},
    }
    for says, change in changes.items():
        with pytest.raises(InputError, match=says):
            train_stage.resume(stopped, change)
    run, client = MlflowClient().get_run(stopped), MlflowClient()
    assert (run.info.status, run.data.tags["failure"]) == ("KILLED", "stopped by Ctrl-C")

    last = artifacts.artifact_path(stopped, "checkpoints/last.safetensors")
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 1
    last.write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        train_stage.resume(stopped, {})
    begun = json.loads(run.data.tags[recorded_tag("config")])
    set_tags(stopped, {"config": json.dumps({**begun, "recipe": 2})})
    with pytest.raises(InputError, match=f"by recipe 2; this one trains by recipe {RECIPE['stream']}"):
        train_stage.resume(stopped, {})
    assert client.get_run(stopped).info.status == "KILLED"
    client.update_run(stopped, status="RUNNING")
    with pytest.raises(InputError, match=r"is still running \(pid"):
        train_stage.resume(stopped, {})


def test_a_training_that_its_time_ended_may_be_given_more_but_is_taken_for_no_whole_one(timed_out, corpus, monkeypatch):
    assert MlflowClient().get_run(timed_out).data.tags["stopped"] == "--max-seconds 1e-06"
    with pytest.raises(InputError, match=r"nothing left to do: .* give a larger --max-seconds"):
        train_stage.resume(timed_out, {})
    train_stage.resume(timed_out, {"max_seconds": 1000.0})
    tags = bare_tags(MlflowClient().get_run(timed_out).data.tags)
    assert "stopped" not in tags
    assert tags["resumed"] == "--max-seconds 1e-06"
    assert [m.step for m in MlflowClient().get_metric_history(timed_out, "perplexity/val")] == [1, 2, 3, 4]
    with pytest.raises(KilledError):
        reuse(corpus, {**TINY, "max_seconds": 1000.0}, monkeypatch)


def test_only_a_training_can_be_resumed_and_a_pipelines_is_named(store):
    with runs.tracked_run("pipeline", "pipeline-lstm", {"trained_run": "1" * 32}) as run:
        pass
    with pytest.raises(InputError, match=f"its training is {'1' * 32}"):
        train_stage.resume(run.id, {})
    with pytest.raises(InputError, match="is not a run of"):
        train_stage.resume("0" * 32, {})


def test_of_two_that_resume_a_run_at_once_the_slower_one_is_refused(stopped):
    seen = recorded.resumable(recorded.run_of(stopped))
    with runs.tracked_run("train", "x", {}, seen):
        pass
    with pytest.raises(InputError, match="has just been resumed"), runs.tracked_run("train", "x", {}, seen):
        pass


def test_under_mlflow_run_the_run_that_it_began_points_at_the_one_that_is_resumed(stopped, monkeypatch):
    begun = MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", begun)
    assert train_stage.resume(stopped, {}).run_id == stopped
    run = MlflowClient().get_run(begun)
    tags = bare_tags(run.data.tags)
    assert (run.info.status, tags["stage"], tags["trained_run"]) == ("FINISHED", "resume", stopped)
    assert "result/val_perplexity" in run.data.metrics
    assert MlflowClient().get_run(stopped).info.status == "FINISHED"
    assert "mlflow.parentRunId" not in MlflowClient().get_run(stopped).data.tags
