"""``train``: what a training records, what it promises as JSON, and when a recorded one is reused."""

import gc
import json
import shutil
import sys
from types import FrameType
from weakref import WeakSet

import pytest
import yaml
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from models.config import ModelConfig
from pipeline.config import CorpusConfig, TrainConfig, config_id, resolve
from pipeline.errors import TrainingDivergedError
from pipeline.stages.prepare import prepare
from pipeline.stages.train import Recorder, options_like, train
from pipeline.text import downloads
from pipeline.text.corpus import load_corpus
from pipeline.tracking import artifacts, queries
from pipeline.tracking.names import bare_tags
from pipeline.tracking.references import training_of
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.store import set_tags
from pipeline.tracking.ui import views
from pipeline.training.loading import load_model
from pipeline.training.loop import Training
from pipeline.training.sentences import ngram_name
from tests.labs import TINY, TINY_NAME

pytestmark = pytest.mark.usefixtures("plain_artifacts", "no_served_model")


def mlflow_run(run_id: str) -> Run:
    return MlflowClient().get_run(run_id)


def artifact_names(run_id: str, folder: str = "") -> set[str]:
    return {file.path for file in MlflowClient().list_artifacts(run_id, folder)}


def history(run_id: str, metric: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in MlflowClient().get_metric_history(run_id, metric)]


def test_a_training_like_another_has_its_shape_and_what_was_chosen_but_not_a_trials_length(trained):
    chosen, _ = options_like(trained.run_id, {})
    shape = {"cell": "lstm", "num_layers": 1, "hidden_size": 8, "implementation": "torch", "on_top_of": "nothing"}
    recipe = {"preset": "stream", "batch_size": 32, "sequence_length": 16, "precision": "fp32"}
    assert chosen == {**shape, **recipe, "epochs": 2}
    run = training_of(trained.run_id)
    model, config = resolve(chosen, *(run.configuration["text"][name] for name in ("train_chars", "symbols")))
    assert config_id(model, config, run.corpus_sha256) == run.tag("config_id")
    others = {"learning_rate": 0.01, "epochs": None, "cell": "lstm", "seed": 3}  # of which the last two say nothing
    options, tags = options_like(trained.run_id, others)
    assert options == {**chosen, **others}
    changed = "but learning rate 0.01 and epochs auto"
    assert tags == {"like": f"{TINY_NAME}, {changed}"}
    set_tags(trained.run_id, {"role": "trial", "study": "search-topics"})
    assert options_like(trained.run_id, {}) == ({**shape, **recipe}, {"like": "lstm-1x8 of search-topics"})


