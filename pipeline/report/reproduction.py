"""Data classes for a reproduction: configurations with their recorded trainings, and facts of the text.

Verdicts, pages and figures are functions of these; ``record`` reads them from recorded runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Literal

from models.complexity import Complexity
from pipeline.report.table import Reported, protocol_epochs, read_csv
from pipeline.support.records import Count, Natural, Number, Positive, String
from pipeline.support.statistics import geometric_mean

Curve = Literal["train", "val", "train_pooled", "val_pooled"]
PromptSplit = Literal["training", "validation", "neither"]


@dataclass(frozen=True)
class JudgedTraining:
    """One training of a configuration, complete or not; curves are perplexities per character after each epoch.

    ``train`` and ``val`` are averaged as in the book (mean over batches of exp of the batch's loss), ``train`` while
    the weights change; ``train_pooled`` and ``val_pooled`` are exp of the mean cross-entropy. ``block_costs`` are mean
    costs in nats per character of consecutive blocks of held-out text at the best epoch, by reading: "val" and "test"
    (with context) and "windowed". Fields known only at the end are None or empty before it.
    """

    run_id: str
    seed: int
    epochs_planned: int
    train: tuple[float, ...]
    val: tuple[float, ...]
    train_pooled: tuple[float, ...] = ()
    val_pooled: tuple[float, ...] = ()
    first_half: float | None = None  # average over half of the first epoch's batches, the first point of the book
    test_perplexity: float | None = None  # on the last 5 % of the text, pooled, at the best epoch
    windowed: float | None = None  # on the report's validation windows, pooled, at the best epoch
    train_seconds: float = 0.0
    block_costs: Mapping[str, Sequence[float]] = field(default_factory=dict)
    texts: tuple[tuple[str, str], ...] = ()  # prompt, greedy text including it; weights after the last epoch
    precision: str = "fp32"
    trained_parameters: int | None = None

    @property
    def epochs(self) -> int:
        """The number of epochs trained."""
        return len(self.val)

    @property
    def is_whole(self) -> bool:
        """Whether all planned epochs were trained."""
        return self.epochs >= self.epochs_planned

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest validation perplexity, counted from 1."""
        return self.val.index(min(self.val)) + 1

    def best(self, curve: Curve = "val") -> float:
        """The perplexity at the best epoch."""
        values: tuple[float, ...] = getattr(self, curve)
        return values[self.best_epoch - 1]


def whole(runs: Iterable[JudgedTraining]) -> tuple[JudgedTraining, ...]:
    """The complete trainings."""
    return tuple(run for run in runs if run.is_whole)


@cache
def d2l_trainings(reported: Reported) -> tuple[JudgedTraining, ...]:
    """The recorded trainings of a configuration by d2l itself, one per seed; only their curves are known."""
    rows = [row for row in read_csv("d2l_curves.csv") if row["id"] == reported.id]
    train, val = (
        [tuple(map(float, row[f"{split}_perplexities"].split())) for row in rows] for split in ("train", "val")
    )
    planned = protocol_epochs(reported)
    return tuple(JudgedTraining("", seed, planned, train[seed], val[seed]) for seed in range(len(rows)))


@dataclass(frozen=True)
class Configuration:
    """A reported configuration with its trainings by the report's protocol, and those of its shape by our recipe."""

    reported: Reported
    complexity: Complexity  # measured by ptflops; report_parameters and report_macs are in the report's convention
    runs: tuple[JudgedTraining, ...] = ()
    same_text: tuple[JudgedTraining, ...] = ()  # preset report-text, on the protocol's training and validation text

    @property
    def id(self) -> str:
        return self.reported.id

    @property
    def whole(self) -> tuple[JudgedTraining, ...]:
        """The trainings with all their planned epochs, which alone are shown."""
        return whole(self.runs)

    @property
    def by_role(self) -> Mapping[str, tuple[JudgedTraining, ...]]:
        """All trainings, complete or not, by role."""
        return {"report": self.runs, "same-text": self.same_text}

    @property
    def progress(self) -> str:
        """Format as "not run", "12 of 50 epochs" or "2 of 3 seeds"; "" if complete."""
        if not self.runs:
            return "not run"
        if not self.whole:
            run = max(self.runs, key=lambda run: run.epochs)
            return f"{run.epochs} of {run.epochs_planned} epochs"
        return "" if len(self.whole) == len(self.runs) else f"{len(self.whole)} of {len(self.runs)} seeds"

    def best(self, curve: Curve = "val") -> float:
        """The mean over the seeds of the perplexity at the best epoch; needs a complete training."""
        return geometric_mean([run.best(curve) for run in self.whole])

    def last(self, curve: Curve) -> float:
        """The mean over the seeds of the perplexity after the last epoch; needs a complete training."""
        return geometric_mean([getattr(run, curve)[-1] for run in self.whole])


@dataclass(frozen=True)
class PromptInText:
    """An occurrence of a prompt in the text: character position, split of the protocol, and continuation."""

    prompt: String
    position: Natural
    split: PromptSplit
    continuation: String


@dataclass(frozen=True)
class TextFacts:
    """Facts of the text that verdicts need: perplexities per character of n-grams, and the places of the prompts.

    N-grams fitted on the protocol's training characters, by order, 1 (letter frequencies) to 8 (Kneser-Ney):
    ``val_perplexities`` are on the protocol's validation characters; ``windowed`` too, where each window of 32 starts
    without context and is first predicted by lower orders. ``gated`` has both ("val", "windowed") of all orders
    combined by a gate. ``block_costs`` are mean costs in nats per character by reading and order, of the same blocks as
    in ``JudgedTraining.block_costs``.
    """

    corpus: String
    corpus_sha256: String
    vocab_size: Count
    val_perplexities: Mapping[Natural, Positive]
    windowed: Mapping[Natural, Positive]
    train_unigram: Positive  # of letter frequencies on the training characters themselves
    words: tuple[String, ...]  # the distinct words of the whole text, sorted
    prompts: tuple[PromptInText, ...]
    block_costs: Mapping[str, Mapping[Natural, Sequence[Number]]] = field(default_factory=dict)
    gated: Mapping[str, Positive] = field(default_factory=dict)

    @property
    def unigram(self) -> float:
        """The perplexity of letter frequencies on the validation characters."""
        return self.val_perplexities[1]

    @property
    def levels(self) -> Mapping[str, float]:
        """The perplexities of letter frequencies and of the n-gram of the best order in windows, by their names."""
        order = min(self.windowed, key=self.windowed.__getitem__)
        return {"letters": self.windowed[1], f"{order}-gram": self.windowed[order]}


@dataclass(frozen=True)
class Reproduction:
    """A recorded reproduction."""

    run_id: str
    quick: bool  # only the small configurations were trained, for a few epochs
    text: TextFacts
    configurations: tuple[Configuration, ...]
    environment: Mapping[str, str] = field(default_factory=dict)  # python, torch, cpu, ... as shown
    commands: tuple[str, ...] = ()  # the distinct commands that made it, in order

    def __getitem__(self, id: str) -> Configuration:
        return next(configuration for configuration in self.configurations if configuration.id == id)
