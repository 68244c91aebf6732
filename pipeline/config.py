"""What a run is made of: CorpusConfig and TrainConfig, and the two presets. No torch here: usage errors are instant.

A field marked ``preset`` takes the preset's value unless the user gives one (``auto`` on the command line, None here
in ``resolve``). Everything else has its own default.
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
PASS_CHARS = 10_000_000  # of a text that is longer, this much is an epoch
HELD_OUT_CHARS = 500_000  # and this much of it is read to validate, and to test
REPORT_PROMPTS = ("it has", "proceeded the", "staring hard")  # the report's own three prefixes

# Version of the training recipe: what a configuration computes beyond its options. A record names the recipe that it
# was made with and is resumed under it; a record without one was made with the first.
#   1  The warm-up multiplies a cosine that falls from the first step on, so that a short training never reaches its
#      peak (65 % of --learning-rate with 118 steps).
#   2  Linear warm-up to the peak, then the cosine from there to the last step.
FIRST_RECIPE, RECIPE = 1, 2
RECIPES = (FIRST_RECIPE, RECIPE)
STOPPED_BY_TIME = "--max-seconds"  # how the reason begins for which a training was cut short by its time
NOT_COMPUTED = ("seed", "max_seconds", "device", "threads", "sample_every")  # of TrainConfig: see ``what_it_computes``


@dataclass(frozen=True)
class CorpusConfig:
    """Which text, and which symbols it is reduced to. Raises ConfigError for a value that is not allowed."""

    corpus: str = option(
        "auto", help="time-machine, python-docs, a file or an https address; auto: time-machine, else python-docs."
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
        help="Stop training after so many seconds (0: no limit; auto: none, and in a resumed training as it was).",
        preset=True,
        low=0,
    )
    batch_size: int = option(16, help="Windows or parallel streams in one step.", preset=True, low=1, high=LARGEST_SIZE)
    sequence_length: int = option(
        32, help="Characters between two cuts of backpropagation.", preset=True, low=1, high=LARGEST_SIZE
    )
    optimizer: Literal["adamw", "sgd"] = option("adamw", help="Optimizer.", preset=True)
    learning_rate: float = option(
        0.03, help="Learning rate, the highest of the schedule.", preset=True, above=0, high=1000
    )
    schedule: Literal["cosine", "constant"] = option(
        "cosine",
        help=(
            "cosine: 50 warm-up steps (in a training of less than 500, a tenth of them) up to the learning rate, then "
            "down to 5 %."
        ),
        preset=True,
    )
    weight_decay: float = option(0.01, help="Decoupled weight decay (AdamW).", preset=True, low=0, high=1000)
    clip: float = option(1.0, help="Largest norm of the gradient (0: not clipped).", preset=True, low=0)
    average: float = option(
        0.998, help="Decay of the weights' running average (0: none).", preset=True, low=0, high=0.999999
    )
    patience: int = option(
        10, help="Stop after so many epochs without a better validation (0: never).", preset=True, low=0
    )
    seed: int = option(0, help="Seed of weights, order and masks.", low=0, high=2**63 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", help="Where to compute.")
    threads: int | None = option(
        None, help="CPU threads; auto: 1, since small layers gain nothing from more.", preset=True, low=1, high=1024
    )
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto", help="Arithmetic; auto: bf16 where the hardware has it and it pays, never under --preset report."
    )
    sample_every: int = option(
        10,
        help=(
            "Epochs between two sample texts in the record (0: at the end only; auto: 10, and in a resumed training as "
            "it was)."
        ),
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
        """The configuration of a recorded training; what an older record does not name is as it was then."""
        return cls(**{"recipe": FIRST_RECIPE, **values})

    def what_it_computes(self) -> dict[str, Any]:
        """The fields that decide what is trained, but for the seed: equal for two seeds of one configuration."""
        values = {name: value for name, value in asdict(self).items() if name not in NOT_COMPUTED}
        if self.schedule == "constant":  # the recipes differ in the cosine alone
            values["recipe"] = FIRST_RECIPE
        return values


@dataclass(frozen=True)
class ReproduceConfig:
    """What of the report is trained. Raises ConfigError for a value that is not allowed."""

    only: str = option("*", help="Configurations: ids or globs such as gru-*, with commas between them.")
    epochs: int | None = option(
        None,
        help="Epochs by the report's protocol; auto: the protocol's 50 or 100.",
        preset=True,
        low=1,
        high=1_000_000,
    )
    seeds: int = option(1, help="Trainings of each configuration, from seeds 0, 1, ...", low=1, high=1000)
    workers: int | None = option(
        None, help="Processes that train, one thread each; auto: one for each core.", preset=True, low=1, high=1024
    )
    max_seconds: float = option(0.0, help="Limit of one training; one that it cuts short says so (0: no limit).", low=0)
    against: str = option("", help="Another table of reported numbers, a CSV file with the same columns.")
    output: str = option(
        "auto",
        help=(
            "Folder that the report is written to; auto: mlruns/report, or report-TABLE with --against, with -quick "
            "behind it of a quick one."
        ),
    )

    def __post_init__(self) -> None:
        check(self)
        if not self.output.strip():
            raise ConfigError("output", "is empty; give a folder, or auto")


def report_preset(model: Mapping[str, Any]) -> dict[str, Any]:
    """The protocol of the report, which is the d2l.ai book's, for a model.

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
    """The project's own recipe, measured on The Time Machine: AdamW with a high rate, weights dropped and averaged.

    The wider the model, the more of its recurrent weights are dropped, and from 256 units on some of its output too;
    RNN and GRU want a third of the LSTM's learning rate, and the RNN hardly any dropping.
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
    """Both configurations from options by field name; None, or a missing name, is "as the preset says".

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
    """A digest of what a training computes, from its recorded configuration: the same for all seeds."""
    computed = [model, TrainConfig.from_record(train).what_it_computes(), corpus_sha256]
    return sha256(json.dumps(computed, sort_keys=True).encode()).hexdigest()[:12]


