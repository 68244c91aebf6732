"""The models of a page: what is packed and what is left out. That the script predicts as torch does is in browser/."""

import json
import re
from base64 import b64decode

import numpy as np
import pytest
import torch

from models.config import ModelConfig
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.ngram import KneserNey, ngrams_of, page_label
from models.on_top_of_ngram import language_model
from models.packing import rounded
from pipeline.errors import InputError
from pipeline.pages import page_models as module
from pipeline.pages.page_models import (
    CONTAINS_ITS_TEXT,
    UNREADABLE,
    LeftOutError,
    PageModels,
    page_model,
    page_models,
    weight_arrays,
)
from pipeline.pages.subject import subject_of
from pipeline.tracking.artifacts import read_samples
from pipeline.training.sentences import ngram_name
from tests.models.made_up import VOCAB, a_text


def models_of_latest(with_ngrams: bool = False) -> PageModels:
    return page_models(subject_of("latest"), with_ngrams)


@pytest.mark.parametrize("bits", [6, 11])
def test_weights_are_whole_numbers_of_their_rows_step(bits):
    model = LanguageModel(ModelConfig("gru", 2, 8, implementation="scratch", residual=True, embedding_size=3), VOCAB)
    arrays, again = weight_arrays(model, bits), rounded(model, bits)
    decoded = {
        name: np.frombuffer(b64decode(array["data"]), array["type"]).reshape(len(steps), -1) * steps[:, None]
        for name, array in arrays.items()
        if len(steps := np.frombuffer(b64decode(array["steps"]["data"]), np.float32))
    }
    for name, ours in (("1.state", "core.layers.1.from_state.weight"), ("output.bias", "output.bias")):
        values = again.get_parameter(ours)
        np.testing.assert_array_equal(decoded[name].reshape(values.shape), values.detach())
    assert len(decoded) == len(list(model.parameters()))


def test_a_page_has_the_network_and_only_if_asked_what_nearly_contains_the_text(trained, caplog):
    before = torch.get_rng_state()
    page = models_of_latest()
    (network,) = page.models
    assert torch.equal(torch.get_rng_state(), before)
    assert (page.counting, page.remarks, network["both"]) == (None, [CONTAINS_ITS_TEXT], None)
    assert (page.is_held_out, page.passages, page.tiles) == (False, [], [])
    assert "word for word" not in caplog.text
    assert page.opening == read_samples(trained.run_id)[0]["prompt"]
    packed, whole = network["packed_test_perplexity"], network["test_perplexity"]
    assert packed == pytest.approx(whole, rel=0.01)  # by 0.001 on validation, by more on so short a test text
    again = models_of_latest(with_ngrams=True)
    (network,), counting = again.models, again.counting
    assert again.is_held_out
    assert re.fullmatch(r"\w.{199}", again.opening)
    assert again.passages
    shown = sum(map(len, [again.opening, *again.passages]))
    assert f"The page has {shown} characters of topics word for word" in caplog.text
    assert counting is not None
    assert network["compared"]["name"] == ngram_name(trained.result)
    assert network["compared"]["test_perplexity"] == trained.result["ngram_test_perplexity"]
    assert counting["label"].startswith(page_label(trained.result["single_ngram_order"]))
    assert counting["test_perplexity"] == pytest.approx(trained.result["single_ngram_test_perplexity"], rel=0.01)
    assert 0 < network["both"]["weight"] < 1
    assert "<" not in again.json()
    assert json.loads(again.json())["symbols"][1] == "<unk>"


def test_of_a_text_that_is_gone_a_page_has_the_network_alone(trained, monkeypatch):
    def gone(*_: str) -> None:
        raise InputError("it is gone")

    monkeypatch.setattr(module, "same_text", gone)
    page = models_of_latest(with_ngrams=True)
    assert (page.counting, page.remarks) == (None, [UNREADABLE])
    assert [(model["bits"], model["packed_test_perplexity"]) for model in page.models] == [
        (trained.result["weight_bits"], None)
    ]


def test_the_cells_that_a_page_steps_are_those_of_its_script():
    assert tuple(re.findall(r"^  (\w+): \{ gates: ", module.SCRIPTS[-1].read_text(), re.MULTILINE)) == module.STEPPED


@pytest.mark.parametrize(("name", "value"), [("STEPPED", ()), ("MODEL_BYTES", {"training": 100})])
def test_a_cell_without_a_script_and_a_large_model_are_left_out(trained, monkeypatch, name, value):
    monkeypatch.setattr(module, name, value)
    page = models_of_latest()
    assert page.models == []
    assert "is left out" in page.remarks[-1]


def test_a_network_on_top_of_few_ngrams_keeps_them_and_one_on_top_of_many_needs_its_text(monkeypatch):
    tables = NGramTables(KneserNey.of(ngrams_of(a_text(2000), VOCAB, LONGEST), VOCAB))
    model = language_model(ModelConfig(hidden_size=4, on_top_of="ngram"), VOCAB, NGramModel(tables, OrderGate(LONGEST)))
    ngrams, entry = page_model(model, None, may_count=True, most_bytes=10**6)
    assert ngrams is not None
    assert f"on {tables.entries:,} n-grams" in entry["label"]
    with pytest.raises(LeftOutError, match="on top of n-grams"):
        page_model(model, None, may_count=False, most_bytes=10**6)
    monkeypatch.setattr(module, "most_ngrams", lambda vocab_size: tables.entries - 1)
    with pytest.raises(LeftOutError, match="text can't be read"):
        page_model(model, None, may_count=True, most_bytes=10**6)
