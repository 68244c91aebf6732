"""The models that a page runs, as JSON: weights of 8 or 16 bits, and pruned n-grams.

``templates/model.js`` decodes and steps them. What a page can't run is left out, with a sentence that says why.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.gated_ngrams import LONGEST, NGramModel, NGramTables
from models.language_model import LanguageModel
from models.mixture import Mixture, best_mixture
from models.ngram import ngrams_of
from models.on_top_of_ngram import NgramLanguageModel
from models.packing import coded, decoded, in_bytes
from models.pruning import pruned
from pipeline.config import PresetName
from pipeline.errors import DataUnavailableError, InputError
from pipeline.export.subject import Subject
from pipeline.support.files import BEST_CHECKPOINT
from pipeline.text.corpus import Corpus
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.tracking.recorded import RecordedTraining, artifact_path
from pipeline.tracking.step import same_text
from pipeline.training.evaluation import perplexity, text_costs
from pipeline.training.experiment import SMALL_CHANGE
from pipeline.training.loading import load_model
from pipeline.training.mixing import costs_with_ngram

STEPPED = ("rnn", "gru", "lstm")  # the cells that model.js steps
MODEL_BYTES = {"training": 1_200_000, "study": 2_600_000}  # of a page's 1.5 and 3 MB; the rest are charts and words
TYPES = {"uint8": "u8", "uint16": "u16", "int8": "i8", "int32": "i32", "float16": "f16", "float32": "f32"}
LAYER_WEIGHTS = {  # by the names of torch.nn and of models/recurrent.py
    "weight_ih": "input", "weight_hh": "state", "bias_ih": "input_bias", "bias_hh": "state_bias",
    "from_input.weight": "input", "from_state.weight": "state",
    "from_input.bias": "input_bias", "from_state.bias": "state_bias",
}  # fmt: skip
CONTAINS_ITS_TEXT = (
    "N-grams, and networks on top of them, are left out: such a table nearly contains its text, which may not be free "
    "to copy (tmlm export --with-ngrams includes them)."
)
UNREADABLE = "The text can't be read any more: there is no counting model, and no perplexity of the rounded weights."

Entry = dict[str, Any]


@dataclass(frozen=True)
class PageModels:
    """What a page runs: networks, the cheapest first, and the counting model if there is one.

    ``tables`` are the n-grams of networks on top of them, which name them by index. ``remarks`` say what is left out.
    """

    symbols: tuple[str, ...]
    alphabet: str
    models: list[Entry]
    counting: Entry | None
    tables: list[Entry]
    remarks: list[str]

    def json(self) -> str:
        """All of it, for a script element of type application/json."""
        return json.dumps(asdict(self), ensure_ascii=False).replace("<", "\\u003c")


def most_ngrams(vocab_size: int) -> int:
    """The most n-grams of a table, at most 300 kB of those of one order in base64."""
    return 64_000 if vocab_size < 256 else 40_000


class _Text:
    """The text of the trainings: the ids that models are scored on, and what counts it."""

    def __init__(self, corpus: Corpus, preset: PresetName, order: int) -> None:
        self.fitted_on, self.symbols, self.order = corpus.baseline_text(preset), len(corpus.vocabulary), order
        self.val, self.test = (torch.from_numpy(corpus.split(preset, split)) for split in ("val", "test"))

    @cached_property
    def counting(self) -> tuple[Entry, NGramModel]:
        """The pruned n-grams of one order, and as they predict in the page."""
        ngrams = list(ngrams_of(self.fitted_on, self.symbols, self.order))
        arrays = coded(NGramTables(pruned(ngrams, self.symbols, most_ngrams(self.symbols))), is_single=True)
        model, total = NGramModel(decoded(arrays, self.symbols), None), sum(len(each.keys) for each in ngrams)
        label = f"1- to {self.order}-grams, {model.entries:,} of {total:,}"
        return {"tables": _arrays(arrays), "entries": model.entries, "label": label}, model

    @cached_property
    def tables(self) -> NGramTables:
        """The pruned n-grams of all orders, for networks on top of them."""
        ngrams = ngrams_of(self.fitted_on, self.symbols, LONGEST)
        return NGramTables(pruned(ngrams, self.symbols, most_ngrams(self.symbols)))


@torch.random.fork_rng(devices=[])  # initial weights would advance the caller's generator
def page_models(subject: Subject, with_ngrams: bool = False) -> PageModels:
    """The models of a training, or of a study's picks.

    ``with_ngrams`` includes n-grams of a text that is none of KNOWN_TEXTS. Raises InputError for a checkpoint that is
    missing or damaged.
    """
    by_id = {training.id: training for training in subject.trainings}
    picks: dict[str, list[str]] = {subject.trainings[0].id: []} if subject.kind == "training" else {}
    for name, pick in subject.picks.items():
        picks.setdefault(pick["run_id"], []).append(name)
    chosen = sorted((by_id[run_id] for run_id in picks), key=lambda each: int(each.result["macs_per_char"]))
    loaded = {each.id: load_model(artifact_path(each.id, f"checkpoints/{BEST_CHECKPOINT}")) for each in chosen}
    vocabulary = loaded[chosen[0].id][1]

    text, can_count = _text_of(chosen[0]), with_ngrams or chosen[0].configuration["text"]["name"] in KNOWN_TEXTS
    remarks = [remark for remark, is_so in ((CONTAINS_ITS_TEXT, not can_count), (UNREADABLE, text is None)) if is_so]
    counting = text.counting[0] if text and can_count else None
    page = PageModels(vocabulary.symbols, vocabulary.alphabet, [], counting, [], remarks)
    for training in chosen:
        left = MODEL_BYTES[subject.kind] - len(page.json())
        try:
            _add(page, training, picks[training.id], loaded[training.id][0], text, can_count, left)
        except _LeftOutError as error:
            remarks.append(f"{training.name} is left out: {error}.")
    return page


class _LeftOutError(Exception):
    """Why a model is not in the page."""


def _text_of(training: RecordedTraining) -> _Text | None:
    """The text of a training; None if it can't be read any more."""
    text, config = training.configuration["text"], training.configuration
    try:
        corpus = same_text(text["name"], text["source"], config["corpus"]["alphabet"], training.corpus_sha256)
    except (InputError, DataUnavailableError):
        return None
    order = training.result["single_ngram_order"]
    return _Text(corpus.limited(config["train"]["train_chars"]), config["train"]["preset"], order)


