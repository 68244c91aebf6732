"""``evaluate``: perplexity of a trained model on a split or on another text, and which texts it may open."""

import math
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.config import CorpusConfig, resolve
from pipeline.errors import InputError
from pipeline.stages.evaluate import evaluate
from pipeline.stages.train import train
from pipeline.text.corpus import load_corpus
from pipeline.training import adaptive
from pipeline.training.checkpoints import load_checkpoint, save_checkpoint
from tests.labs import TINY

pytestmark = pytest.mark.usefixtures("plain_artifacts")


def test_evaluating_a_split_gives_what_training_reported(trained):
    for split in ("val", "test"):
        result = evaluate(trained.run_id, split).result
        assert result["perplexity"] == pytest.approx(trained.result[f"{split}_perplexity"], rel=1e-6)
        assert result["ngram_perplexity"] == pytest.approx(trained.result[f"ngram_{split}_perplexity"], rel=1e-6)
        assert result["ngram_order"] == trained.result["ngram_order"]
        assert result["mixture_perplexity"] == pytest.approx(trained.result[f"mixture_{split}_perplexity"], rel=1e-6)
        assert result["bits_per_char"] == pytest.approx(math.log2(result["perplexity"]))


def test_evaluating_the_text_of_the_training_is_said(trained, small_text, tmp_path):
    (tmp_path / "copy.txt").write_text(small_text.read_text().replace("\n", "\r\n"))
    (tmp_path / "other.txt").write_text(small_text.read_text()[:2000])
    for name, is_own in (("copy.txt", True), ("other.txt", False)):
        step = evaluate(trained.run_id, text=str(tmp_path / name))
        assert step.result["is_training_text"] is is_own
        said = MlflowClient().get_run(step.run_id).data.tags["mlflow.note.content"]
        assert ("It is the text of the training" in said) == is_own


def test_a_training_on_a_part_of_the_text_is_compared_with_the_ngrams_of_that_part(trained, corpus, no_served_model):
    part = train(corpus, *resolve({**TINY, "train_chars": 5000, "epochs": 1})).result
    assert "lstm-1x8-s0-epochs-1-last-5000-batch-" in MlflowClient().get_run(part["run_id"]).info.run_name
    assert part["ngram_test_perplexity"] > trained.result["ngram_test_perplexity"]
    evaluated = evaluate(part["run_id"]).result
    assert evaluated["ngram_perplexity"] == pytest.approx(part["ngram_test_perplexity"], rel=1e-6)


def test_an_adaptive_evaluation_has_both_figures_and_records_them(trained, small_text, tmp_path, monkeypatch):
    monkeypatch.setattr(adaptive, "SCALE_STEPS", 20)
    monkeypatch.setattr(adaptive, "FITTED_CHARS", 300)
    (tmp_path / "part.txt").write_text(2 * small_text.read_text(encoding="utf-8")[-480:], encoding="utf-8")
    evaluated = evaluate(trained.run_id, text=str(tmp_path / "part.txt"), adapt=True)
    result, metrics = evaluated.result, MlflowClient().get_run(evaluated.run_id).data.metrics
    assert result["adaptive_perplexity"] < min(result["perplexity"], result["mixture_perplexity"])
    assert result["adaptive_bits_per_char"] == pytest.approx(math.log2(result["adaptive_perplexity"]))
    assert result["refits"] == 1
    for name in ("adaptive_perplexity", "adaptive_bits_per_char", "adaptive_ms_per_char", "refits"):
        assert metrics[f"evaluation/{name}"] == pytest.approx(result[name], rel=1e-4)


def test_any_other_text_can_be_evaluated_and_unknown_characters_are_counted(
    store, small_text, tmp_path, no_served_model
):
    text = tmp_path / "topics.txt"
    text.write_text(small_text.read_text(encoding="utf-8")[:6000], encoding="utf-8")
    config = CorpusConfig(str(text), "raw")
    step = train(load_corpus(config), *resolve({**TINY, "epochs": 1}))
    other = tmp_path / "other.txt"
    other.write_text("a statement of the \U0001f40d language", encoding="utf-8-sig")
    evaluated = evaluate(step.run_id, text=str(other))
    assert MlflowClient().get_run(evaluated.run_id).data.tags["corpus"] == "topics-raw", "as its training"
    result = evaluated.result
    assert result["unknown_characters"] == 1
    assert result["perplexity"] > 1
    assert result["ngram_perplexity"] > 1


def test_what_is_no_text_is_not_evaluated(trained, tmp_path):
    text = tmp_path / "bad.txt"
    with pytest.raises(InputError, match=r"bad.* there is no file"):
        evaluate(trained.run_id, text=str(text))
    for content, reason in ((b"\xff", "is not UTF-8 text"), (b"a\0", "has NUL bytes"), (b"", "has 0 characters")):
        text.write_bytes(5000 * content)
        with pytest.raises(InputError, match=f"bad.* {reason}"):
            evaluate(trained.run_id, text=str(text))


def test_a_checkpoint_of_our_own_run_is_evaluated_on_the_runs_text_by_its_path_too(trained):
    by_run, by_path = evaluate(trained.run_id), evaluate(trained.result["checkpoint"])
    assert by_path.result["perplexity"] == by_run.result["perplexity"]
    assert "mixture_perplexity" not in by_path.result, "which mixture its training has chosen is in its run"


@pytest.mark.parametrize("changed", [{"source": "https://host/page.txt"}, {"corpus_sha256": "0" * 64}])
def test_the_text_that_a_foreign_checkpoint_names_is_not_opened(trained, tmp_path, small_text, monkeypatch, changed):
    tensors, facts = load_checkpoint(Path(trained.result["checkpoint"]))
    foreign = tmp_path / "foreign.safetensors"
    save_checkpoint(foreign, tensors, {**facts, "corpus": {**facts["corpus"], **changed}})
    opened: list[CorpusConfig] = []
    monkeypatch.setattr("pipeline.tracking.text_identity.load_corpus", opened.append)
    with pytest.raises(InputError, match=r"trained on [\w-]+, which is not a known text, .* with --text FILE"):
        evaluate(str(foreign))
    with pytest.raises(InputError, match=r"not a known text, .* leave out --adapt"):
        evaluate(str(foreign), text=str(small_text), adapt=True)
    result = evaluate(str(foreign), text=str(small_text)).result
    assert math.isfinite(result["perplexity"])
    assert "ngram_perplexity" not in result, "its baseline would be fitted on that text"
    assert opened == []


def test_a_foreign_checkpoint_of_a_text_that_is_known_by_name_is_evaluated_on_that(trained, tmp_path):
    tensors, facts = load_checkpoint(Path(trained.result["checkpoint"]))
    save_checkpoint(tmp_path / "foreign", tensors, {**facts, "corpus": {**facts["corpus"], "name": "python-docs"}})
    with pytest.raises(InputError, match="the text python-docs is not the one that was trained on"):
        evaluate(str(tmp_path / "foreign"))
