"""The models that a page runs, as JSON: rounded weights, and pruned n-grams.

``templates/model.js`` decodes and steps them, and ``game.js`` lets a reader play against them. What a page can't run is
left out, with a sentence that says why.
"""

import json
import logging
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.gated_ngrams import LONGEST, NGramModel, NGramTables, OrderGate, one_thread
from models.language_model import LanguageModel
from models.mixture import best_mixture
from models.ngram import PAGE_NGRAMS, compared_label, ngrams_of, page_label
from models.on_top_of_ngram import NgramLanguageModel
from models.packing import coded, decoded, rounded, whole_numbers
from models.pruning import pruned
from pipeline.config import PresetName
from pipeline.errors import DataUnavailableError, InputError
from pipeline.pages.passages import SHORTEST, opening_and_passages, tiles_of
from pipeline.pages.subject import Subject
from pipeline.text.corpus import Corpus
from pipeline.text.ngrams import fitted_ngrams
from pipeline.text.sources import KNOWN_TEXTS
from pipeline.tracking import artifacts
from pipeline.tracking.queries import told_apart
from pipeline.tracking.recorded import RecordedTraining
from pipeline.tracking.text_identity import same_text
from pipeline.training.evaluation import perplexity, text_costs
from pipeline.training.experiment import weight_bits
from pipeline.training.loading import built_model
from pipeline.training.mixing import costs_with_ngram
from pipeline.training.sentences import ngram_name

log = logging.getLogger(__name__)

SCRIPTS = [Path(__file__).with_name("templates") / name for name in ("game.js", "model.js")]
STEPPED = ("rnn", "gru", "lstm")  # the cells that model.js steps
# of a page's 1.5 or 3 MB; the rest are charts and words
MODEL_BYTES = {"training": 1_200_000, "trainings": 2_600_000, "study": 2_600_000}
ALL_NGRAMS_BYTES = 10_000_000  # the most for n-grams of all orders, in a page that stays on this machine
WEIGHT_BYTES = 1.4  # of a byte of weights in base64, with its part of the step of its row
OF_TORCH = ("input", "state", "input_bias", "state_bias")  # the parameters of a layer, in the order of torch.nn
OF_SCRATCH = ("input", "input_bias", "state", "state_bias")  # and of models/recurrent.py, whose book has no last one
CONTAINS_ITS_TEXT = (
    "N-grams, networks on top of them, and passages to guess letters of are left out: they nearly contain the text, "
    "which may not be free to copy (tmlm export --with-ngrams includes them)."
)
NO_PASSAGES = f"The test text has no passage of {SHORTEST} characters to guess letters of."
UNREADABLE = "The text can't be read any more: there is no counting model, and no perplexity of the rounded weights."

Entry = dict[str, Any]


@dataclass(frozen=True)
class PageModels:
    """What a page runs: networks, the cheapest first, and the counting model if there is one."""

    symbols: tuple[str, ...] = ()
    alphabet: str = ""
    text: str = ""  # its name
    opening: str = ""  # the text that the page begins with
    is_held_out: bool = False  # the opening is of the test text; else it is a prompt
    passages: Sequence[str] = ()  # of the test text, to guess letters of
    tiles: Sequence[int] = ()  # ids of symbols to guess by touch
    counting: Entry | None = None
    remarks: list[str] = field(default_factory=list)  # what is left out
    models: list[Entry] = field(default_factory=list)
    tables: list[Entry] = field(default_factory=list)  # n-grams of networks on top of them, which name them by index

    def json(self) -> str:
        """All of it, for a script element of type application/json."""
        return json.dumps(asdict(self), ensure_ascii=False).replace("<", "\\u003c")


def most_ngrams(vocab_size: int) -> int:
    """The most n-grams of a table, at most 300 kB of those of one order in base64."""
    return 64_000 if vocab_size < 256 else 40_000


def may_show(text: str, with_ngrams: bool) -> bool:
    """Whether a page may have what contains a text of this name: its n-grams, its opening and passages."""
    return with_ngrams or text in KNOWN_TEXTS


class LeftOutError(Exception):
    """Why a model is not in the page."""