SamplerName = Literal["known-cost", "gp", "tpe", "nsga2", "random", "grid"]


@dataclass(frozen=True)
class SearchConfig:
    """How a space is searched. Raises ConfigError for a value that is not allowed."""

    study_name: str = option("search", help="The study: the same name goes on with it.")
    trials: int = option(
        40, help="Trials that are to be complete in total, those of earlier commands included.", low=1, high=1_000_000
    )
    epochs: int = option(
        6, help="A trial's budget: passes over the training text, the same for all.", low=1, high=1_000_000
    )
    confirm_seeds: int = option(
        3,
        help="Runs that each member of the front has in the end, each of another seed (1: no further runs).",
        low=1,
        high=1000,
    )
    sampler: SamplerName = option(
        "known-cost", help="known-cost: models the perplexity alone, since MACs are known; the others are Optuna's."
    )
    workers: int | None = option(
        None, help="Processes that train, one thread each; auto: one for each core.", preset=True, low=1, high=1024
    )
    budget_macs: int = option(0, help="Only models of at most so many MACs per character (0: no limit).", low=0)
    timeout: float = option(0.0, help="Begin no further trial after so many seconds (0: no limit).", low=0)
    max_seconds: float = option(
        0.0, help="Safety limit of one training; one that it cuts short says so (0: no limit).", low=0
    )
    seed: int = option(
        0, help="Seed of the sampler and of the trials; confirmations have the next ones.", low=0, high=2**31 - 1
    )
    preset: PresetName = option("stream", help="How each model is trained.")
    storage: str = option(
        "auto", help="Optuna's storage, as an SQLAlchemy address; auto: $TMLM_STORAGE, else mlruns/optuna.db."
    )
    space: str = option("", help="A YAML file that holds the space, in place of the options below.")
    cell: str = option("rnn,gru,lstm", help="Recurrent cells.")
    num_layers: str = option("1..3", help="Recurrent layers.")
    hidden_size: str = option("8..256", help="Units of each layer.")
    learning_rate: str = option("auto", help="Highest learning rate; auto: the preset's.")
    dropout: str = option("auto", help="Dropout between layers; auto: the preset's.")
    recurrent_dropout: str = option("auto", help="DropConnect of the recurrent weights; auto: the preset's.")
    output_dropout: str = option("auto", help="Dropout of the last layer's output; auto: the preset's.")
    recipe: int = RECIPE  # no option of the command line: a study keeps the one that it was begun under

    def __post_init__(self) -> None:
        check(self)
        if not self.study_name.strip():
            raise ConfigError("study_name", "is empty; give the study a name")
