"""Steps: what is reused, the text that a command names, and that of an earlier training."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from models.config import ModelConfig
from pipeline.config import RECIPE, CorpusConfig, TrainConfig
from pipeline.errors import InputError
from pipeline.stages.train import ALONE, training_identity
from pipeline.text.cache import cache_dir
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.tracking import artifacts, recorded
from pipeline.tracking.names import bare_tags
from pipeline.tracking.runs import tracked_run
from pipeline.tracking.step import Step, leave_out_repeats, parent_run, step_key
from pipeline.tracking.text_identity import corpus_tags, same_text, text_to_train
from tests.labs import record, run_step
from tests.tracking.test_liveness import open_run

KEYS = {"letters": "8a52ff729aba0b3e", "raw": "6546eafa530924d7"}  # of trainings by d5cc29df


def step(inputs: dict[str, Any], reuse: bool = True) -> Step:
    return run_step("prepare", inputs, reuse, value=1)


def test_a_key_follows_the_stage_and_its_inputs():
    keys = {step_key("prepare", {}), step_key("sample", {}), step_key("prepare", {"corpus": "x"})}
    assert len(keys) == 3
    assert step_key("prepare", {"a": 1, "b": 2}) == step_key("prepare", {"b": 2, "a": 1})


def test_a_step_is_reused_where_its_inputs_are_the_same_and_reuse_is_allowed(store):
    first = step({"corpus": "x"})
    failed = record("a step", "prepare", ValueError("half way"), step_key=step_key("prepare", {"corpus": "x"}))
    MlflowClient().log_dict(failed, {"value": 0}, artifacts.RESULT_FILE)
    again = step({"corpus": "x"})
    assert (first.reused, again.reused, again.run_id) == (False, True, first.run_id)
    assert again.result == first.result == artifacts.read_result(first.run_id, "")
    assert step({"corpus": "y"}).run_id != first.run_id
    latest = step({"corpus": "x"}, reuse=False)
    assert latest.run_id != first.run_id
    (store / "mlruns" / "0" / latest.run_id / "artifacts" / artifacts.RESULT_FILE).unlink()
    assert not step({"corpus": "x"}).reused


def test_of_two_finished_runs_of_one_training_the_one_that_is_counted_stays_finished(store):
    """A node that was cut off has finished a training that another node had repeated."""
    with parent_run("search", "a search", {}, None) as parent:
        first, counted, other = (run_step("train", {"seed": seed}, reuse=False, value=1).run_id for seed in (0, 0, 1))
        leave_out_repeats(parent.id, {counted})
        leave_out_repeats(parent.id, {counted})
    statuses = [MlflowClient().get_run(run_id).info.status for run_id in (first, counted, other)]
    assert statuses == ["FAILED", "FINISHED", "FINISHED"]
    assert recorded.run_of(first).tag("duplicate_of") == counted


def test_a_run_that_is_reopened_or_ends_leaves_no_training_running_that_could_not_record_its_end(store):
    """The store was away: nodes gave up, and so did the search."""
    with parent_run("search", "a search", {}, None) as earlier:
        pass
    with parent_run("search", "another search", {}, None) as other:
        pass
    places = (earlier.id, "n1"), (earlier.id, socket.gethostname()), (other.id, "n1")
    on_a_node, here, of_another = (
        open_run(**{"process.host": host, "stage": "train", "mlflow.parentRunId": parent}) for parent, host in places
    )

    def statuses() -> list[str]:
        return [MlflowClient().get_run(run_id).info.status for run_id in (on_a_node, here, of_another)]

    with parent_run("search", "a search", {}, recorded.run_of(earlier.id)):
        assert statuses() == ["FAILED", "RUNNING", "RUNNING"], "a process of this machine may be stopping just now"
        leave_out_repeats(earlier.id, set())
        assert statuses() == ["FAILED", "FAILED", "RUNNING"]


@pytest.mark.parametrize("name", ["best", "another"])
def test_a_training_whose_checkpoint_is_damaged_or_gone_is_not_reused(store, caplog, name):
    first = run_step("evaluate", {}, reuse=True, checkpoint="best.safetensors")
    MlflowClient().log_text(first.run_id, "damaged", f"checkpoints/{name}.safetensors")
    assert run_step("evaluate", {}, reuse=True, checkpoint="best.safetensors").run_id != first.run_id
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


def test_a_changed_text_is_that_of_the_cache_and_refused_where_that_has_no_copy_of_the_earlier_one(of_a_file):
    file, corpus = Path(of_a_file.source), of_a_file
    shutil.rmtree(cache_dir())
    assert same_text(corpus.name, str(file), "letters", corpus.corpus_sha256).corpus_sha256 == corpus.corpus_sha256
    file.write_text(file.read_text()[1000:])
    assert same_text(corpus.name, str(file), "letters", corpus.corpus_sha256).corpus_sha256 == corpus.corpus_sha256
    shutil.rmtree(cache_dir())
    with pytest.raises(InputError, match="is not the one that was trained on"):
        same_text(corpus.name, str(file), "letters", corpus.corpus_sha256)


@pytest.mark.parametrize("alphabet", KEYS)
def test_a_training_is_that_of_before_whether_the_alphabet_is_given_or_auto(tmp_path, monkeypatch, alphabet: Any):
    """So are the steps of a main job, several seeds, searches and answers: tests/system/test_yardstick.py."""
    monkeypatch.setattr("pipeline.tracking.step.torch.__version__", "2.13.0")
    monkeypatch.setattr("pipeline.text.corpus.usual_alphabet", lambda name: alphabet)
    monkeypatch.setitem(RECIPE, "stream", 6)
    path = tmp_path / "story.txt"
    path.write_text("It has a Zebra, and so it goes.\n" * 60, encoding="utf-8")
    for config in (CorpusConfig(str(path), alphabet), CorpusConfig(str(path))):
        inputs, tags = training_identity(load_corpus(config), ModelConfig(), TrainConfig(), {}, ALONE)
        assert step_key("train", inputs) == KEYS[alphabet]
        assert json.loads(tags["config"])["corpus"]["alphabet"] == alphabet


def of_letters(path: Path, kept: int, dropped: str) -> CorpusConfig:
    """A text of so many letters that ``letters`` keeps, and those that it drops."""
    path.write_text("abcd 12 " * (kept // 4) + dropped, encoding="utf-8")
    return CorpusConfig(str(path), "letters")


def test_letters_says_what_it_drops_of_a_new_text_and_refuses_to_drop_most_of_it(store, tmp_path, caplog):
    text_to_train(of_letters(tmp_path / "latin.txt", 2000, "éü" * 40))  # 4 %
    assert not caplog.text
    text_to_train(of_letters(tmp_path / "mixed.txt", 2000, "ж" * 20 + "ёяю" * 30 + "e\u0301" * 90 + "ш"))
    assert r"drops 9 % of the 2,201 letters of mixed (é, ё, я, ю, ж most often)" in caplog.text
    russian = of_letters(tmp_path / "russian.txt", 1999, "ж" * 2000)
    for stage in ("", "seeds"):
        with pytest.raises(
            InputError, match=r"drops 50 % of the 3,996 letters of russian \(ж most often\); --alphabet"
        ):
            text_to_train(russian, stage)
    with tracked_run("seeds", "seeds of before", corpus_tags(load_corpus(russian))):
        pass
    assert text_to_train(russian, "seeds") == load_corpus(russian)


def test_auto_says_that_all_trainings_on_a_text_are_as_letters(store, tmp_path, caplog):
    letters, raw = of_letters(tmp_path / "story.txt", 4000, ""), CorpusConfig(str(tmp_path / "story.txt"), "raw")
    for config, said in ((letters, "1 training "), (letters, "2 trainings "), (raw, "")):
        of_training = training_identity(load_corpus(config), ModelConfig(), TrainConfig(), {}, ALONE)[1]
        with tracked_run("train", "lstm", of_training) as run:
            run.constants({"result/val_perplexity": 2.0})
        caplog.clear()
        text_to_train(CorpusConfig(config.corpus))
        assert (f"story has {said}as letters: --alphabet letters goes on" in caplog.text) == bool(said)