def _add(
    page: PageModels,
    training: RecordedTraining,
    picks: list[str],
    model: LanguageModel,
    text: _Text | None,
    can_count: bool,
    most_bytes: int,
) -> None:
    """Add a model to the page. Raises _LeftOutError for one that the page can't run."""
    config, tables, on_top = model.config, None, ""
    if config.cell not in STEPPED:
        raise _LeftOutError(f"the page has no script for the cell {config.cell}")
    if isinstance(model, NgramLanguageModel):
        if not can_count:
            raise _LeftOutError("it is on top of n-grams")
        if model.tables.entries > most_ngrams(model.vocab_size):
            if text is None:
                raise _LeftOutError("its n-grams are too many, and their text can't be read any more")
            model.tables = text.tables
        arrays = coded(model.tables)
        model.tables, tables = decoded(arrays, model.vocab_size), _arrays(arrays)
        on_top = f" on {model.tables.entries:,} n-grams"

    bits, (weights, again) = 8, _rounded(model, 8)
    if text is None or abs(_nats(again, text.val) - _nats(model, text.val)) >= SMALL_CHANGE:
        wide = _rounded(model, 16)
        if _size(wide[0], tables) <= most_bytes:
            bits, (weights, again) = 16, wide
    if _size(weights, tables) > most_bytes:
        raise _LeftOutError(f"its {training.result['parameters']:,} weights are too many")
    if tables is not None and tables not in page.tables:
        page.tables.append(tables)

    result = training.result
    page.models.append(
        {
            "name": training.name,
            "picks": picks,
            "label": f"{config.cell.upper()} {config.num_layers}x{config.hidden_size}{on_top}",
            "cell": config.cell,
            "layers": config.num_layers,
            "hidden_size": config.hidden_size,
            "residual": config.residual,
            "book": config.equations == "book",
            "bits": bits,
            "weights": weights,
            "tables": None if tables is None else page.tables.index(tables),
            **{name: result[name] for name in ("macs_per_char", "parameters", "test_perplexity")},
            "val_perplexity": result["val_perplexity_pooled"],
            **_measured(again, text, can_count),
        }
    )


def _measured(model: LanguageModel, text: _Text | None, can_count: bool) -> Entry:
    """Perplexities as the page predicts: of the network, and mixed with the counting model as is best on validation."""
    found: Entry = {"packed_val_perplexity": None, "packed_test_perplexity": None, "both": None}
    if text is None:
        return found
    splits, nats = {"val": text.val, "test": text.test}, {}
    for split, ids in splits.items():
        if can_count:
            costs, nats[split] = costs_with_ngram(model, text.counting[1], ids)
        else:
            costs = text_costs(model, ids)
        found[f"packed_{split}_perplexity"] = perplexity(float(costs.mean()))
    if nats:
        mixture = best_mixture(nats["val"])
        counting, counted = text.counting[0], Mixture(mixture.kind, 0.0)
        found["both"] = {"kind": mixture.kind, "weight": mixture.weight}
        for split, total in nats.items():
            each = len(splits[split]) - 1
            found["both"][f"{split}_perplexity"] = perplexity(float(mixture.of(total)) / each)
            counting[f"{split}_perplexity"] = perplexity(float(counted.of(total)) / each)
    return found


def _nats(model: LanguageModel, ids: Tensor) -> float:
    return float(text_costs(model, ids).mean())


def _size(*parts: Any) -> int:
    return sum(len(json.dumps(part)) for part in parts)


@torch.no_grad()
def _rounded(model: LanguageModel, bits: int) -> tuple[Entry, LanguageModel]:
    """The weights in bytes with a scale for each row, or as 16-bit floats; and the model that has them."""
    again, learned = deepcopy(model), dict(model.named_parameters())
    arrays: Entry = {}
    for name, values in again.state_dict().items():
        short = _short(name)
        if name not in learned:
            arrays[short] = _array(values.numpy())
        elif bits == 16:
            arrays[short] = _array(values.half().numpy())
            values.copy_(values.half())
        else:
            largest, rows = in_bytes(values)
            arrays[short] = {**_array(rows), "scale": _array(largest)}
            values.copy_(torch.from_numpy(rows * (largest / 127)).view_as(values))
    return arrays, again


def _short(name: str) -> str:
    """The name of a weight in the page: that of a layer's begins with its index."""
    if not name.startswith("core."):
        return name
    layer = re.search(r"layers\.(\d+)|_l(\d+)$", name)
    assert layer
    (kind,) = (kind for long, kind in LAYER_WEIGHTS.items() if long in name)
    return f"{layer[1] or layer[2]}.{kind}"


def _arrays(arrays: Mapping[str, NDArray[Any]]) -> Entry:
    return {name: _array(values) for name, values in arrays.items()}


def _array(values: NDArray[Any]) -> Entry:
    values = values.astype(np.int32) if values.dtype == np.int64 else values
    return {"type": TYPES[values.dtype.name], "data": b64encode(values.tobytes()).decode()}
