"""All configurations and the two presets. No torch here, so that usage errors are instant.

A field marked ``preset`` takes the preset's value unless the user gives one (``auto`` on the command line is None in
``resolve``). Every other field has its own default.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from typing import Any, Literal, get_args

from models.config import LARGEST_SIZE, ConfigError, ModelConfig, check, check_choice, option

Alphabet = Literal["letters", "raw"]
PresetName = Literal["stream", "report"]

WINDOW_TRAIN, WINDOW_VAL, WINDOW_LENGTH = 10_000, 5_000, 32  # the book's num_train, num_val, num_steps
PASS_CHARS = 10_000_000  # an epoch of a longer text reads this much
HELD_OUT_CHARS = 500_000  # of a longer text, validation and test read this much each
REPORT_PROMPTS = ("it has", "proceeded the", "staring hard")  # the report's own three prefixes

# Version of the training recipe: what a configuration computes beyond its options. A record names its recipe and is
# resumed under it; a record without one was made with the first.
#   1  The warm-up multiplies a cosine that falls from the first step on, so that a short training never reaches its
#      peak (65 % of --learning-rate with 118 steps).
#   2  Linear warm-up to the peak, then the cosine from there to the last step.
FIRST_RECIPE, RECIPE = 1, 2
RECIPES = (FIRST_RECIPE, RECIPE)
STOPPED_BY_TIME = "--max-seconds"  # begins the reason of a training that its time limit ended
LATER_FIELDS = {"residual": False}  # of ModelConfig: older records lack them, which means these values
NOT_COMPUTED = ("seed", "max_seconds", "device", "threads", "sample_every")  # of TrainConfig: see ``what_it_computes``


@dataclass(frozen=True)
class CorpusConfig:
    """A text and its alphabet. Raises ConfigError for a value that is not allowed."""

    corpus: str = option(
        "auto",
        help=(
            "time-machine, tiny-shakespeare, python-docs, a file or an https address; auto: time-machine, else "
            "python-docs."
        ),
    )
    alphabet: Alphabet = option("letters", help="letters: the report's 28 symbols; raw: every character of the text.")

    def __post_init__(self) -> None:
        check(self)
        if not self.corpus.strip():
            raise ConfigError("corpus", "is empty; give a name, a file or an https address, or auto")


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Raises ConfigError for a value that is not allowed."""

    preset: PresetName = option(
        "stream", help="stream: parallel streams of the whole text, AdamW; report: the report's windows and SGD."
    )
    epochs: int | None = option(
        None,
        help=(
            "Passes over the training text; auto: the preset's (stream: as many as --budget-chars covers; report: 50 "
            "or 100)."
        ),
        preset=True,
        low=1,
        high=1_000_000,
    )
    budget_chars: int = option(
        4_060_000, help="Characters to train on in all where --epochs is auto (stream).", preset=True, low=1
    )
    max_seconds: float = option(
        0.0,
        help="Stop training after this many seconds (0: no limit; auto: none, or the resumed run's value).",
        preset=True,
        low=0,
    )
    batch_size: int = option(16, help="Windows or parallel streams per step.", preset=True, low=1, high=LARGEST_SIZE)
    sequence_length: int = option(
        32, help="Characters per step of truncated backpropagation.", preset=True, low=1, high=LARGEST_SIZE
    )
    optimizer: Literal["adamw", "sgd"] = option("adamw", help="Optimizer.", preset=True)
    learning_rate: float = option(0.03, help="Peak learning rate.", preset=True, above=0, high=1000)
    schedule: Literal["cosine", "constant"] = option(
        "cosine",
        help=(
            "cosine: 50 warm-up steps (in a training of fewer than 500 steps, a tenth of them) to the learning rate, "
            "then down to 5 %."
        ),
        preset=True,
    )
    weight_decay: float = option(0.01, help="Decoupled weight decay (AdamW).", preset=True, low=0, high=1000)
    clip: float = option(1.0, help="Gradient clipping: the largest norm (0: off).", preset=True, low=0)
    average: float = option(
        0.998,
        help="Decay of the exponential moving average of the weights (0: off).",
        preset=True,
        low=0,
        high=0.999999,
    )
    patience: int = option(10, help="Early stopping: epochs without a better validation (0: off).", preset=True, low=0)
    seed: int = option(0, help="Seed of initial weights, order and dropout.", low=0, high=2**63 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", help="Where to compute.")
    threads: int | None = option(
        None, help="CPU threads; auto: 1, because small layers gain nothing from more.", preset=True, low=1, high=1024
    )
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto", help="Arithmetic; auto: bf16 where the hardware has it and it pays, never under --preset report."
    )
    sample_every: int = option(
        10,
        help=("Epochs between recorded sample texts (0: at the end only; auto: 10, or the resumed run's value)."),
        preset=True,
        low=0,
    )
    recipe: int = RECIPE  # no option of the command line

    def __post_init__(self) -> None:
        check(self)
        if self.recipe not in RECIPES:
            raise ConfigError("recipe", f"is {self.recipe!r}; this version knows {', '.join(map(str, RECIPES))}")

    @classmethod
    def from_record(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """The configuration of a recorded training; a record without a recipe was made with the first."""
        return cls(**{"recipe": FIRST_RECIPE, **values})

    def what_it_computes(self) -> dict[str, Any]:
        """The fields that decide what is trained, without the seed: equal for two seeds of one configuration."""
        values = {name: value for name, value in asdict(self).items() if name not in NOT_COMPUTED}
        if self.schedule == "constant":  # the recipes differ in the cosine alone
            values["recipe"] = FIRST_RECIPE
        return values


@dataclass(frozen=True)
class ReproduceConfig:
    """Which of the report's configurations to train. Raises ConfigError for a value that is not allowed."""

    only: str = option("*", help="Configurations: ids or globs such as gru-*, separated by commas.")
    epochs: int | None = option(
        None,
        help="Epochs; auto: the protocol's 50 or 100.",
        preset=True,
        low=1,
        high=1_000_000,
    )
    seeds: int = option(1, help="Trainings per configuration, with seeds 0, 1, ...", low=1, high=1000)
    workers: int | None = option(
        None,
        help="Worker processes, one thread each; auto: one per core, as many as fit into memory.",
        preset=True,
        low=1,
        high=1024,
    )
    max_seconds: float = option(0.0, help="Time limit of each training, in seconds (0: no limit).", low=0)
    against: str = option("", help="Another table of reported numbers, a CSV file with the same columns.")
    output: str = option(
        "auto",
        help=(
            "Folder for the report; auto: mlruns/report, or mlruns/report-TABLE with --against; a quick one ends in "
            "-quick."
        ),
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.output.strip():
            raise ConfigError("output", "is empty; give a folder, or auto")


def report_preset(model: Mapping[str, Any]) -> dict[str, Any]:
    """The report's protocol for a model, which is that of the d2l.ai book.

    From scratch: normal weights of standard deviation 0.01, learning rate 4, 50 epochs. torch.nn: default weights, 100
    epochs, learning rate 1 for RNN, 2 for deep models, else 4.
    """
    scratch = model["implementation"] == "scratch"
    rate = 4.0 if scratch else 2.0 if model["num_layers"] > 1 else 1.0 if model["cell"] == "rnn" else 4.0
    return {
        "equations": "book" if scratch else "torch",
        "initialisation": "normal" if scratch else "torch",
        "dropout": 0.0,
        "output_dropout": 0.0,
        "recurrent_dropout": 0.0,
        "epochs": 50 if scratch else 100,
        "batch_size": 1024,
        "sequence_length": WINDOW_LENGTH,
        "optimizer": "sgd",
        "learning_rate": rate,
        "schedule": "constant",
        "weight_decay": 0.0,
        "clip": 1.0,
        "average": 0.0,
        "patience": 0,
    }


def stream_preset(model: Mapping[str, Any]) -> dict[str, Any]:
    """The project's own recipe, tuned on The Time Machine: AdamW with a high learning rate, DropConnect and an EMA.

    DropConnect of the recurrent weights grows with the width; from 256 units on there is dropout of the output too. RNN
    and GRU use a third of the LSTM's learning rate, and the RNN hardly any DropConnect.
    """
    cell, hidden_size = model["cell"], model["hidden_size"]
    dropped = 0.05 if cell == "rnn" or hidden_size < 64 else 0.15 if hidden_size < 256 else 0.25
    return {
        "equations": "torch",
        "initialisation": "torch",
        "dropout": 0.0,
        "output_dropout": 0.1 if hidden_size >= 256 else 0.0,
        "recurrent_dropout": dropped,
        "learning_rate": 0.03 if cell == "lstm" else 0.01,
    }


PRESETS = {"report": report_preset, "stream": stream_preset}


def resolve(options: Mapping[str, Any]) -> tuple[ModelConfig, TrainConfig]:
    """Both configurations from options by field name; None, or a missing name, is the preset's value.

    Raises ConfigError for a value that is not allowed.
    """
    own = {f.name: f.default for config in (ModelConfig, TrainConfig) for f in fields(config)}
    given = {name: value for name, value in options.items() if value is not None}
    preset = given.get("preset", own["preset"])
    check_choice("preset", preset, get_args(PresetName))
    model_options = {**own, **given}
    values = {**own, **PRESETS[preset](model_options), **given}
    model = ModelConfig(**{f.name: values[f.name] for f in fields(ModelConfig)})
    train = TrainConfig(**{f.name: values[f.name] for f in fields(TrainConfig)})
    if train.preset == "report" and train.precision == "auto":
        train = replace(train, precision="fp32")
    return model, train


def config_id(model: Mapping[str, Any], train: Mapping[str, Any], corpus_sha256: str) -> str:
    """A digest of what a training computes, without its seed, from its recorded configuration.

    Equal for a record that lacks LATER_FIELDS and one that has them at the same values.
    """
    fields_of_then = {name: value for name, value in model.items() if (name, value) not in LATER_FIELDS.items()}
    computed = [fields_of_then, TrainConfig.from_record(train).what_it_computes(), corpus_sha256]
    return sha256(json.dumps(computed, sort_keys=True).encode()).hexdigest()[:12]


SamplerName = Literal["known-cost", "gp", "tpe", "nsga2", "random", "grid"]


@dataclass(frozen=True)
class SearchConfig:
    """Options of a search. Raises ConfigError for a value that is not allowed."""

    study_name: str = option("search", help="Name of the study; an existing one is resumed.")
    trials: int = option(
        40, help="Complete trials in total, including those of earlier commands.", low=1, high=1_000_000
    )
    epochs: int = option(6, help="Epochs of each trial: passes over the training text.", low=1, high=1_000_000)
    confirm_seeds: int = option(
        3,
        help="Seeds that each Pareto-optimal configuration is trained with in the end (1: no further runs).",
        low=1,
        high=1000,
    )
    sampler: SamplerName = option(
        "known-cost", help="known-cost: models the perplexity and computes the MACs; the others are Optuna's."
    )
    workers: int | None = option(
        None,
        help="Worker processes, one thread each; auto: one per core, as many as fit into memory.",
        preset=True,
        low=1,
        high=1024,
    )
    budget_macs: int = option(0, help="Largest MACs per character of a trial (0: no limit).", low=0)
    timeout: float = option(0.0, help="Start no further trial after this many seconds (0: no limit).", low=0)
    max_seconds: float = option(0.0, help="Time limit of each training, in seconds (0: no limit).", low=0)
    seed: int = option(
        0, help="Seed of the sampler and the trials; confirmations use the next ones.", low=0, high=2**31 - 1
    )
    preset: PresetName = option("stream", help="How each model is trained.")
    storage: str = option(
        "auto", help="Optuna's storage, as an SQLAlchemy address; auto: $TMLM_STORAGE, else mlruns/optuna.db."
    )
    space: str = option("", help="A YAML file with the space, instead of the options below.")
    cell: str = option("rnn,gru,lstm", help="Recurrent cells.")
    num_layers: str = option("1..3", help="Recurrent layers.")
    hidden_size: str = option("8..256", help="Units of each layer.")
    learning_rate: str = option("auto", help="Peak learning rate; auto: the preset's.")
    dropout: str = option("auto", help="Dropout between layers; auto: the preset's.")
    recurrent_dropout: str = option("auto", help="DropConnect of the recurrent weights; auto: the preset's.")
    output_dropout: str = option("auto", help="Dropout of the last layer's output; auto: the preset's.")
    recipe: int = RECIPE  # no option of the command line: a study keeps its first one

    def __post_init__(self) -> None:
        check(self)
        if not self.study_name.strip():
            raise ConfigError("study_name", "is empty; give the study a name")
