"""The card of an exported model: its code computes what the model does, and its metadata are what the hub reads."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from models.config import ModelConfig
from models.language_model import LanguageModel
from pipeline.pages.card import card
from pipeline.pages.model_files import CARD, CONFIG, VOCABULARY, WEIGHTS
from pipeline.text.vocabulary import LETTERS, Vocabulary
from pipeline.training.checkpoints import flatten, save_checkpoint
from tests.pages.made_up import training

LETTERS_ONLY = Vocabulary("letters", LETTERS)
VARIANTS: list[dict[str, Any]] = [
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "gru", "num_layers": 3, "residual": True},
    {"cell": "rnn", "num_layers": 2, "implementation": "scratch"},
    {"cell": "rnn", "num_layers": 2, "embedding_size": 5},
]


def build(**options: Any) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(ModelConfig(**{"hidden_size": 6, **options}), len(LETTERS)).eval()


def code_in(text: str) -> list[str]:
    """The Python of a card: without this project, if there is such code, and with it."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names that the card's code makes, run in its folder."""
    names: dict[str, Any] = {}
    monkeypatch.chdir(folder)
    exec(code_in(Path(CARD).read_text())[0], names)
    return names


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_its_code_gives_the_logits_of_the_model(tmp_path, monkeypatch, variant):
    model = build(**variant)
    save_checkpoint(tmp_path / WEIGHTS, flatten("model", model.state_dict()), {})
    (tmp_path / CONFIG).write_text(json.dumps({"model": asdict(model.config)}))
    (tmp_path / VOCABULARY).write_text(json.dumps(LETTERS))
    (tmp_path / CARD).write_text(card(training(), model.config, LETTERS_ONLY, ""))
    names = loaded(tmp_path, monkeypatch)
    ids = torch.randint(len(LETTERS), (50,))
    torch.testing.assert_close(names["predict"](ids)[0], model(ids[None])[0][0])
    assert len(names["text"]) > 200


def test_a_model_that_torch_has_no_layers_for_is_loaded_by_this_project_only():
    by_the_book = ModelConfig(equations="book", implementation="scratch")
    for config in (by_the_book, replace(by_the_book, equations="torch", on_top_of="ngram")):
        text = card(training(), config, LETTERS_ONLY, "")
        (code,) = code_in(text)
        assert "import tmlm" in code
        assert ("it is on top of n-grams" in text) == (config is not by_the_book)


def test_it_has_the_licence_of_a_known_text_the_perplexities_and_what_was_trained_on():
    known, other = training(), training(corpus="mine\n- [x]: y")
    other.configuration["text"]["name"] = other.corpus
    other.configuration["train"]["preset"] = "report"
    front, of_other = (
        yaml.safe_load(card(each, build().config, LETTERS_ONLY, "").split("---\n")[1]) for each in (known, other)
    )
    (entry,) = front["model-index"]
    assert entry["results"][0]["metrics"][0]["value"] == pytest.approx(known.result["test_perplexity"])
    assert (front["license"], front["language"], of_other["license"]) == ("mit", ["en"], "unknown")
    assert of_other["datasets"] == [other.corpus]
    assert "language" not in of_other
    assert "10,032 characters to train on" in card(other, build().config, LETTERS_ONLY, "")
