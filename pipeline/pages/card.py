"""The README.md of an exported model: a model card as Hugging Face reads it, with code that loads the model."""

import json
import re
from pathlib import Path

import yaml
from jinja2 import StrictUndefined, Template

from models.cells import CELLS
from models.config import ModelConfig
from pipeline.support.markdown import plain
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.text.vocabulary import Vocabulary
from pipeline.tracking.recorded import RecordedTraining
from pipeline.training.samples import prompts_for
from pipeline.training.sentences import model_facts

TEMPLATE = Path(__file__).with_name("templates") / "card.md.jinja"
# what ``read_card`` finds: the commit, values of the metadata, and rows of the table, those of the n-grams first
COMMIT = re.compile(r"\*\*Code:\*\* commit ([0-9a-f]{7,64})(, changed since)? of time-machine-lm")
METRIC = re.compile(r"name: (test|validation) perplexity per character\n +value: (\d{1,9}\.\d{1,9})\n")
ROW = re.compile(r"^\| [^|\n]+ \| (\d{1,9}\.\d{3}) \| (\d{1,9}\.\d{3}) \| ", re.M)


def card(training: RecordedTraining, config: ModelConfig, vocabulary: Vocabulary, sentence: str) -> str:
    """The card of a training's model; ``sentence`` says why a study has picked it, "" if it has not."""
    text = training.configuration["text"]["name"]
    perplexities = [
        {"type": "perplexity", "name": f"{name} perplexity per character", "value": round(training.result[key], 4)}
        for name, key in (("test", "test_perplexity"), ("validation", "val_perplexity"))
    ]
    task = {"type": "text-generation", "name": "character-level language modelling"}
    result = {"task": task, "dataset": {"type": text, "name": training.corpus}, "metrics": perplexities}
    front = {
        **({**KNOWN_TEXTS[text].licence_fields, "language": ["en"]} if text in KNOWN_TEXTS else {"license": "unknown"}),
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
        names=tensor_names(config),
        is_on_top=config.on_top_of != "nothing",
        prompt=json.dumps(prompts_for(vocabulary)[0], ensure_ascii=False),
    )
    return rendered


def read_card(text: str) -> tuple[str, dict[str, list[float]]]:
    """The commit that a card names, and its perplexities by name: each in its metadata, and in its table."""
    commit, rows = COMMIT.search(text), ROW.findall(text)
    code = commit[1][:8] + " (changed since)" * bool(commit[2]) if commit else "unknown"
    written = [(f"{name.replace('validation', 'val')}_perplexity", value) for name, value in METRIC.findall(text)]
    for prefix, row in zip(("ngram_", ""), rows, strict=False):
        written += zip((f"{prefix}val_perplexity", f"{prefix}test_perplexity"), row, strict=True)
    figures: dict[str, list[float]] = {"val_perplexity": [], "test_perplexity": [], "ngram_test_perplexity": []}
    return code, {name: [float(value) for each, value in written if each == name] for name in figures}


def tensor_names(config: ModelConfig) -> list[str]:
    """Names of a layer's tensors in torch.nn's order, with {} for its number; [] if torch.nn has no such layer."""
    if config.on_top_of != "nothing" or config.equations != "torch" or not CELLS[config.cell].torch_layer:
        return []
    if not config.by_torch:
        ours = ("from_input.weight", "from_state.weight", "from_input.bias", "from_state.bias")
        return [f"core.layers.{{}}.{name}" for name in ours]
    place = "core.layers.{{}}.{}_l0" if config.residual else "core.{}_l{{}}"
    return [place.format(name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
