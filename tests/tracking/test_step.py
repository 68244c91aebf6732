"""Steps: what is reused, and the text of an earlier training."""

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from pipeline.config import CorpusConfig
from pipeline.errors import InputError
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.text.downloads import cache_dir
from pipeline.tracking import recorded
from pipeline.tracking.names import bare_tags
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import Step, leave_out_repeats, parent_run, run_step, same_text, step_key
from tests.tracking.test_liveness import open_run


def step(inputs: dict[str, Any], reuse: bool = True) -> Step:
    return run_step("prepare", "a step", inputs, {}, lambda run: {"value": 1}, reuse)


def test_a_key_follows_the_stage_and_its_inputs():
    keys = {step_key("prepare", {}), step_key("sample", {}), step_key("prepare", {"corpus": "x"})}
    assert len(keys) == 3
    assert step_key("prepare", {"a": 1, "b": 2}) == step_key("prepare", {"b": 2, "a": 1})


def test_a_step_is_reused_where_its_inputs_are_the_same_and_reuse_is_allowed(store):
    def fail(run: TrackedRun) -> dict[str, Any]:
        run.json(recorded.RESULT_FILE, {"value": 0})
        raise ValueError("half way")

    first = step({"corpus": "x"})
    with pytest.raises(ValueError, match="half way"):
        run_step("prepare", "a step", {"corpus": "x"}, {}, fail, reuse=False)
    again = step({"corpus": "x"})
    assert (first.reused, again.reused, again.run_id) == (False, True, first.run_id)
    assert again.result == first.result == recorded.read_result(first.run_id, "")
    assert step({"corpus": "y"}).run_id != first.run_id
    latest = step({"corpus": "x"}, reuse=False)
    assert latest.run_id != first.run_id
    (store / "mlruns" / "0" / latest.run_id / "artifacts" / recorded.RESULT_FILE).unlink()
    assert not step({"corpus": "x"}).reused


def test_of_two_finished_runs_of_one_training_the_one_that_is_counted_stays_finished(store):
    """A node that was cut off has finished a training that another node had repeated."""
    with parent_run("search", "a search", {}, None) as parent:
        first, counted, other = (
            run_step("train", "a training", {"seed": seed}, {}, lambda run: {"value": 1}, reuse=False).run_id
            for seed in (0, 0, 1)
        )
        leave_out_repeats(parent.id, {counted})
        leave_out_repeats(parent.id, {counted})
    statuses = [MlflowClient().get_run(run_id).info.status for run_id in (first, counted, other)]
    assert statuses == ["FAILED", "FINISHED", "FINISHED"]
    assert recorded.run_of(first).tag("duplicate_of") == counted


def training_that_could_not_end(parent: str, host: str) -> str:
    """The id of a nested training that is RUNNING, by a process of that machine."""
    return open_run(**{"process.host": host, "stage": "train", "mlflow.parentRunId": parent})


def test_a_run_that_is_reopened_or_ends_leaves_no_training_running_that_could_not_record_its_end(store):
    """The store was away: nodes gave up, and so did the search."""
    with parent_run("search", "a search", {}, None) as earlier:
        pass
    with parent_run("search", "another search", {}, None) as other:
        pass
    on_a_node, here = (training_that_could_not_end(earlier.id, host) for host in ("n1", socket.gethostname()))
    of_another = training_that_could_not_end(other.id, "n1")

    def statuses() -> list[str]:
        return [MlflowClient().get_run(run_id).info.status for run_id in (on_a_node, here, of_another)]

    with parent_run("search", "a search", {}, recorded.run_of(earlier.id)):
        assert statuses() == ["FAILED", "RUNNING", "RUNNING"], "a process of this machine may be stopping just now"
        leave_out_repeats(earlier.id, set())
        assert statuses() == ["FAILED", "FAILED", "RUNNING"]


@pytest.mark.parametrize("name", ["best", "another"])
def test_a_training_whose_checkpoint_is_damaged_or_gone_is_not_reused(store, caplog, name):
    def work(run: Any) -> dict[str, Any]:
        run.text(f"checkpoints/{name}.safetensors", "damaged")
        return {"checkpoint": "best.safetensors"}

    first = run_step("evaluate", "a training", {}, {}, work, reuse=True)
    assert run_step("evaluate", "a training", {}, {}, work, reuse=True).run_id != first.run_id
    assert f"the training {first.run_id} is repeated" in caplog.text


def test_under_mlflow_run_the_begun_run_points_at_the_parent_that_is_reopened(begun, monkeypatch):
    monkeypatch.delenv("MLFLOW_RUN_ID")
    with parent_run("search", "a search", {}, None) as earlier:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", begun)
    with parent_run("search", "a search", {}, recorded.run_of(earlier.id)) as again:
        pass
    assert again.id == earlier.id
    assert bare_tags(MlflowClient().get_run(begun).data.tags).get("resumed_run", "") == earlier.id


@pytest.fixture
def of_a_file(tmp_path: Path, small_text: Path) -> Corpus:
    """A text of a file that a test may change."""
    shutil.copy(small_text, tmp_path / "text.txt")
    return load_corpus(CorpusConfig(str(tmp_path / "text.txt"), "letters"))


def test_a_changed_text_is_refused_where_the_cache_has_no_copy_of_the_earlier_one(of_a_file):
    file, corpus = Path(of_a_file.source), of_a_file
    shutil.rmtree(cache_dir())
    assert same_text(corpus.name, str(file), "letters", corpus.corpus_sha256).corpus_sha256 == corpus.corpus_sha256
    shutil.rmtree(cache_dir())
    file.write_text(file.read_text()[1000:])
    with pytest.raises(InputError, match="is not the one that was trained on"):
        same_text(corpus.name, str(file), "letters", corpus.corpus_sha256)
