"""The n-grams of a text: what is fitted on its training split, and its scores. They are cached beside its ids.

The distributions of ``soft_targets``, by far the most bytes, are there only while a process uses the text.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from models import ngram
from models.gated_ngrams import (
    LONGEST,
    TOLD,
    NGramModel,
    NGramTables,
    OrderGate,
    fit_gate,
    gate_letters,
    sample_of,
    sampled_spans,
    sees_letters,
)
from models.pruning import pruned
from pipeline.config import ON_REPORTS_TEXT, RECIPE, PresetName
from pipeline.support.files import write_atomically
from pipeline.support.machine import return_freed_memory
from pipeline.support.progress import Progress
from pipeline.support.records import read_as
from pipeline.text.batches import SoftTargets
from pipeline.text.cache import FOR_TRAININGS, LOCK, bytes_in, json_in, writing_cache
from pipeline.text.corpus import FACTS_FILE, Corpus, prepared_dir

FORMAT = 3  # of what is cached; raise it when that has another form
ENDINGS = f"-v{FORMAT}.json", f"-v{FORMAT}{FOR_TRAININGS}"
PRUNED_ORDER, PRUNED_SIZES = 6, (1_000, 3_000, 10_000, 30_000, 100_000)  # that a search is drawn beside


def baselines_of(corpus: Corpus, preset: PresetName) -> dict[str, ngram.Baselines]:
    """Scores of the uniform, unigram and n-gram models fitted on ``baseline_text``, by split: "val" and "test"."""
    scores = read_as(_fitted(corpus, preset)["scores"], dict[str, ngram.Baselines])
    assert scores, "the digest of the cache has been checked"
    return scores


def pruned_scores(corpus: Corpus, preset: PresetName) -> tuple[ngram.NGramScore, ...]:
    """Scores on validation of n-grams of PRUNED_ORDER, pruned to those of PRUNED_SIZES that are fewer than all."""

    def scores() -> dict[str, Any]:
        symbols, val = len(corpus.vocabulary), corpus.split(preset, "val")
        ngrams = list(ngram.ngrams_of(corpus.baseline_text(preset), symbols, PRUNED_ORDER))
        total = sum(len(each.keys) for each in ngrams)
        models = {str(most): pruned(ngrams, symbols, most) for most in PRUNED_SIZES if most < total}
        return {most: ngram.predicted_bits_per_char(model, val) for most, model in models.items()}

    found = _cached(_file(corpus, f"pruned-{preset}", preset), scores)
    return tuple(ngram.NGramScore(PRUNED_ORDER, int(most), int(most), bits) for most, bits in found.items())


@lru_cache(maxsize=2)  # which keeps two texts alive, not every one
def fitted_ngrams(corpus: Corpus, preset: PresetName, most: int = 0) -> NGramModel:
    """The n-gram model that networks are compared with, fitted on ``baseline_text``; the latest are kept in memory.

    All orders with a gate, or under the presets on the report's text the best one; at most ``most`` n-grams (0: all).
    """
    text, symbols = corpus.baseline_text(preset), len(corpus.vocabulary)
    weights = _fitted(corpus, preset)["gate"]  # None under the presets on the report's text
    if weights is None:
        order = baselines_of(corpus, preset)["val"].best_order
        return NGramModel(NGramTables(pruned(ngram.ngrams_of(text, symbols, order), symbols, most)), None)
    tables = NGramTables(pruned(ngram.ngrams_of(text, symbols, LONGEST), symbols, most))
    if most:

        def computed() -> dict[str, Any]:
            model = NGramModel(tables, fit_gate(sample_of(text, tables, most), letters_of_gate(corpus, preset, most)))
            model.calibrate(corpus.split(preset, "val"))
            return _weights(model)

        weights = _cached(_file(corpus, f"ngrams-{preset}-at-most-{most}", preset), computed)
    of_gate = {name: torch.tensor(values) for name, values in weights.items()}
    return NGramModel(tables, OrderGate.from_tensors(of_gate, LONGEST, symbols))


def letters_of_gate(corpus: Corpus, preset: PresetName, most: int = 0) -> torch.Tensor | None:
    """Which symbols (V,) are letters for the gate of ``fitted_ngrams``; None for one that does not see letters."""
    if not sees_letters(most):
        return None
    return gate_letters(corpus.baseline_text(preset), corpus.vocabulary.letters)


def soft_targets(corpus: Corpus, preset: PresetName) -> SoftTargets:
    """What ``fitted_ngrams`` predicts at the positions of the training text from n-grams of its other parts.

    Of a long text or a large vocabulary, only at evenly spaced parts of it. The text must be short enough for all
    of it to be fitted on. Processes that use the text share their file, which goes when the last of them ends.
    """
    file = _file(corpus, f"counted-{preset}", preset, ENDINGS[1])

    def is_whole() -> bool:
        wanted: str = _fitted(corpus, preset)["distributions_sha256"]
        return hashlib.sha256(bytes_in(file)).hexdigest() == wanted

    if not is_whole():
        with writing_cache(), FileLock(corpus.folder / LOCK):  # only one of several processes makes it
            if not is_whole():
                with Progress(f"n-grams of {corpus.label}"):
                    model = fitted_ngrams(corpus, preset)
                    sample = sample_of(corpus.baseline_text(preset), model.tables)
                    write_atomically(file, sample.distributions(model).numpy().tobytes())
            if not is_whole():  # another machine, which rounds in another way, has fitted the n-grams
                _file(corpus, f"counted-{preset}", preset).unlink(missing_ok=True)
                _fitted(corpus, preset)
    train, symbols = corpus.split(preset, "train"), len(corpus.vocabulary)
    distributions = torch.from_numpy(np.fromfile(file, np.float16)).view(-1, symbols)
    return SoftTargets(len(train), sampled_spans(len(train), LONGEST * (symbols + TOLD)), distributions)


def remove_outdated() -> list[Path]:
    """Remove what versions with another FORMAT have cached beside the texts; returns the files."""
    beside = (file for kind in ("json", "f16") for file in prepared_dir().glob(f"*/*.{kind}"))
    outdated = [file for file in beside if file.name != FACTS_FILE and not file.name.endswith(ENDINGS)]
    with writing_cache():
        for file in outdated:
            file.unlink(missing_ok=True)
    return outdated


def _fitted(corpus: Corpus, preset: PresetName) -> dict[str, Any]:
    """What is kept of the baselines: ``scores`` by split, and the n-gram model's ``gate`` if it has one."""
    if len(corpus.baseline_spans(preset)) > 1:  # a long text
        return_freed_memory()

    def computed() -> dict[str, Any]:
        fitted, distributions = _fit(corpus, preset)
        if distributions:
            with writing_cache():
                write_atomically(_file(corpus, f"counted-{preset}", preset, ENDINGS[1]), distributions)
        return {**fitted, "distributions_sha256": hashlib.sha256(distributions).hexdigest()}

    return _cached(_file(corpus, f"counted-{preset}", preset), computed)


