"""The README.md of an exported model: a model card as Hugging Face reads it, with code that loads the model."""

import json
from pathlib import Path

import yaml
from jinja2 import StrictUndefined, Template
from torch import nn

from models.cells import CELLS
from models.language_model import LanguageModel
from models.recurrent import Layer
from pipeline.support.markdown import plain
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.text.vocabulary import Vocabulary
from pipeline.tracking.recorded import RecordedTraining
from pipeline.training.samples import prompts_for
from pipeline.training.summary import model_facts

TEMPLATE = Path(__file__).with_name("templates") / "card.md.jinja"

LICENCE_FIELDS = {  # of a card's metadata, for a model of a known text; of any other text it is unknown
    "time-machine": {"license": "mit"},  # the project's, as the text is in the public domain
    "tiny-shakespeare": {"license": "mit"},
    "python-docs": {
        "license": "other",
        "license_name": "psf-2.0",
        "license_link": "https://docs.python.org/3/license.html",
    },
}


def card(training: RecordedTraining, model: LanguageModel, vocabulary: Vocabulary, sentence: str) -> str:
    """The card of a training's model; ``sentence`` says why a study has picked it, "" if it has not."""
    text, config = training.configuration["text"]["name"], model.config
    perplexities = [
        {"type": "perplexity", "name": f"{name} perplexity per character", "value": round(training.result[key], 4)}
        for name, key in (("test", "test_perplexity"), ("validation", "val_perplexity"))
    ]
    task = {"type": "text-generation", "name": "character-level language modelling"}
    result = {"task": task, "dataset": {"type": text, "name": training.corpus}, "metrics": perplexities}
    front = {
        **LICENCE_FIELDS.get(text, {"license": "unknown"}),
        **({"language": ["en"]} if text in KNOWN_TEXTS else {}),
        "tags": ["character-level", "recurrent-neural-network", config.cell],
        "datasets": [text],
        "metrics": ["perplexity"],
        "model-index": [{"name": training.name, "results": [result]}],
    }
    template = Template(TEMPLATE.read_text(), undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    rendered: str = template.render(
        front=yaml.safe_dump(front, allow_unicode=True, sort_keys=False),
        title=f"{config.shape} on {plain(training.corpus)}",
        sentence=plain(sentence),
        facts=model_facts(training.configuration, training.result),
        commit=training.tag("git.commit") + ", changed since" * (training.tag("git.dirty") == "true"),
        run=training.id,
        names=tensor_names(model),
        is_on_top=config.on_top_of != "nothing",
        prompt=json.dumps(prompts_for(vocabulary)[0], ensure_ascii=False),
    )
    return rendered


def tensor_names(model: LanguageModel) -> list[str]:
    """Names of a layer's tensors in torch.nn's order, with {} for its number; [] if torch.nn has no such layer."""
    config = model.config
    if config.on_top_of != "nothing" or config.equations != "torch" or not CELLS[config.cell].torch_layer:
        return []
    if isinstance(model.core, nn.RNNBase):
        return [f"core.{name}_l{{}}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    ours = ("from_input.weight", "from_state.weight", "from_input.bias", "from_state.bias")
    theirs = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    is_ours = any(isinstance(module, Layer) for module in model.core.modules())
    return [f"core.layers.{{}}.{name}" for name in (ours if is_ours else theirs)]
