"""The stages: what each records, what the pipeline takes again, and what it does again."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
import torch
import yaml
from mlflow.tracking import MlflowClient

from models.config import ModelConfig
from models.decoding import Decoding
from pipeline.config import CorpusConfig, TrainConfig, resolve
from pipeline.errors import InputError, TrainingDivergedError
from pipeline.stages import evaluate, main, prepare, sample
from pipeline.stages import train as train_stage
from pipeline.text import corpus as corpus_module
from pipeline.text import downloads
from pipeline.text.corpus import load_corpus
from pipeline.tracking import records
from pipeline.tracking import runs as runs_module
from pipeline.tracking.step import Step
from pipeline.tracking.store import setup
from pipeline.training.checkpoints import load_checkpoint, load_model, save_checkpoint
from pipeline.training.evaluation import score_text
from pipeline.training.loop import Training
from tests.labs import copy_store, new_store, store_at

pytestmark = pytest.mark.usefixtures("plain_artifacts")
TINY = {"hidden_size": 8, "epochs": 3, "batch_size": 32, "sequence_length": 16, "precision": "fp32", "sample_every": 2}


def train(text: Path, **options):
    config = CorpusConfig(str(text))
    return train_stage.train(load_corpus(config), config, *resolve({**TINY, **options}))


def recorded(run_id: str):
    return MlflowClient().get_run(run_id)


def artifacts(run_id: str, folder: str = "") -> set[str]:
    return {file.path for file in MlflowClient().list_artifacts(run_id, folder)}


def history(run_id: str, metric: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in MlflowClient().get_metric_history(run_id, metric)]


# --- train -----------------------------------------------------------------------------------------------------------


def test_a_training_records_all_that_its_page_should_show(store, small_text):
    step = train(small_text)
    run = recorded(step.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "lstm-1x8-s0-topics"
    for metric in ("perplexity/train", "perplexity/val", "training/learning_rate", "training/gradient_norm"):
        assert [epoch for epoch, _ in history(step.run_id, metric)] == [1, 2, 3]
    assert {
        "final/val_perplexity", "final/test_perplexity", "final/test_bits_per_char", "final/best_epoch",
        "final/ngram_val_perplexity", "final/ngram_test_perplexity", "cost/parameters", "cost/macs_per_char",
        "cost/train_seconds", "cost/chars_per_second",
    } <= set(run.data.metrics)  # fmt: skip
    assert {"cell", "hidden_size", "learning_rate", "seed", "preset", "corpus", "alphabet"} <= set(run.data.params)
    assert run.data.params["epochs"] == "3"
    assert run.data.params["device"] == "cpu"
    assert run.data.tags["corpus.sha256"] == step.result["corpus_sha256"]
    assert run.data.tags["config_id"]
    assert "6-gram" in run.data.tags["mlflow.note.content"]
    assert artifacts(step.run_id) == {
        "checkpoints", "complexity.txt", "config.yaml", "environment.yaml", "plots", "result.json", "samples",
    }  # fmt: skip
    assert artifacts(step.run_id, "checkpoints") == {"checkpoints/best.safetensors", "checkpoints/last.safetensors"}
    assert artifacts(step.run_id, "plots") == {"plots/perplexity.png", "plots/gap.png"}
    assert artifacts(step.run_id, "samples") == {"samples/epoch-0002.md", "samples/final.json", "samples/final.md"}
    assert {each.dataset.name for each in run.inputs.dataset_inputs} == {"topics/train", "topics/val", "topics/test"}


def test_the_configuration_artifact_makes_the_same_configuration_again(store, small_text):
    step = train(small_text, learning_rate=0.01)
    kept = yaml.safe_load(records.read_text(step.run_id, "config.yaml"))
    model, config = resolve({**TINY, "learning_rate": 0.01})
    assert resolve({**kept["model"], **kept["train"]}) == (model, config)
    assert CorpusConfig(**kept["corpus"]) == CorpusConfig(str(small_text))


def test_the_result_has_the_flat_keys_that_json_promises(store, small_text):
    result = train(small_text).result
    for key in (
        "run_id", "corpus", "corpus_sha256", "source_sha256", "val_perplexity", "test_perplexity",
        "test_bits_per_char", "ngram_val_perplexity", "ngram_test_perplexity", "best_epoch", "epochs",
        "train_seconds", "parameters", "macs_per_char", "checkpoint",
    ):  # fmt: skip
        assert not isinstance(result[key], dict | list), key
    assert result["test_bits_per_char"] == pytest.approx(math.log2(result["test_perplexity"]))
    assert json.loads(records.read_text(result["run_id"], "result.json")) == result


def test_the_checkpoint_that_is_named_gives_the_perplexity_that_is_reported(store, small_text):
    result = train(small_text).result
    model, _, _ = load_model(Path(result["checkpoint"]))
    corpus = load_corpus(CorpusConfig(str(small_text)))
    for split in ("val", "test"):
        score = score_text(model, torch.from_numpy(corpus.split("stream", split)))
        assert score.perplexity == pytest.approx(result[f"{split}_perplexity"], rel=1e-9)


def test_the_reports_preset_records_the_pooled_perplexity_beside_the_books(store):
    config = CorpusConfig("python-docs")
    options = {"preset": "report", "hidden_size": 4, "cell": "rnn", "epochs": 1}
    step = train_stage.train(load_corpus(config), config, *resolve(options))
    run = recorded(step.run_id)
    assert run.info.run_name == "rnn-1x4-s0-report-python-docs"
    assert run.data.metrics["perplexity_pooled/val"] <= run.data.metrics["perplexity/val"]
    assert run.data.params["precision"] == "fp32"


def test_a_training_that_diverges_fails_with_the_reason_and_keeps_its_best_checkpoint(store, small_text, monkeypatch):
    monkeypatch.setattr(Training, "learning_rate_at", lambda self, step: 0.01 if step < 60 else 1e6)
    with pytest.raises(TrainingDivergedError, match=r"lower --learning-rate.*the checkpoint of epoch 1 is kept"):
        train(small_text)
    (run,) = MlflowClient().search_runs(["0"])
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"].startswith("TrainingDivergedError: ")
    assert [epoch for epoch, _ in history(run.info.run_id, "perplexity/val")] == [1]
    (best,) = (path for path in artifacts(run.info.run_id, "checkpoints") if "best" in path)
    assert load_model(records.artifact_path(run.info.run_id, best))[2]["epoch"] == 1


# --- evaluate and sample ---------------------------------------------------------------------------------------------


def test_evaluating_a_split_gives_what_training_reported(trained):
    for split in ("val", "test"):
        result = evaluate.evaluate(trained.run_id, split).result
        assert result["perplexity"] == pytest.approx(trained.result[f"{split}_perplexity"], rel=1e-9)
        assert result["ngram_perplexity"] == pytest.approx(trained.result[f"ngram_{split}_perplexity"], rel=1e-6)
        assert result["bits_per_char"] == pytest.approx(math.log2(result["perplexity"]))


def test_any_other_text_can_be_evaluated_and_unknown_characters_are_counted(store, small_text, tmp_path):
    config = CorpusConfig(str(small_text), "raw")
    step = train_stage.train(load_corpus(config), config, *resolve(TINY))
    other = tmp_path / "other.txt"
    other.write_text("a statement of the \U0001f40d language", encoding="utf-8")
    result = evaluate.evaluate(step.run_id, text=str(other)).result
    assert result["unknown_characters"] == 1
    assert result["perplexity"] > 1
    assert result["ngram_perplexity"] > 1


def test_the_bar_of_a_long_text_is_fitted_on_the_same_sample_everywhere_and_says_so(store, small_text, monkeypatch):
    monkeypatch.setattr(corpus_module, "PASS_CHARS", 10_000)
    monkeypatch.setattr(corpus_module, "HELD_OUT_CHARS", 500)
    monkeypatch.setattr(corpus_module, "BASELINE_CHARS", 2000)
    monkeypatch.setattr(corpus_module, "BASELINE_BLOCK", 200)
    config = CorpusConfig(str(small_text))
    corpus = load_corpus(config)
    step = prepare.prepare(corpus, config, "stream")
    assert step.result["baseline_characters"] == 2000
    assert (step.result["val_characters"], step.result["test_characters"]) == (500, 500)
    assert recorded(step.run_id).data.metrics["corpus/baseline_characters"] == 2000
    seen = f"fitted on 2,000 of {step.result['train_characters']:,} training characters"
    assert seen in recorded(step.run_id).data.tags["mlflow.note.content"]
    trained = train(small_text)
    note = recorded(trained.run_id).data.tags["mlflow.note.content"]
    assert seen in note
    assert "Each epoch is a pass over 10,000,000 of these; validation and test read 500,000 characters each." in note
    judged = evaluate.evaluate(trained.run_id).result
    assert judged["ngram_perplexity"] == pytest.approx(step.result["ngram_test_perplexity"], rel=1e-9)
    assert judged["characters"] == 499


def test_evaluating_a_text_reads_it_as_the_model_reads_any_other(trained, tmp_path):
    (tmp_path / "a.txt").write_text("It was the time,\r\nthe TIME!", encoding="utf-8-sig", newline="")
    (tmp_path / "b.txt").write_text("it was the time the time ", encoding="utf-8")
    one, other = (evaluate.evaluate(trained.run_id, text=str(tmp_path / name)).result for name in ("a.txt", "b.txt"))
    assert one["bits_per_char"] == other["bits_per_char"]
    assert one["characters"] == 24


@pytest.mark.parametrize("content", [b"\xff" * 5000, b"a\0" * 5000, b""])
def test_what_is_no_text_is_not_evaluated(trained, tmp_path, content):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"bad.* (is not UTF-8 text: byte 0 is 0xff|has NUL bytes|has 0 characters)"):
        evaluate.evaluate(trained.run_id, text=str(tmp_path / "bad.txt"))


@pytest.mark.parametrize("name", ["missing.txt", "."])
def test_a_text_that_can_not_be_read_is_refused(trained, name, tmp_path):
    with pytest.raises(InputError, match="--text"):
        evaluate.evaluate(trained.run_id, text=str(tmp_path / name))


def test_a_split_of_a_text_that_has_changed_since_is_refused(store, tmp_path, small_text):
    text = tmp_path / "changing.txt"
    text.write_text(small_text.read_text())
    step = train(text)
    text.write_text(small_text.read_text() + "one more line")
    with pytest.raises(InputError, match="not the one that was trained on"):
        evaluate.evaluate(step.run_id)


def test_a_model_is_found_by_run_checkpoint_and_model_address(trained):
    run = recorded(trained.run_id)
    (model,) = run.outputs.model_outputs
    names = [trained.run_id, trained.result["checkpoint"], f"models:/{model.model_id}", f"runs:/{trained.run_id}/model"]
    texts = [sample.write_texts(name, ["it has"], 20, Decoding(method="greedy")) for name in names]
    assert texts[1:] == texts[:-1]
    assert texts[0][0].startswith("it has")


def test_a_checkpoint_of_our_own_run_is_evaluated_on_the_runs_text_by_its_path_too(trained):
    by_run, by_path = evaluate.evaluate(trained.run_id), evaluate.evaluate(trained.result["checkpoint"])
    assert by_path.result["perplexity"] == by_run.result["perplexity"]


@pytest.mark.parametrize("changed", [{"source": "https://host/page.txt"}, {"corpus_sha256": "0" * 64}])
def test_the_text_that_a_foreign_checkpoint_names_is_not_opened(trained, tmp_path, small_text, monkeypatch, changed):
    tensors, facts = load_checkpoint(Path(trained.result["checkpoint"]))
    foreign = tmp_path / "foreign.safetensors"
    save_checkpoint(foreign, tensors, {**facts, "corpus": {**facts["corpus"], **changed}})
    opened: list[CorpusConfig] = []
    monkeypatch.setattr("pipeline.tracking.step.load_corpus", opened.append)
    with pytest.raises(InputError, match=r"trained on topics, a text of the user's own, .*: say with --text FILE"):
        evaluate.evaluate(str(foreign))
    result = evaluate.evaluate(str(foreign), text=str(small_text)).result
    assert math.isfinite(result["perplexity"])
    assert "ngram_perplexity" not in result, "its baseline would be fitted on that text"
    assert opened == []


def test_a_foreign_checkpoint_of_a_text_that_is_known_by_name_is_evaluated_on_that(trained, tmp_path):
    tensors, facts = load_checkpoint(Path(trained.result["checkpoint"]))
    save_checkpoint(tmp_path / "foreign", tensors, {**facts, "corpus": {**facts["corpus"], "name": "python-docs"}})
    with pytest.raises(InputError, match="the text python-docs is not the one that was trained on"):
        evaluate.evaluate(str(tmp_path / "foreign"))


def test_streaming_writes_what_sampling_returns(trained):
    decoding = Decoding(temperature=0.5, seed=3)
    pieces = list(sample.stream_text(trained.run_id, "It has", 30, decoding))
    assert pieces[0] == "it has"
    assert len(pieces) == 31
    assert ["".join(pieces)] == sample.write_texts(trained.run_id, ["It has"], 30, decoding)


def test_samples_are_recorded_under_their_prompts(trained):
    step = sample.sample(trained.run_id, ["it has", "the"], 10, Decoding())
    assert [text[:3] for text in step.result["texts"]] == ["it ", "the"]
    note = recorded(step.run_id).data.tags["mlflow.note.content"]
    assert "**it has**" in note
    assert recorded(step.run_id).data.tags["trained_run"] == trained.run_id


def test_the_logged_model_answers_prompts_by_its_signature(trained):
    (model,) = recorded(trained.run_id).outputs.model_outputs
    served = mlflow.pyfunc.load_model(f"models:/{model.model_id}")
    assert served.metadata.signature == runs_module.SIGNATURE
    texts = served.predict(["it has", "of the"], params={"length": 12, "method": "greedy"})
    assert texts == sample.write_texts(trained.run_id, ["it has", "of the"], 12, Decoding(method="greedy"))
    with pytest.raises(mlflow.MlflowException, match=r"temperature is 0\.0"):
        served.predict(["it has"], params={"temperature": 0.0})
    with pytest.raises(mlflow.MlflowException, match="empty"):
        served.predict([""])


# --- the pipeline ----------------------------------------------------------------------------------------------------


def run_pipeline(text: Path, force: bool = False, **options):
    return main.pipeline(CorpusConfig(str(text)), *resolve({**TINY, **options}), force=force)


@pytest.fixture(scope="module")
def piped_store(tmp_path_factory, empty_database, small_text) -> tuple[Path, Step]:
    """A store with one run of the pipeline, to be copied."""
    home = new_store(tmp_path_factory.mktemp("piped") / "lab", empty_database)
    with store_at(home):
        return home, run_pipeline(small_text)


@pytest.fixture
def first(no_store: Path, piped_store: tuple[Path, Step]) -> Step:
    """The run of the pipeline, alone in a store of the test's own."""
    home, step = piped_store
    copy_store(home, no_store)
    setup()
    return replace(
        step, result={**step.result, "checkpoint": step.result["checkpoint"].replace(*map(str, (home, no_store)))}
    )