def test_a_training_records_all_that_its_page_should_show(trained):
    step = trained
    run = mlflow_run(step.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == TINY_NAME
    for metric in ("perplexity/train", "perplexity/val", "training/learning_rate", "training/gradient_norm"):
        assert [epoch for epoch, _ in history(step.run_id, metric)] == [1, 2]
    assert {
        "result/val_perplexity", "result/test_perplexity", "result/test_bits_per_char", "result/best_epoch",
        "result/ngram_val_perplexity", "result/ngram_test_perplexity", "result/mixture_val_perplexity",
        "result/mixture_test_perplexity", "size/parameters", "size/macs_per_char",
        "speed/train_seconds", "speed/chars_per_second",
    } <= set(run.data.metrics)  # fmt: skip
    assert {"cell", "hidden_size", "learning_rate", "seed", "preset", "corpus", "alphabet"} <= set(run.data.params)
    assert run.data.params["epochs"] == "2"
    assert run.data.params["device"] == "cpu"
    assert bare_tags(run.data.tags).get("corpus.sha256", "") == step.result["corpus_sha256"]
    assert run.data.tags["config_id"]
    said, text, *_ = run.data.tags["mlflow.note.content"].split("\n\n")
    assert said.startswith("**lstm-1x8** on **topics** has on test ")
    assert ngram_name(step.result) in said
    assert text.startswith(f"`tmlm sample {step.run_id[:8]} --temperature 0.7 --length ")
    assert "` writes “the assert" in text, "the first words of topics.txt"
    assert artifact_names(step.run_id) == {
        "checkpoints", "complexity.txt", "config.yaml", "costs.json", "environment.yaml", "plots", "result.json",
        "samples",
    }  # fmt: skip
    assert artifact_names(step.run_id, "checkpoints") == {"checkpoints/best.safetensors"}
    assert artifact_names(step.run_id, "plots") == {"plots/perplexity.png", "plots/gap.png"}
    assert artifact_names(step.run_id, "samples") == {"samples/epoch-0001.md", "samples/final.json", "samples/final.md"}
    assert run.inputs is not None
    assert {each.dataset.name for each in run.inputs.dataset_inputs} == {"topics/train", "topics/val", "topics/test"}


def test_the_configuration_artifact_makes_the_same_configuration_again(trained, small_text):
    step = trained
    kept = yaml.safe_load(artifacts.read_text(step.run_id, "config.yaml"))
    model, config = resolve(TINY)
    assert resolve({**kept["model"], **kept["train"]}) == (model, config)
    assert CorpusConfig(**kept["corpus"]) == CorpusConfig(str(small_text), "letters")


def test_a_training_that_diverges_fails_with_the_reason_and_keeps_its_best_checkpoint(store, corpus, monkeypatch):
    monkeypatch.setattr(Training, "learning_rate_at", lambda self, step: 0.01 if step < 20 else 1e6)
    with pytest.raises(TrainingDivergedError, match=r"lower --learning-rate.*the checkpoint of epoch 1 is kept"):
        train(corpus, *resolve(TINY))
    (run,) = MlflowClient().search_runs(["0"])
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"].startswith("TrainingDivergedError: ")
    assert [epoch for epoch, _ in history(run.info.run_id, "perplexity/val")] == [1]
    (best,) = (path for path in artifact_names(run.info.run_id, "checkpoints") if "best" in path)
    assert load_model(artifacts.artifact_path(run.info.run_id, best))[2]["epoch"] == 1


def test_nothing_holds_network_and_optimizer_once_the_model_is_logged(store, corpus, monkeypatch):
    trainings: WeakSet[Training] = WeakSet()
    frames: list[FrameType] = []
    monkeypatch.setattr(Recorder, "before_checkpoint", lambda recorder, training: trainings.add(training))
    # as MLflow 3.17 does: an error of SQLAlchemy that it catches is in a cycle with its frames
    monkeypatch.setattr(TrackedRun, "model", lambda *arguments: frames.append(sys._getframe()))
    gc.disable()
    try:
        train(corpus, *resolve({**TINY, "epochs": 1}))
    finally:
        gc.enable()
    assert frames
    assert not trainings


def test_no_secret_of_a_texts_address_is_recorded(store, small_text, monkeypatch):
    """Neither its user nor its signature, in no tag, parameter, note, configuration or checkpoint."""
    address = "https://user:pa55@host/topics.txt?X-Amz-Signature=pa55"
    kept = downloads.kept_file(address)
    kept.parent.mkdir(parents=True)
    shutil.copy(small_text, kept)
    corpus = load_corpus(CorpusConfig(address))

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    prepare(corpus, "stream")
    monkeypatch.setattr(Recorder, "before_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, ModelConfig("lstm", 1, 4), TrainConfig(epochs=2))
    runs = MlflowClient().search_runs(["0"])
    assert {run.data.params["corpus"] for run in runs} == {"https://host/topics.txt"}
    assert "pa55" not in json.dumps([run.to_dictionary() for run in runs])
    files = [path.read_bytes() for path in (store / "mlruns" / "0").rglob("*") if path.is_file()]
    assert len(files) > 3, "config.yaml and checkpoints among them"
    assert not any(b"pa55" in content for content in files)


@pytest.mark.parametrize(
    ("epochs", "said"), [(0, "The first epoch has not ended"), (1, "The epochs trained so far are kept")]
)
def test_a_stopped_training_says_that_epochs_are_kept_only_if_some_are(
    store, corpus, monkeypatch, caplog, epochs, said
):
    def stop(recorder: Recorder, training: Training, *point: object) -> None:
        if len(training.history) == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "on_step", stop)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, ModelConfig("lstm", 1, 4), TrainConfig(epochs=2))
    assert any(message.startswith(f"{said}. Resume with: ") for message in caplog.messages)


def test_the_view_of_its_text_shows_a_training_while_it_runs_and_no_longer_when_it_was_stopped(
    store, corpus, monkeypatch
):
    shown = list[str]()

    def look_and_stop(recorder: Recorder, training: Training) -> None:
        shown.extend(run.id for run in queries.search_runs(view.query))
        raise KeyboardInterrupt

    view = views.models(corpus.label, corpus.corpus_sha256)
    monkeypatch.setattr(Recorder, "before_checkpoint", look_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, ModelConfig("lstm", 1, 4), TrainConfig(epochs=2))
    assert len(shown) == 1
    assert list(queries.search_runs(view.query)) == []


def test_the_logged_model_is_named_by_its_shape_and_ranked_by_its_own_metrics(trained):
    experiment = mlflow_run(trained.run_id).info.experiment_id
    order = [{"field_name": "metrics.result/val_perplexity", "dataset_name": "topics/val"}]
    (model,) = MlflowClient().search_logged_models([experiment], order_by=order)
    assert model.name == "lstm-1x8"
    assert model.params["hidden_size"] == "8"
    assert model.tags["corpus"] == "topics"
    metrics, inputs = model.metrics, mlflow_run(trained.run_id).inputs
    assert metrics is not None
    assert inputs is not None
    figures = {metric.key: metric.value for metric in metrics}
    assert figures["result/val_perplexity"] == pytest.approx(trained.result["val_perplexity"], rel=1e-5)
    assert figures["size/macs_per_char"] == trained.result["macs_per_char"]
    datasets = {metric.key: metric.dataset_name for metric in metrics}
    assert datasets["result/test_perplexity"] == "topics/test"
    assert datasets["size/macs_per_char"] is None
    digests = {data.dataset.name: data.dataset.digest for data in inputs.dataset_inputs}
    assert {m.dataset_digest for m in metrics if m.dataset_name == "topics/val"} == {digests["topics/val"]}
