"""A training that was killed, at whatever moment, and resumed is the training that was not killed.

One configuration is recorded and killed at every moment; the others are killed without a record, where all that
differs between configurations (the layers, the masks, the state that is carried, the batches) is kept just so.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
from mlflow.tracking import MlflowClient
from torch import Tensor

from pipeline.config import CorpusConfig, resolve
from pipeline.errors import InputError, TmlmError
from pipeline.stages import main
from pipeline.stages import train as train_stage
from pipeline.support import machine
from pipeline.support.files import LAST_CHECKPOINT
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.tracking import records, runs
from pipeline.tracking import step as step_module
from pipeline.tracking.liveness import close_the_dead
from pipeline.tracking.store import setup
from pipeline.training import experiment, figures
from pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from pipeline.training.experiment import Observer, Result, run_experiment
from pipeline.training.loop import EpochPoint, Training
from tests.labs import copy_store, make_artifacts_plain, new_store, store_at

pytestmark = pytest.mark.usefixtures("plain_artifacts")

TINY: dict[str, Any] = {
    "hidden_size": 8, "epochs": 4, "batch_size": 32, "sequence_length": 16, "precision": "fp32", "sample_every": 2,
}  # fmt: skip
WINDOWS: dict[str, Any] = {**TINY, "preset": "report", "batch_size": 5000, "sequence_length": 16}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "gru, scratch, 2 layers, dropped, not averaged": {
        **TINY, "cell": "gru", "implementation": "scratch", "num_layers": 2, "dropout": 0.2, "average": 0.0,
    },
    "rnn, output dropped": {**TINY, "cell": "rnn", "output_dropout": 0.3},
    "report, gru, 2 layers": {**WINDOWS, "cell": "gru", "num_layers": 2},
    "report, lstm, scratch": {**WINDOWS, "implementation": "scratch"},
}  # fmt: skip
Outcome = tuple[dict[str, Tensor], dict[str, list[tuple[int, float]]], dict[str, str]]
OF_THE_CLOCK = {"training/seconds", "cost/train_seconds", "cost/chars_per_second"}


class KilledError(BaseException):
    """Nobody's to catch."""


def train(text: Path, options: dict[str, Any]) -> step_module.Step:
    config = CorpusConfig(str(text))
    return train_stage.train(load_corpus(config), config, *resolve(options))


def outcome(run_id: str) -> Outcome:
    """All that a run came to, but for the clock: the last state's tensors, every metric's history, the sample texts."""
    client = MlflowClient()
    tensors, _ = load_checkpoint(records.artifact_path(run_id, "checkpoints/last.safetensors"))
    keys = client.get_run(run_id).data.metrics.keys() - OF_THE_CLOCK
    metrics = {key: [(m.step, m.value) for m in client.get_metric_history(run_id, key)] for key in keys}
    texts = {file.path: records.read_text(run_id, file.path) for file in client.list_artifacts(run_id, "samples")}
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


@pytest.fixture(scope="module")
def small_text(small_text, tmp_path_factory) -> Path:
    """As much of the text as the report's preset needs."""
    path: Path = tmp_path_factory.mktemp("text") / "topics.txt"
    path.write_text(small_text.read_text()[:20_000])
    return path


@contextmanager
def plain_store_at(home: Path, empty_database: Path) -> Iterator[Path]:
    """Record in a new store, artifacts as in the tests, which are compared with what it holds."""
    with store_at(new_store(home, empty_database)), pytest.MonkeyPatch.context() as patch:
        make_artifacts_plain(patch)
        yield home


@pytest.fixture(scope="module")
def expected(tmp_path_factory, empty_database, small_text) -> Outcome:
    """The outcome of TINY when nothing happens."""
    with plain_store_at(tmp_path_factory.mktemp("undisturbed") / "lab", empty_database):
        return outcome(train(small_text, TINY).run_id)


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
    keep = experiment.CheckpointManager.keep_now_and_then
    patch.setattr(experiment.CheckpointManager, "keep_now_and_then", dying_at(3, keep, KeyboardInterrupt))


