"""Trainings and searches that nobody has made: plausible figures by a formula, and other people's words."""

from dataclasses import asdict
from math import exp, log2
from typing import Any

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.config import RECIPE, TrainConfig, config_id, resolve
from pipeline.pages.subject import Subject
from pipeline.tracking.recorded import RecordedTraining
from tests.made_up import SEARCH, made_up_run, made_up_training

VOCAB_SIZE, EPOCHS = 28, 20


def training(number: int = 0, seed: int = 0, corpus: str = "time-machine", **changes: Any) -> RecordedTraining:
    """A finished training of a shape of its own for each number; ``changes`` are fields of it."""
    cell, sha256 = ("rnn", "gru", "lstm")[number % 3], f"{corpus:.8}".encode().hex().ljust(64, "0")
    model, train = resolve({"cell": cell, "hidden_size": 8 + 4 * number, "epochs": EPOCHS, "seed": seed})
    size, last = closed_form(model, VOCAB_SIZE), 4 + 4 / (1 + number) + 0.01 * seed
    val = {epoch: last + (24 - last) * exp(-6 * epoch / EPOCHS) for epoch in range(1, EPOCHS + 1)}
    figures = {
        "val_perplexity": val[EPOCHS], "val_perplexity_pooled": val[EPOCHS], "test_perplexity": last + 0.1,
        "test_bits_per_char": log2(last + 0.1),
        "ngram_val_perplexity": 3.66, "ngram_test_perplexity": 3.72, "ngram_order": 10, "ngram_entries": 100_000,
        "single_ngram_val_perplexity": 3.8, "single_ngram_test_perplexity": 3.9, "single_ngram_order": 7,
        "mixture_val_perplexity": 3.6, "mixture_test_perplexity": 3.7, "mixture_kind": "mean", "mixture_weight": 0.1,
        "best_epoch": EPOCHS, "epochs": EPOCHS, "stopped": "", "train_seconds": 12.3, "chars_per_second": 250_000.0,
        "device": "cpu",
        "parameters": size.parameters, "stored_numbers": size.parameters, "macs_per_char": size.macs_per_char,
        "shipped_bytes": size.parameters,
        "checkpoint": None, "val_perplexities": [*val.values()], "texts": ["it has the the"],
    }  # fmt: skip
    configuration = {
        "corpus": {"corpus": "auto", "alphabet": "letters"},
        "model": asdict(model),
        "train": asdict(train),
        "recipe": RECIPE["stream"],
        "text": {
            "name": "time-machine",
            "source": "https://example.org/timemachine.txt",
            "corpus_sha256": sha256,
            "train_chars": 156_000,
        },
    }
    configuration = changes.pop("configuration", configuration)
    own_id = config_id(ModelConfig(**configuration["model"]), TrainConfig(**configuration["train"]), sha256)
    fields: dict[str, Any] = {
        "id": f"{number:028x}{seed:04x}",
        "name": f"{model.shape}-s{seed}",
        "tags": {"corpus": corpus, "corpus.sha256": sha256, "config_id": own_id},
        "configuration": configuration,
        "curves": {"perplexity/train": {epoch: 0.95 * value for epoch, value in val.items()}, "perplexity/val": val},
        "result": figures,
    }
    return made_up_training(**{**fields, **changes})


def study(trials: int = 3, name: str = "tiny", **changes: Any) -> Subject:
    """A search whose front has all configurations, the last with two seeds; ``changes`` are of each training."""
    trainings = tuple(training(number, **changes) for number in range(trials))
    again = training(trials - 1, seed=1, **changes)
    members = [(each,) for each in trainings[:-1]] + [(trainings[-1], again)]
    unknown = dict.fromkeys(("val_perplexity_low", "val_perplexity_high"))
    front = [
        {**runs[0].result, **unknown, "name": runs[0].name.removesuffix("-s0"), "run_ids": [run.id for run in runs]}
        for runs in members
    ]
    sentences = {"lean": "It is the smallest.", "knee": "It is the knee.", "best": "It has the lowest perplexity."}
    picks = {pick: {"run_id": trainings[-1].id, "sentence": text} for pick, text in sentences.items()}
    compared = [{**trainings[-1].result, "label": "x", "kind": kind, "name": name} for kind in ("pick", "yours")]
    result = {**SEARCH, "front": front, "picks": picks, "compared": compared, "study_name": name}
    options = {"study_name": name, "trials": str(trials), "sampler": "known-cost", "hidden_size": "8..400"}
    search = made_up_run("5" * 32, f"search-{name}", tags={"study": name}, params=options, result=result)
    return Subject("study", name, (*trainings, again), search)
