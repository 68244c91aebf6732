"""What the default recipe is worth, on the exact text."""

import pytest

from pipeline.config import BUDGET_CHARS, CorpusConfig, resolve
from pipeline.text.corpus import load_corpus
from pipeline.training.experiment import Experiment


@pytest.mark.slow
def test_the_default_model_reaches_its_perplexity_on_the_time_machine(book, monkeypatch):
    """LSTM 1x192, preset stream, seed 0, on a quarter of the default's characters; no n-gram mixed in."""
    monkeypatch.setenv("TMLM_DATA_DIR", str(book.parent))
    corpus = load_corpus(CorpusConfig("time-machine"))
    result = Experiment(corpus, *resolve({"budget_chars": BUDGET_CHARS["stream"] // 4}, corpus.train_chars)).run()
    assert result.complexity.parameters == 175_900
    assert result.figures["val_perplexity"] <= 3.95
    assert result.figures["test_perplexity"] <= 4.05