# beside the two above, at which the stores of ``stopped`` and ``cut`` were killed
MOMENTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before its configuration is an artifact": lambda patch: patch.setattr(
        runs.TrackedRun, "yaml", dying_at(1, runs.TrackedRun.yaml)
    ),
    "in the first epoch": lambda patch: patch.setattr(Training, "_train_step", dying_at(2, Training._train_step)),
    "in a later epoch": lambda patch: patch.setattr(Training, "_train_step", dying_at(60, Training._train_step)),
    "while a checkpoint is written": lambda patch: patch.setattr(os, "replace", dying_at(5, os.replace)),
    "between the last and the best checkpoint": lambda patch: patch.setattr(
        experiment.CheckpointManager, "_write_best", dying_at(2, experiment.CheckpointManager._write_best)
    ),
    "between the figures and the sample texts": lambda patch: patch.setattr(
        runs.TrackedRun, "text", dying_at(3, runs.TrackedRun.text)
    ),
    "between training and its pictures": lambda patch: patch.setattr(
        figures, "perplexity_curves", dying_at(1, figures.perplexity_curves)
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


def killed(text: Path, options: dict[str, Any], moment: Callable[[pytest.MonkeyPatch], None]) -> str:
    """Train, be killed, and give the run's id."""
    be_killed(moment, lambda: train(text, options))
    (run,) = MlflowClient().search_runs(["0"], "attributes.status != 'FINISHED'")
    return str(run.info.run_id)


SLOW_MOMENTS = (
    "in the first epoch", "in a later epoch", "between the figures and the sample texts", "while its model is logged",
)  # fmt: skip
SLOW_CONFIGURATIONS = ("rnn, output dropped", "report, gru, 2 layers")


def some_slow(names: Iterable[str], slow: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


KilledStore = tuple[Path, str]  # a store, and the id of the killed run in it


@pytest.fixture(scope="module")
def stopped_store(tmp_path_factory, empty_database, small_text) -> KilledStore:
    with plain_store_at(tmp_path_factory.mktemp("stopped") / "lab", empty_database) as home:
        return home, killed(small_text, TINY, stop_in_an_epoch)


@pytest.fixture
def stopped(no_store: Path, stopped_store: KilledStore) -> str:
    """The id of a run of TINY that Ctrl-C stopped in an epoch, alone in a store of the test's own."""
    home, run_id = stopped_store
    copy_store(home, no_store)
    setup()
    return run_id


@pytest.fixture(scope="module")
def cut_store(tmp_path_factory, empty_database, small_text) -> KilledStore:
    with plain_store_at(tmp_path_factory.mktemp("cut") / "lab", empty_database) as home:
        return home, killed(small_text, TINY, kill_between_checkpoint_and_figures)


@pytest.fixture
def cut(no_store: Path, cut_store: KilledStore) -> str:
    """The id of a run of TINY that was killed between a checkpoint and its figures, alone in such a store."""
    home, run_id = cut_store
    copy_store(home, no_store)
    setup()
    return run_id


@pytest.mark.parametrize("moment", some_slow(MOMENTS, SLOW_MOMENTS))
def test_killed_at_this_moment_and_resumed_it_is_the_same(store, small_text, expected, moment):
    run_id = killed(small_text, TINY, MOMENTS[moment])
    step = train_stage.resume(run_id, {})
    assert step.run_id == run_id
    assert_same(run_id, expected)


def curves(result: Result) -> list[EpochPoint]:
    """The curves, but for the clock."""
    return [replace(point, train_seconds=0.0) for point in result.history]


@pytest.fixture(scope="module")
def corpus(small_text) -> Corpus:
    return load_corpus(CorpusConfig(str(small_text)))


@pytest.mark.parametrize("name", some_slow(CONFIGURATIONS, SLOW_CONFIGURATIONS))
def test_any_configuration_killed_and_resumed_is_the_same(corpus, tmp_path, name):
    """First by Ctrl-C in an epoch, which is kept; then, without a word, after the checkpoint of a later one."""
    model, config = resolve(CONFIGURATIONS[name])
    whole = run_experiment(corpus, model, config, checkpoint_dir=tmp_path / "whole")

    def kill(training: Training, point: EpochPoint) -> None:
        if point.epoch == 2:
            raise KilledError

    folder = tmp_path / "parts"
    be_killed(stop_in_an_epoch, lambda: run_experiment(corpus, model, config, checkpoint_dir=folder))
    be_killed(lambda patch: None, lambda: run_experiment(corpus, model, config, Observer(on_epoch=kill), folder))
    parts = run_experiment(corpus, model, config, checkpoint_dir=folder)
    assert curves(parts) == curves(whole)
    assert (parts.test, parts.samples, parts.last_texts) == (whole.test, whole.samples, whole.last_texts)
    (tensors, facts), (others, other_facts) = (
        load_checkpoint(tmp_path / name / LAST_CHECKPOINT) for name in ("parts", "whole")
    )
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())
    assert facts["state"]["step"] == other_facts["state"]["step"]


def test_killed_time_and_again_it_is_the_same(stopped, expected):
    for moment in (stop_in_an_epoch, kill_between_checkpoint_and_figures, MOMENTS["while a checkpoint is written"]):
        be_killed(moment, lambda: train_stage.resume(stopped, {}))
    train_stage.resume(stopped, {})
    assert_same(stopped, expected)
    kept = MlflowClient().get_run(stopped).data.tags["resumed"]
    assert kept.startswith("stopped by Ctrl-C; stopped by Ctrl-C; KilledError")
    folder = records.artifact_path(stopped, "checkpoints")
    assert sorted(path.name for path in folder.iterdir()) == ["best.safetensors", "last.safetensors"]


def test_figures_that_a_checkpoint_does_not_know_of_are_not_recorded_twice(cut, expected):
    """An earlier copy of the checkpoint was put back: the training says again what it had said."""
    last = records.artifact_path(cut, "checkpoints/last.safetensors")
    earlier = last.read_bytes()
    be_killed(MOMENTS["between training and its pictures"], lambda: train_stage.resume(cut, {}))
    last.write_bytes(earlier)
    train_stage.resume(cut, {})
    assert_same(cut, expected)


def test_a_training_that_has_lost_its_checkpoints_is_not_begun_again(store, small_text):
    run_id = train(small_text, TINY).run_id
    folder = records.artifact_path(run_id, "checkpoints")
    folder.rename(folder.with_name("elsewhere"))
    result = records.read_text(run_id, "result.json")
    with pytest.raises(InputError, match=r"has lost its checkpoints: .* has no last.safetensors; put that back"):
        train_stage.resume(run_id, {})
    assert records.read_text(run_id, "result.json") == result
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"


def test_the_same_pipeline_again_goes_on_with_the_training_that_was_stopped(store, small_text, expected):
    config = CorpusConfig(str(small_text))
    be_killed(stop_in_an_epoch, lambda: main.pipeline(config, *resolve(TINY)))
    (stopped,) = MlflowClient().search_runs(["0"], "tags.stage = 'train' and attributes.status = 'KILLED'")
    done = main.pipeline(config, *resolve(TINY))
    assert done.result["trained_run"] == stopped.info.run_id
    assert done.result["reused"] == ["prepare"]
    assert_same(stopped.info.run_id, expected)


def test_with_force_it_is_trained_anew(store, small_text):
    config = CorpusConfig(str(small_text))
    be_killed(stop_in_an_epoch, lambda: main.pipeline(config, *resolve(TINY)))
    done = main.pipeline(config, *resolve(TINY), force=True)
    (stopped,) = MlflowClient().search_runs(["0"], "tags.stage = 'train' and attributes.status = 'KILLED'")
    assert done.result["trained_run"] != stopped.info.run_id


def test_a_training_of_two_versions_of_the_code_is_nobody_elses_result(stopped, small_text, monkeypatch, caplog):
    before = MlflowClient().get_run(stopped).data.tags["step_key"]
    monkeypatch.setattr(step_module, "code_digest", lambda *modules: "another")
    train_stage.resume(stopped, {})
    assert "it won't be bit for bit" in caplog.text
    config = CorpusConfig(str(small_text))
    assert train_stage.train(load_corpus(config), config, *resolve(TINY), reuse=True).run_id != stopped
    assert MlflowClient().get_run(stopped).data.tags["step_key"] != before


def test_the_environment_of_each_part_of_a_training_is_kept(stopped, monkeypatch):
    first = records.read_text(stopped, "environment.yaml")
    monkeypatch.setattr(machine, "environment", lambda: {"python": "4.0"})
    train_stage.resume(stopped, {})
    assert records.read_text(stopped, "environment.yaml") == first
    assert records.read_text(stopped, "environment-from-epoch-0000.yaml") == "python: '4.0'\n"


# --- what may change, and what may not -------------------------------------------------------------------------------


def test_a_constant_learning_rate_may_go_on_for_longer_and_the_earlier_outcome_is_kept(store, small_text):
    short, long = ({**WINDOWS, "epochs": epochs, "sample_every": 0} for epochs in (2, 4))
    run_id = train(small_text, short).run_id
    result = json.loads(records.read_text(run_id, "result.json"))
    train_stage.resume(run_id, {"epochs": 4})
    tensors, metrics, _ = outcome(run_id)
    whole_tensors, whole_metrics, _ = outcome(train(small_text, long).run_id)
    assert all(torch.equal(tensor, whole_tensors[name]) for name, tensor in tensors.items())
    assert metrics["perplexity/val"] == whole_metrics["perplexity/val"]
    assert [step for step, _ in metrics["final/val_perplexity"]] == [2, 4]
    assert json.loads(records.read_text(run_id, "earlier/epoch-0002/result.json")) == result
    assert json.loads(records.read_text(run_id, "result.json"))["epochs"] == 4
    assert MlflowClient().get_run(run_id).data.tags["resumed.epochs"] == "4"


def test_an_earlier_outcome_is_kept_also_when_keeping_it_is_interrupted(store, small_text):
    run_id = train(small_text, {**WINDOWS, "epochs": 2, "sample_every": 0}).run_id
    best = records.artifact_path(run_id, "checkpoints/best.safetensors").read_bytes()
    copies = runs.TrackedRun.keep_copies
    be_killed(
        lambda patch: patch.setattr(runs.TrackedRun, "keep_copies", dying_at(1, copies)),
        lambda: train_stage.resume(run_id, {"epochs": 3}),
    )
    train_stage.resume(run_id, {"epochs": 3})
    assert records.artifact_path(run_id, "earlier/epoch-0002/checkpoints/best.safetensors").read_bytes() == best
    assert json.loads(records.read_text(run_id, "earlier/epoch-0002/result.json"))["epochs"] == 2


def test_a_training_that_its_time_cut_is_taken_for_no_whole_one(store, small_text):
    config = CorpusConfig(str(small_text))
    options = {**TINY, "max_seconds": 1e-6}
    run_id = train(small_text, options).run_id
    train_stage.resume(run_id, {"max_seconds": 1000.0})
    again = train_stage.train(load_corpus(config), config, *resolve({**TINY, "max_seconds": 1000.0}), reuse=True)
    assert again.run_id != run_id


def test_a_run_whose_artifacts_lie_in_another_checkout_is_refused_with_the_remedy(stopped, no_store, tmp_path):
    there = tmp_path / "original" / "mlruns" / "0" / stopped / "artifacts"
    with closing(sqlite3.connect(no_store / "mlruns" / "mlflow.db")) as connection, connection:
        connection.execute("UPDATE runs SET artifact_uri=? WHERE run_uuid=?", (str(there), stopped))
    with pytest.raises(InputError, match="not in this checkout; run `tmlm doctor --repair` first"):
        train_stage.resume(stopped, {})


def test_what_fails_while_a_run_is_opened_ends_it_and_mlflow_does_not_call_it_finished(stopped, monkeypatch):
    monkeypatch.setattr(MlflowClient, "delete_tag", dying_at(1, MlflowClient.delete_tag, OSError))
    with pytest.raises(TmlmError, match="can't be used"):
        train_stage.resume(stopped, {})
    assert mlflow.active_run() is None
    assert MlflowClient().get_run(stopped).info.status == "FAILED"


def test_a_configuration_of_another_version_is_refused_in_words(stopped):
    begun = json.loads(MlflowClient().get_run(stopped).data.tags[records.CONFIG_TAG])
    begun["model"]["attention_heads"] = 8
    MlflowClient().set_tag(stopped, records.CONFIG_TAG, json.dumps(begun))
    with pytest.raises(InputError, match="was begun by another version"):
        train_stage.resume(stopped, {})


def test_a_cosine_can_not_be_stretched_and_the_run_stays_as_it_was(stopped):
    with pytest.raises(InputError, match=r"--epochs 9 .* laid out for 4 epochs"):
        train_stage.resume(stopped, {"epochs": 9})
    run = MlflowClient().get_run(stopped)
    assert (run.info.status, run.data.tags["failure"]) == ("KILLED", "stopped by Ctrl-C")


def test_fewer_epochs_than_are_done_are_refused(store, small_text):
    run_id = train(small_text, {**WINDOWS, "epochs": 2}).run_id
    with pytest.raises(InputError, match="--epochs 1 can't be: 2 epochs are done"):
        train_stage.resume(run_id, {"epochs": 1})


def test_a_training_that_its_time_ended_may_be_given_more(store, small_text):
    run_id = train(small_text, {**TINY, "max_seconds": 1e-6}).run_id
    assert MlflowClient().get_run(run_id).data.tags["stopped"] == "--max-seconds 1e-06"
    with pytest.raises(InputError, match=r"nothing left to do: .* give a larger --max-seconds"):
        train_stage.resume(run_id, {})
    train_stage.resume(run_id, {"max_seconds": 1000.0})
    tags = MlflowClient().get_run(run_id).data.tags
    assert "stopped" not in tags
    assert tags["resumed"] == "--max-seconds 1e-06"
    assert [m.step for m in MlflowClient().get_metric_history(run_id, "perplexity/val")] == [1, 2, 3, 4]


def test_a_finished_training_has_nothing_left_to_do(store, small_text):
    run_id = train(small_text, {**TINY, "epochs": 1}).run_id
    with pytest.raises(InputError, match="nothing left to do"):
        train_stage.resume(run_id, {})
    assert MlflowClient().get_run(run_id).info.status == "FINISHED"


@pytest.mark.parametrize(("option", "value"), [("hidden_size", 9), ("seed", 1), ("corpus", "python-docs")])
def test_another_configuration_is_refused_naming_the_option(stopped, option, value):
    with pytest.raises(InputError, match=f"--{option.replace('_', '-')} {value} is not what lstm-1x8-s0-topics was"):
        train_stage.resume(stopped, {option: value})


@pytest.mark.parametrize("silence", [None, "auto"])
def test_auto_is_as_the_run_was_begun(store, small_text, silence):
    options = {**TINY, "batch_size": 64, "max_seconds": 500.0, "device": "cpu"}
    run_id = killed(small_text, options, stop_in_an_epoch)
    config = resolve(options)[1]
    train_stage.resume(run_id, dict.fromkeys([*asdict(config), "hidden_size", "corpus", "alphabet"], silence))
    kept = json.loads(MlflowClient().get_run(run_id).data.tags[records.CONFIG_TAG])
    assert kept["train"] == asdict(config)
    assert len(MlflowClient().get_metric_history(run_id, "perplexity/val")) == TINY["epochs"]
    assert not [tag for tag in MlflowClient().get_run(run_id).data.tags if tag.startswith("resumed.")]


def without_recipe(run_id: str) -> None:
    """Make a run's record what 42b8c90 would have recorded: the first recipe, which was not named yet."""
    client = MlflowClient()
    begun = json.loads(client.get_run(run_id).data.tags[records.CONFIG_TAG])
    assert begun["train"].pop("recipe") == 1
    client.set_tag(run_id, records.CONFIG_TAG, json.dumps(begun))
    path = records.artifact_path(run_id, "checkpoints/last.safetensors")
    tensors, facts = load_checkpoint(path)
    assert facts["train"].pop("recipe") == 1
    save_checkpoint(path, tensors, facts)


def test_a_training_that_was_begun_before_there_were_recipes_is_resumed_under_the_first(store, small_text):
    first = outcome(train(small_text, {**TINY, "recipe": 1}).run_id)
    run_id = killed(small_text, {**TINY, "recipe": 1}, stop_in_an_epoch)
    without_recipe(run_id)
    train_stage.resume(run_id, {})
    assert_same(run_id, first)
    assert json.loads(MlflowClient().get_run(run_id).data.tags[records.CONFIG_TAG])["train"]["recipe"] == 1
    second = outcome(train(small_text, TINY).run_id)
    assert first[1]["training/learning_rate"] != second[1]["training/learning_rate"]


def test_what_is_given_as_it_was_is_no_change(stopped, small_text, expected):
    train_stage.resume(stopped, {"hidden_size": 8, "epochs": 4, "corpus": str(small_text)})
    assert_same(stopped, expected)


def test_only_a_training_can_be_resumed_and_a_pipelines_is_named(store, small_text):
    config = CorpusConfig(str(small_text))
    done = main.pipeline(config, *resolve({**TINY, "epochs": 1}))
    with pytest.raises(InputError, match=f"its training is {done.result['trained_run']}"):
        train_stage.resume(done.result["run_id"], {})
    with pytest.raises(InputError, match="is no run of"):
        train_stage.resume("0" * 32, {})


def test_a_run_that_is_still_running_is_refused(stopped):
    MlflowClient().update_run(stopped, status="RUNNING")
    with pytest.raises(InputError, match=r"is still running \(pid"):
        train_stage.resume(stopped, {})


def test_of_two_that_resume_a_run_at_once_the_slower_one_is_told(stopped, expected):
    seen = records.resumable_run(stopped)
    train_stage.resume(stopped, {})
    with pytest.raises(InputError, match="has just been gone on with"), runs.tracked_run("train", "x", {}, seen):
        pass
    assert_same(stopped, expected)


def test_an_experiment_that_only_looks_writes_nothing(store, small_text):
    run_id = killed(small_text, TINY, MOMENTS["between the last and the best checkpoint"])
    folder = records.artifact_path(run_id, "checkpoints")
    (folder / ".last.safetensors.0123").write_bytes(b"another process is writing")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    config = CorpusConfig(str(small_text))
    experiment.Experiment(load_corpus(config), *resolve(TINY), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_run_whose_process_is_gone_is_closed_and_resumed_by_the_same_command(cut, expected, caplog):
    MlflowClient().update_run(cut, status="RUNNING")
    MlflowClient().set_tag(cut, "process.pid", 2**22 + 1)  # past the largest there can be
    close_the_dead.cache_clear()
    train_stage.resume(cut, {})
    assert "Closed 1 run whose process is gone: lstm-1x8-s0-topics" in caplog.text
    assert_same(cut, expected)


def test_a_deleted_run_is_refused_with_the_command_that_restores_it(stopped):
    MlflowClient().delete_run(stopped)
    with pytest.raises(InputError, match="mlflow runs restore"):
        train_stage.resume(stopped, {})


def test_another_text_under_the_same_name_is_refused(store, small_text, tmp_path):
    text = tmp_path / "changing.txt"
    text.write_bytes(small_text.read_bytes())
    run_id = killed(text, TINY, MOMENTS["in the first epoch"])
    text.write_text("Another text. " * 2000)
    with pytest.raises(InputError, match="not the one that was trained on"):
        train_stage.resume(run_id, {})


def test_a_damaged_checkpoint_is_refused_and_the_run_stays_as_it_was(stopped):
    last = records.artifact_path(stopped, "checkpoints/last.safetensors")
    data = bytearray(last.read_bytes())
    data[len(data) // 2] ^= 1
    last.write_bytes(data)
    with pytest.raises(InputError, match="is damaged"):
        train_stage.resume(stopped, {})
    assert MlflowClient().get_run(stopped).info.status == "KILLED"


def test_under_mlflow_run_the_run_that_it_began_points_at_the_one_that_is_resumed(stopped, monkeypatch):
    begun = MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", begun)
    assert train_stage.resume(stopped, {}).run_id == stopped
    run = MlflowClient().get_run(begun)
    assert (run.info.status, run.data.tags["stage"], run.data.tags["trained_run"]) == ("FINISHED", "resume", stopped)
    assert "final/val_perplexity" in run.data.metrics
    assert MlflowClient().get_run(stopped).info.status == "FINISHED"
    assert "mlflow.parentRunId" not in MlflowClient().get_run(stopped).data.tags