def test_the_pipeline_is_one_parent_with_a_run_for_each_step(first):
    children = MlflowClient().search_runs(["0"], f"tags.`mlflow.parentRunId` = '{first.result['run_id']}'")
    assert {run.data.tags["stage"] for run in children} == {"prepare", "train", "evaluate", "sample"}
    assert {run.info.status for run in children} == {"FINISHED"}
    parent = recorded(first.result["run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["final/val_perplexity"] == pytest.approx(first.result["val_perplexity"], rel=1e-5)
    assert first.result["perplexity"] == pytest.approx(first.result["test_perplexity"], rel=1e-9)
    assert first.result["reused"] == []


def test_what_nothing_has_changed_for_is_taken_again(first, small_text):
    again = run_pipeline(small_text)
    assert again.result["reused"] == ["prepare", "train", "evaluate", "sample"]
    assert again.result["val_perplexity"] == first.result["val_perplexity"]
    assert again.result["texts"] == first.result["texts"]
    assert again.result["run_id"] != first.result["run_id"]


def test_another_configuration_does_only_what_depends_on_it(first, small_text):
    assert run_pipeline(small_text, seed=1).result["reused"] == ["prepare"]


def test_force_does_every_step_again(first, small_text):
    assert run_pipeline(small_text, force=True).result["reused"] == []


def test_a_training_whose_checkpoint_is_gone_is_done_again(first, small_text):
    Path(first.result["checkpoint"]).unlink()
    assert run_pipeline(small_text).result["reused"] == ["prepare"]


def test_a_training_whose_checkpoint_is_damaged_is_done_again(first, small_text):
    checkpoint = Path(first.result["checkpoint"])
    data = bytearray(checkpoint.read_bytes())
    data[-1] ^= 1
    checkpoint.write_bytes(data)
    assert run_pipeline(small_text).result["reused"] == ["prepare"]


def test_another_spelling_of_the_same_text_changes_nothing(first, small_text, monkeypatch):
    monkeypatch.chdir(small_text.parent)
    assert run_pipeline(Path(small_text.name)).result["reused"] == ["prepare", "train", "evaluate", "sample"]


def test_a_training_by_hand_is_taken_by_the_pipeline(store, small_text):
    step = train(small_text)
    done = run_pipeline(small_text)
    assert done.result["reused"] == ["train"]
    assert done.result["trained_run"] == step.run_id


def test_no_secret_of_a_texts_address_is_recorded(store, small_text):
    """Neither its user nor its signature, in no tag, parameter, note, configuration or checkpoint."""
    address = "https://user:pa55@host/topics.txt?X-Amz-Signature=pa55"
    kept = downloads._kept(address)
    kept.parent.mkdir(parents=True)
    shutil.copy(small_text, kept)
    config = CorpusConfig(address)
    corpus = load_corpus(config)

    def stop(training: object) -> str:
        raise KeyboardInterrupt

    prepare.prepare(corpus, config, "stream")
    model, recipe, setting = ModelConfig("lstm", 1, 4), TrainConfig(epochs=2), train_stage.Setting(reason_to_stop=stop)
    with pytest.raises(KeyboardInterrupt):
        train_stage.train(corpus, config, model, recipe, setting=setting)
    runs = MlflowClient().search_runs(["0"])
    assert {run.data.params["corpus"] for run in runs} == {"https://host/topics.txt"}
    assert "pa55" not in json.dumps([run.to_dictionary() for run in runs])
    files = [path.read_bytes() for path in (store / "mlruns" / "0").rglob("*") if path.is_file()]
    assert len(files) > 3, "config.yaml and checkpoints among them"
    assert not any(b"pa55" in content for content in files)


def test_an_evaluation_of_a_pipeline_run_judges_its_training(first):
    result = evaluate.evaluate(first.result["run_id"]).result
    assert result["trained_run"] == first.result["trained_run"]
