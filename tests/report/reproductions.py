"""Reproductions that nobody has trained: plausible figures by a formula, for tests of what is made of them."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from math import exp

from models.complexity import REPORT_SYMBOLS, closed_form
from models.config import ModelConfig
from pipeline.config import REPORT_PROMPTS, resolve
from pipeline.report.reproduction import Configuration, JudgedTraining, PromptInText, Reproduction, TextFacts
from pipeline.report.statements.evidence import Evidence
from pipeline.report.statements.kinds import report_statements, weigh
from pipeline.report.table import Reported, report_rows

TEXT = TextFacts(
    corpus="time-machine",
    corpus_sha256="9f258ead" + 56 * "0",
    vocab_size=REPORT_SYMBOLS,
    val_perplexities={1: 16.89, 2: 9.5, 3: 6.4, 4: 5.33, 5: 5.03, 6: 4.89},
    windowed={1: 16.89, 2: 9.5, 3: 6.5, 4: 5.46, 5: 5.2, 6: 5.06},
    prompts=(
        PromptInText("it has", 13_823, "validation", " happened before the"),
        PromptInText("proceeded the", 4_546, "training", " time traveller any "),
        PromptInText("staring hard", 5_147, "training", " at the machine and "),
    ),
    train_unigram=17.07,
    words=("a", "and", "any", "at", "had", "hand", "has", "in", "no", "small", "the", "time", "to", "traveller"),
)
ENDS: dict[str, tuple[float, float]] = {  # id -> train and validation perplexity at the last epoch, about as measured
    "gru-scratch-1x32": (5.7, 6.7),
    "gru-scratch-1x8": (7.7, 8.3),
    "gru-scratch-1x128": (5.5, 6.9),
    "gru-scratch-1x1024": (6.0, 7.2),
    "lstm-scratch-1x32": (6.8, 7.3),
    "lstm-scratch-1x8": (8.2, 8.4),
    "lstm-scratch-1x128": (6.3, 7.2),
    "lstm-scratch-1x1024": (7.0, 7.6),
    "rnn-torch-1x128": (3.6, 9.0),
    "lstm-torch-1x128": (2.0, 9.9),
    "gru-torch-1x128": (2.6, 9.5),
    "gru-torch-2x32": (4.1, 6.5),
    "lstm-torch-2x32": (6.3, 7.1),
    "gru-torch-2x128": (2.2, 9.0),
    "gru-torch-8x32": (16.5, 16.9),
    "lstm-torch-2x128": (4.8, 6.9),
    "lstm-torch-8x32": (16.5, 16.9),
}


@cache
def training(reported: Reported, train: float, val: float, seed: int = 0, epochs: int | None = None) -> JudgedTraining:
    """A training whose perplexities fall from 23 to these; validation is best at two thirds where the gap is large."""
    _, config = resolve({"preset": "report", **reported.model, "seed": seed})
    assert config.epochs is not None
    planned = config.epochs
    wobble = 1 + 0.01 * seed
    points = range(1, planned + 1)
    fall = [exp(-6 * epoch / planned) for epoch in points]
    trains = [wobble * (train + (23 - train) * share) for share in fall][:epochs]
    rise = max(0.0, val - train - 2) / 2
    vals = [
        wobble * (val - rise + (23 - val) * share + rise * max(0, 3 * epoch / planned - 2))
        for epoch, share in zip(points, fall, strict=True)
    ][:epochs]
    return JudgedTraining(
        run_id=f"{reported.id}-{seed}".ljust(32, "0"),
        seed=seed,
        epochs_planned=planned,
        train=tuple(trains),
        val=tuple(vals),
        train_pooled=tuple(0.99 * value for value in trains),
        val_pooled=tuple(0.99 * value for value in vals),
        train_seconds=1.5 * len(vals),
        first_half=23.5 * wobble,
        test_perplexity=val + 0.2 if epochs is None else None,
        windowed=0.99 * min(vals) if epochs is None else None,
        texts=tuple((prompt, f"{prompt} the the the the the".ljust(len(prompt) + 20)) for prompt in REPORT_PROMPTS)
        if epochs is None
        else (),
    )


def cut(run: JudgedTraining, epochs: int) -> JudgedTraining:
    """The training as it was after so many epochs."""
    curves = {name: getattr(run, name)[:epochs] for name in ("train", "val", "train_pooled", "val_pooled")}
    return replace(run, texts=(), test_perplexity=None, **curves)


def reproduction(seeds: int = 3, ends: Mapping[str, tuple[float, float]] = ENDS, quick: bool = False) -> Reproduction:
    """Trainings of ``ends`` with so many seeds each; a row that is not among them was not trained."""
    return _reproduction(seeds, tuple(ends.items()), quick)


@cache
def _reproduction(seeds: int, ends_by_id: tuple[tuple[str, tuple[float, float]], ...], quick: bool) -> Reproduction:
    ends = dict(ends_by_id)
    configurations = []
    for row in report_rows():
        model = ModelConfig(cell=row.cell, num_layers=row.num_layers, hidden_size=row.hidden_size)
        runs = tuple(training(row, *ends[row.id], seed) for seed in range(seeds)) if row.id in ends else ()
        configurations.append(Configuration(row, closed_form(model, REPORT_SYMBOLS), runs))
    machine = {"python": "3.11.7", "torch": "2.13.0", "cpu": "an example"}
    return Reproduction("parent".ljust(32, "0"), quick, TEXT, tuple(configurations), machine)


def weighed(found: Reproduction) -> Evidence:
    """The evidence on the statements of the coursework report."""
    return weigh(found, report_statements())
