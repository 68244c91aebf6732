"""The exercises of docs/course.md: the options of their trainings, and the bands of their figures."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

from models.config import ModelConfig
from pipeline.config import NOT_COMPUTED, QUICK_SEARCH, RECIPE, TrainConfig, resolve, train_identity
from pipeline.errors import InputError
from pipeline.support.statistics import estimate

ROWS = Path(__file__).with_name("course.csv")
SLACK = 0.01  # of a band, for another processor or version of PyTorch
READ_BY_TEACHER = "exercises 6 and 7 are read by the teacher"
QUICK = "--quick"  # the options of a search, whose networks have any shape
LAST, NGRAM = ("last_train_perplexity", "last_val_perplexity"), "ngram_test_perplexity"
METRICS = {
    "val_perplexity": "validation perplexity, best",
    LAST[0]: "training perplexity, last epoch",
    LAST[1]: "validation perplexity, last epoch",
    "test_perplexity": "test perplexity",
    NGRAM: "test perplexity, n-grams of orders 1 to 10",
}


@dataclass(frozen=True)
class Band:
    """The range of right values of a metric of the network that an exercise trains with these options."""

    exercise: str
    options: str
    metric: str
    low: float
    high: float

    @property
    def network(self) -> str:
        """Such as LSTM 1x64 on top."""
        model = resolve(options_of(self.options))[0]
        return model.label + " on top" * (model.on_top_of != "nothing")

    @property
    def label(self) -> str:
        """What the figure is, as in docs/course.md."""
        return METRICS[self.metric] + f", {self.network}" * (self.metric == "test_perplexity")


@dataclass(frozen=True)
class Course:
    """Bands, and the text that they are of, in letters: its digest, and the characters of its training split."""

    bands: Sequence[Band]
    corpus_sha256: str = "9f258eadf409c46591c5c61d72c087cb825faf419c9f87ceb580f0eacb30c506"  # The Time Machine
    train_chars: int = 156_085

    def bands_of(self, model: ModelConfig, facts: Mapping[str, Any]) -> tuple[list[Band], TrainConfig]:
        """The bands of a checkpoint, found by its options and text, and how it was trained, but for seed and machine.

        Raises InputError for a training of no exercise.
        """
        text = facts["corpus"]["corpus_sha256"], facts["vocabulary"]["alphabet"]
        found = model, _compared(facts["train"]), facts.get("recipe"), text
        for options in dict.fromkeys(band.options for band in self.bands):
            given = options_of(options)
            if options == QUICK:
                if not _is_of_quick_search(model):
                    continue
                shape = {name: getattr(model, name) for name in ("cell", "num_layers", "hidden_size")}
                given = {"epochs": QUICK_SEARCH["epochs"], **shape}
            wanted, train = resolve(given, self.train_chars)
            if found == (wanted, _compared(asdict(train)), RECIPE[train.preset], (self.corpus_sha256, "letters")):
                return [band for band in self.bands if band.options == options], train
        name = shorten(facts["corpus"]["name"], 100)
        raise InputError(
            f"{model.label} on {name} is of none of exercises 1 to 5: its options, its text or its recipe are others; "
            f"{READ_BY_TEACHER}"
        )


def packaged_course() -> Course:
    """The course with the bands of the recorded seeds: their 95 % prediction intervals, each widened by SLACK."""
    recorded: dict[tuple[str, str, str], list[float]] = {}
    for row in csv.DictReader(ROWS.read_text().splitlines()):
        if not row["instructions"]:  # the usual ones
            recorded.setdefault((row["exercise"], row["options"], row["metric"]), []).append(float(row["value"]))
    bands = []
    for key, values in recorded.items():
        found = estimate(values, of_next=True)
        low, high = found.ends or (found.mean, found.mean)
        bands.append(Band(*key, round(low * (1 - SLACK), 2), round(high * (1 + SLACK), 2)))
    return Course(bands)


def options_of(words: str) -> dict[str, Any]:
    """The options with values among a command's words, by the names of their fields."""
    parts = words.split()
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return {name[2:].replace("-", "_"): int(value) if value.isdigit() else value for name, value in pairs}


def _is_of_quick_search(model: ModelConfig) -> bool:
    """Whether a model's layers and units are in the space of QUICK_SEARCH."""
    for name in ("num_layers", "hidden_size"):
        low, high = QUICK_SEARCH[name].split("..")
        if not int(low) <= getattr(model, name) <= int(high):
            return False
    return True


def _compared(train: Mapping[str, Any]) -> dict[str, Any]:
    left_out = (*NOT_COMPUTED, "precision")
    return {name: value for name, value in train_identity(train).items() if name not in left_out}