class _Text:
    """A text that can be read: the ids that models are scored on and, if ``may_count``, its n-grams.

    They are pruned, unless the page ``stays_here`` and has room for all of them.
    """

    def __init__(self, corpus: Corpus, preset: PresetName, order: int, may_count: bool, stays_here: bool) -> None:
        self.fitted_on, self.vocab_size = corpus.baseline_text(preset), len(corpus.vocabulary)
        tiles = tiles_of(corpus.vocabulary, self.fitted_on)
        self.shown = *opening_and_passages(corpus.vocabulary, corpus.split(preset, "test")), tiles
        self.val, self.test = (torch.from_numpy(corpus.split(preset, split)) for split in ("val", "test"))
        self.entry: Entry | None = None
        if may_count:
            all_orders = self._all_orders(fitted_ngrams(corpus, preset)) if stays_here else None
            self.entry = all_orders or self._pruned(order)

    def _all_orders(self, model: NGramModel) -> Entry | None:
        """The n-grams that the verdict compares networks with; None if they are too large."""
        arrays = coded(model.tables, is_single=model.gate is None)
        if sum(len(array["data"]) for array in arrays_of(arrays).values()) > ALL_NGRAMS_BYTES:
            return None
        name = compared_label(model.tables.order)
        label = f"{name} (in 8 bits), {model.tables.entries:,}"
        return self._counted(arrays, model.gate, name, label)

    def _pruned(self, order: int) -> Entry:
        ngrams = list(ngrams_of(self.fitted_on, self.vocab_size, order))
        tables = NGramTables(pruned(ngrams, self.vocab_size, most_ngrams(self.vocab_size)))
        total = sum(len(ngram.keys) for ngram in ngrams)
        label = f"{page_label(order)}, {tables.entries:,} of {total:,}"
        return self._counted(coded(tables, is_single=True), None, PAGE_NGRAMS, label)

    def _counted(self, arrays: Mapping[str, NDArray[Any]], gate: OrderGate | None, name: str, label: str) -> Entry:
        """The entry of n-grams, which are from now on ``counting``, as they predict in the page."""
        self.counting = NGramModel(decoded(arrays, self.vocab_size), gate)
        return {
            "tables": arrays_of(arrays),
            "gate": {key: array_of(values.numpy()) for key, values in gate.state_dict().items()} if gate else None,
            "name": name,
            "label": label,
            "test_perplexity": perplexity(float(self.counting.costs(self.test.numpy()).mean())),
        }

    @cached_property
    def tables(self) -> NGramTables:
        """The pruned n-grams of all orders, for networks on top of them."""
        ngrams = ngrams_of(self.fitted_on, self.vocab_size, LONGEST)
        return NGramTables(pruned(ngrams, self.vocab_size, most_ngrams(self.vocab_size)))

    def scores(self, model: LanguageModel) -> Entry:
        """The perplexity of a model alone, and its mixture with the counting model that is best on validation."""
        both = None
        if self.entry is not None:
            both = asdict(best_mixture(costs_with_ngram(model, self.counting, self.val)[2]))
        return {"packed_test_perplexity": perplexity(float(text_costs(model, self.test).mean())), "both": both}


@one_thread()
@torch.random.fork_rng(devices=[])  # initial weights would advance the caller's generator
def page_models(subject: Subject, with_ngrams: bool = False, stays_here: bool = False) -> PageModels:
    """The models of a training, of several, or of a study's picks; an experiment has none.

    Of several, the lowest validation perplexity gets in first. ``with_ngrams`` includes n-grams of a text that is none
    of KNOWN_TEXTS. A page that ``stays_here``, on this machine, has them too, and n-grams of all orders if they fit
    into ALL_NGRAMS_BYTES. Raises InputError for a checkpoint that is missing or damaged.
    """
    by_id, picks = {training.id: training for training in subject.trainings}, subject.chosen
    chosen = sorted((by_id[run_id] for run_id in subject.checkpoints), key=lambda run: int(run.result["macs_per_char"]))
    gone = [by_id[run_id].name for run_id in picks if run_id not in subject.checkpoints]
    if subject.models:  # first those that do not validate on the report's windows, which can't be compared with them
        chosen.sort(key=lambda run: (run.on_reports_text, run.result["val_perplexity"]))
    remarks = [f"The model of {name} is left out: its weights were deleted." for name in gone]
    for remark in remarks:
        log.warning("%s", remark)
    if not chosen:
        return PageModels(remarks=remarks)
    loaded = {run_id: built_model(*found) for run_id, found in subject.checkpoints.items()}
    vocabulary = loaded[chosen[0].id][1]

    name = chosen[0].configuration["text"]["name"]
    may_count = may_show(name, with_ngrams or stays_here)
    text = _text_of(chosen[0], may_count, stays_here)
    opening, passages, tiles = text.shown if text and may_count else ("", [], [])
    reasons = {CONTAINS_ITS_TEXT: not may_count, UNREADABLE: text is None, NO_PASSAGES: opening and not passages}
    remarks += [remark for remark, is_so in reasons.items() if is_so]
    if opening and not stays_here and not may_show(name, with_ngrams=False):
        characters = len(opening) + sum(map(len, passages))
        log.warning("The page has %s characters of %s word for word, and n-grams of it", f"{characters:,}", name)
    prompts = [sample["prompt"] for sample in artifacts.read_samples(chosen[0].id)]
    page = PageModels(
        vocabulary.symbols,
        vocabulary.alphabet,
        text=chosen[0].corpus,
        opening=opening or next(iter(prompts), ""),
        is_held_out=bool(opening),
        passages=passages,
        tiles=tiles,
        counting=text.entry if text else None,
        remarks=remarks,
    )
    most_bytes = MODEL_BYTES[subject.kind] + ALL_NGRAMS_BYTES * stays_here
    shown = list[RecordedTraining]()
    for training in chosen:
        left = most_bytes - len(page.json())
        try:
            if loaded[training.id][1] != vocabulary:
                raise LeftOutError("its vocabulary is another")
            bits = training.result.get("weight_bits")
            tables, entry = page_model(loaded[training.id][0], text, may_count, left, bits)
        except LeftOutError as error:
            files = "".join(f"; its files are in {folder}" for folder in subject.folders[training.id] if subject.models)
            remarks.append(f"{training.name} is left out: {error}{files}.")
            continue
        if tables is not None and tables not in page.tables:
            page.tables.append(tables)
        recorded = {name: training.result[name] for name in ("macs_per_char", "parameters", "test_perplexity")}
        compared = {"name": ngram_name(training.result), "test_perplexity": training.result["ngram_test_perplexity"]}
        entry |= {"picks": picks[training.id], "compared": compared, **recorded}
        entry["tables"] = None if tables is None else page.tables.index(tables)
        page.models.append(entry)
        shown.append(training)
    if subject.models:
        seeds = [f", seed {run.seed}" * (len({each.seed for each in shown}) > 1) for run in shown]
        labels = told_apart([entry["label"] + seed for entry, seed in zip(page.models, seeds, strict=True)], shown)
        for number, (entry, label) in enumerate(zip(page.models, labels, strict=True)):
            entry |= {"label": label, "is_best": not number}
        page.models.sort(key=itemgetter("macs_per_char"))
    return page