def _fit(corpus: Corpus, preset: PresetName) -> tuple[dict[str, Any], bytes]:
    """What ``_fitted`` keeps, and the distributions of ``soft_targets`` in float16 if there are any."""
    text, symbols = corpus.baseline_text(preset), len(corpus.vocabulary)
    held_out = {split: corpus.split(preset, split) for split in ("val", "test")}
    orders = ngram.REPORT_ORDERS if preset in ON_REPORTS_TEXT else ngram.BASELINE_ORDERS
    with Progress(f"n-grams of {corpus.label}") as bar:
        bar.phase("single orders")
        scores = ngram.baselines(text, held_out, symbols, orders)
        if preset in ON_REPORTS_TEXT:
            return {"scores": {split: asdict(score) for split, score in scores.items()}, "gate": None}, b""
        bar.phase("all orders")
        tables = NGramTables(ngram.KneserNey(text, symbols, LONGEST))
        sample = sample_of(text, tables)
        bar.phase("gate")
        model = NGramModel(tables, fit_gate(sample, letters_of_gate(corpus, preset)))
        bar.phase("evaluation")
        nats = {"val": model.calibrate(held_out["val"]), "test": float(model.costs(held_out["test"]).mean())}
    for split, cost in nats.items():
        gated = ngram.NGramScore(tables.order, tables.entries, model.stored_numbers, float(cost / np.log(2)))
        scores[split] = replace(scores[split], gated=gated)
    fitted = {"scores": {split: asdict(score) for split, score in scores.items()}, "gate": _weights(model)}
    is_whole = len(corpus.baseline_spans(preset)) == 1
    return fitted, sample.distributions(model).numpy().tobytes() if is_whole else b""


def _weights(model: NGramModel) -> dict[str, Any]:
    assert model.gate is not None
    return {name: values.tolist() for name, values in model.gate.state_dict().items()}


def _file(corpus: Corpus, name: str, preset: PresetName, ending: str = ENDINGS[0]) -> Path:
    """The file beside the ids for what is computed under a name, by number of training characters and RECIPE."""
    last = f"-last-{corpus.last_chars}" if corpus.last_chars else ""
    return corpus.folder / f"{name}{last}-{RECIPE[preset]}{ending}"


def _cached(file: Path, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What ``compute`` returns, cached in a file."""
    kept = json_in(file)
    if kept.get("sha256") == _digest(kept.get("computed")):
        return dict(kept["computed"])
    computed = compute()
    with writing_cache():
        write_atomically(file, json.dumps({"sha256": _digest(computed), "computed": computed}).encode())
    return computed


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
