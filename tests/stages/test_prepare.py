"""``prepare``: the text's record, and the sample of a long text that all stages fit their baseline on."""

import pytest
from mlflow.tracking import MlflowClient

from models.ngram import BASELINE_ORDERS
from pipeline.config import CorpusConfig, resolve
from pipeline.stages.evaluate import evaluate
from pipeline.stages.prepare import prepare
from pipeline.stages.train import train
from pipeline.text import corpus as corpus_module
from pipeline.text.corpus import load_corpus
from pipeline.text.ngrams import fitted_ngrams
from pipeline.training.summary import baseline_table
from tests.labs import TINY

pytestmark = pytest.mark.usefixtures("plain_artifacts", "no_served_model")


def test_the_baseline_of_a_long_text_is_fitted_on_one_sample_everywhere_and_says_so(store, small_text, monkeypatch):
    monkeypatch.setattr(corpus_module, "PASS_CHARS", 5_000)
    monkeypatch.setattr(corpus_module, "HELD_OUT_CHARS", 300)
    monkeypatch.setattr(corpus_module, "BASELINE_CHARS", 2000)
    monkeypatch.setattr(corpus_module, "BASELINE_BLOCK", 200)
    fitted_ngrams.cache_clear()  # that of the whole text may be there already
    config = CorpusConfig(str(small_text), "letters")
    corpus = load_corpus(config)
    step = prepare(corpus, "stream")
    prepared = MlflowClient().get_run(step.run_id)
    assert step.result["baseline_characters"] == 2000
    assert (step.result["val_characters"], step.result["test_characters"]) == (300, 300)
    assert prepared.data.metrics["corpus/baseline_characters"] == 2000
    assert prepared.data.metrics["baseline/ngram_order"] == step.result["ngram_order"]
    assert [row["order"] for row in step.result["ngrams"]] == [*BASELINE_ORDERS]
    at_the_end = baseline_table({**step.result, "single_ngram_order": 16})
    assert "Warning: the best single order is 16, the last that was tried" in at_the_end
    seen = f"fitted on 2,000 of {step.result['train_characters']:,} training characters"
    assert seen in prepared.data.tags["mlflow.note.content"]
    trained = train(corpus, *resolve({**TINY, "epochs": 1}))
    note = MlflowClient().get_run(trained.run_id).data.tags["mlflow.note.content"]
    assert seen in note
    assert "Each epoch is a pass over 10,000,000 of these; validation and test read 100,000 characters each." in note
    judged = evaluate(trained.run_id).result
    assert judged["ngram_order"] == trained.result["ngram_order"] == step.result["ngram_order"]
    assert judged["ngram_perplexity"] == pytest.approx(step.result["ngram_test_perplexity"], rel=1e-9)
    assert judged["characters"] == 299