def _text_of(training: RecordedTraining, may_count: bool, stays_here: bool) -> _Text | None:
    """The text of a training; None if it can't be read any more."""
    text, train = training.configuration["text"], training.configuration["train"]
    alphabet = training.configuration["corpus"]["alphabet"]
    try:
        corpus = same_text(text["name"], text["source"], alphabet, training.corpus_sha256, train["train_chars"])
    except (InputError, DataUnavailableError):
        return None
    return _Text(corpus, train["preset"], training.result["single_ngram_order"], may_count, stays_here)


def page_model(
    model: LanguageModel, text: _Text | None, may_count: bool, most_bytes: int, recorded_bits: int | None = None
) -> tuple[Entry | None, Entry]:
    """The n-grams that a model is on top of, if any, and its entry. Raises LeftOutError for one that can't run.

    ``recorded_bits`` are those of a weight, for a text that can't be read any more.
    """
    config, tables, on_top = model.config, None, ""
    if config.cell not in STEPPED:
        raise LeftOutError(f"the page has no script for the cell {config.cell}")
    if isinstance(model, NgramLanguageModel):
        if not may_count:
            raise LeftOutError("it is on top of n-grams")
        if model.tables.entries > most_ngrams(model.vocab_size):
            if text is None:
                raise LeftOutError("its n-grams are too many, and their text can't be read any more")
            model.tables = text.tables
        arrays = coded(model.tables)
        model.tables, tables = decoded(arrays, model.vocab_size), arrays_of(arrays)
        on_top = f" on {model.tables.entries:,} n-grams"

    size = WEIGHT_BYTES * sum(parameter.numel() for parameter in model.parameters())
    left = most_bytes - len(json.dumps(tables))
    if size > left:
        raise LeftOutError("it is too large for a page, at 8 bits a weight")
    bits = weight_bits(model, text.val, float(text_costs(model, text.val).mean())) if text else recorded_bits or 16
    if size * (1 if bits <= 8 else 2 if bits <= 16 else 4) > left:
        bits = 8
    unknown: Entry = dict.fromkeys(("packed_test_perplexity", "both"))
    return tables, {
        "label": f"{config.label}{on_top}",
        "cell": config.cell,
        "layers": config.num_layers,
        "hidden_size": config.hidden_size,
        "residual": config.residual,
        "book": config.equations == "book",
        "bits": bits,
        "weights": weight_arrays(model, bits),
        **(text.scores(rounded(model, bits) if bits < 32 else model) if text else unknown),
    }


def weight_arrays(model: LanguageModel, bits: int) -> Entry:
    """The weights as whole numbers of so many bits with the step of each row, or as floats (32)."""
    learned, arrays = dict(model.named_parameters()), {}
    of_core = [name for name in learned if name.startswith("core.")]
    kinds = OF_TORCH if model.config.by_torch else OF_SCRATCH[: len(of_core) // model.config.num_layers]
    short = {name: f"{at // len(kinds)}.{kinds[at % len(kinds)]}" for at, name in enumerate(of_core)}
    for name, values in model.state_dict().items():
        if name not in learned or bits == 32:
            array = array_of(values.numpy())
        else:
            steps, rows = whole_numbers(values, bits)
            array = {**array_of(rows), "steps": array_of(steps)}
        arrays[short.get(name, name)] = array
    return arrays


def arrays_of(arrays: Mapping[str, NDArray[Any]]) -> Entry:
    return {name: array_of(values.astype(np.int32) if name == "sizes" else values) for name, values in arrays.items()}


def array_of(values: NDArray[Any]) -> Entry:
    return {"type": values.dtype.name, "data": b64encode(values.tobytes()).decode()}
