"""All configurations and the presets. No torch here, so that usage errors are instant.

A field marked ``preset`` takes the preset's value unless the user gives one (``auto`` on the command line is None in
``resolve``). Every other field has its own default.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from math import log2
from typing import Any, Literal

from models.config import GATES, LARGEST_SIZE, CellName, ConfigError, ModelConfig, Partner, check, option

Alphabet = Literal["letters", "raw"]
PresetName = Literal["stream", "best", "report", "report-text"]

WINDOW_TRAIN, WINDOW_VAL, WINDOW_LENGTH = 10_000, 5_000, 32  # the book's num_train, num_val, num_steps
PASS_CHARS = 10_000_000  # an epoch of a longer text reads this much
HELD_OUT_CHARS = 500_000  # of a longer text, validation and test read this much each
ON_REPORTS_TEXT: tuple[PresetName, ...] = ("report", "report-text")  # read the characters of the report's windows
REPORT_PROMPTS = ("it has", "proceeded the", "staring hard")  # the report's own three prefixes

# Version of the training recipe: what a configuration computes beyond its options, and the defaults of the preset
# stream. A record names its recipe and is resumed under it; a record without one was made with the first.
#   1  The warm-up multiplies a cosine that falls from the first step on, so that a short training never reaches its
#      peak (65 % of --learning-rate with 118 steps).
#   2  Linear warm-up to the peak, then the cosine from there to the last step.
#   3  Computes the same; the defaults follow from the shape, the text and the budget: see ``stream_preset``.
FIRST_RECIPE, WARM_UP_RECIPE, RECIPE = 1, 2, 3
RECIPES = (FIRST_RECIPE, WARM_UP_RECIPE, RECIPE)
STOPPED_BY_TIME = "--max-seconds"  # begins the reason of a training that its time limit ended
PRUNED = "hopeless"  # begins the reason of a trial that a search pruned
# older records lack these fields, which means these values
LATER_FIELDS = {"residual": False, "on_top_of": "nothing", "own_loss": 0.0, "train_chars": 0, "calibrate": False}
# of TrainConfig: see ``what_it_computes``
NOT_COMPUTED = ("seed", "budget_seconds", "max_seconds", "device", "threads", "sample_every")


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
        "stream",
        help=(
            "stream: parallel streams of the whole text, AdamW; best: the same, a larger model trained for longer; "
            "report: the report's windows and SGD; report-text: the recipe of stream on those windows' characters."
        ),
    )
    epochs: int | None = option(
        None,
        help=(
            "Passes over the training text; auto: the preset's (stream, best: as many as --budget-chars covers; "
            "report: 50 or 100)."
        ),
        preset=True,
        low=1,
        high=1_000_000,
    )
    budget_chars: int = option(
        4_060_000, help="Characters to train on in all where --epochs is auto (stream, best).", preset=True, low=1
    )
    budget_seconds: float = option(
        0.0,
        help=(
            "Seconds of training, converted to --budget-chars before it starts: some steps are timed (0: not used; "
            "stream, best)."
        ),
        preset=True,
        low=0,
        high=1e9,
    )
    train_chars: int = option(
        0,
        help="Train on the last so many characters of the training split only (0: all; stream, best).",
        group="Text",
        low=0,
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
    own_loss: float = option(
        0.0,
        help=(
            "On top of an n-gram: share of the loss that is the network's own, without the n-gram; the rest is the "
            "loss of both together."
        ),
        preset=True,
        low=0,
        high=1,
    )
    clip: float = option(1.0, help="Gradient clipping: the largest norm (0: off).", preset=True, low=0)
    average: float = option(
        0.998,
        help="Decay of the exponential moving average of the weights (0: off).",
        preset=True,
        low=0,
        high=0.999999,
    )
    calibrate: bool = option(
        False,
        help=(
            "Validate, and keep the best epoch's model, with its logits scaled by the factor that fits the validation "
            "text best (temperature scaling; stream, best)."
        ),
        preset=True,
    )
    patience: int = option(10, help="Early stopping: epochs without a better validation (0: off).", preset=True, low=0)
    seed: int = option(0, help="Seed of initial weights, order and dropout.", low=0, high=2**63 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = option("auto", help="Where to compute.", group="Machine")
    threads: int | None = option(
        None,
        help="CPU threads; auto: 1, because small layers gain nothing from more.",
        preset=True,
        group="Machine",
        low=1,
        high=1024,
    )
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto",
        help="Arithmetic; auto: bf16 where the hardware has it and it pays, fp32 under --preset report, report-text.",
        group="Machine",
    )
    sample_every: int = option(
        10,
        help=("Epochs between recorded sample texts (0: at the end only; auto: 10, or the resumed run's value)."),
        preset=True,
        group="Record",
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
        values = {name: value for name, value in _fields_of_then(asdict(self)).items() if name not in NOT_COMPUTED}
        cosine = min(self.recipe, WARM_UP_RECIPE)  # recipes differ in the cosine and in defaults
        values["recipe"] = FIRST_RECIPE if self.schedule == "constant" else cosine
        return values


def _fields_of_then(values: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded fields without the LATER_FIELDS that have the values which an older record means."""
    return {name: value for name, value in values.items() if (name, value) not in LATER_FIELDS.items()}


def workers_option() -> Any:
    """Declare the field ``workers`` of a command that makes many trainings."""
    return option(
        None,
        help="Worker processes, one thread each; auto: one per core, as many as fit into memory.",
        preset=True,
        group="Machine",
        low=1,
        high=1024,
    )


def time_limit_option() -> Any:
    """Declare the field ``max_seconds`` of a command that makes many trainings."""
    return option(0.0, help="Time limit of each training, in seconds (0: no limit).", low=0)


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
    precision: Literal["fp32", "bf16"] = option(
        "fp32",
        help="Arithmetic of trainings that begin: fp32, as the report's, or bf16, about twice as fast at 1,024 units "
        "where the hardware has it. The report says which were trained in bf16.",
    )
    workers: int | None = workers_option()
    max_seconds: float = time_limit_option()
    against: str = option("", help="Another table of reported numbers, a CSV file with the same columns.")
    statements: str = option(
        "",
        help=(
            "Statements to judge, a CSV file with the columns of pipeline/report/data/statements.csv; by default the "
            "report's, or for another table its levels, times, sizes and texts."
        ),
    )
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


USUAL_MINUTES = 10.0  # in which 2 cores answer for The Time Machine, every network with its whole budget


@dataclass(frozen=True)
class AnswerConfig:
    """How thoroughly the question is answered. Raises ConfigError for a value that is not allowed."""

    seeds: int = option(3, help="Trainings of each network, with seeds 0, 1, ...", low=1, high=1000)
    minutes: float = option(
        USUAL_MINUTES,
        help="About how long it takes on 2 cores: what each network reads is in proportion to it.",
        above=0,
        high=100_000,
    )
    workers: int | None = workers_option()

    def __post_init__(self) -> None:
        check(self)


# --- the presets -----------------------------------------------------------------------------------------------------

SHAPES: dict[PresetName, dict[str, Any]] = {
    "stream": {"cell": "lstm", "num_layers": 1, "hidden_size": 192},
    "best": {"cell": "lstm", "num_layers": 1, "hidden_size": 384},
    "report": {"cell": "lstm", "num_layers": 1, "hidden_size": 128},
    "report-text": {"cell": "lstm", "num_layers": 1, "hidden_size": 128},
}
REPORT_TEXT_CHARS = WINDOW_TRAIN + WINDOW_LENGTH  # of the training windows
BUDGET_CHARS: dict[PresetName, int] = {
    "stream": 8_500_000,
    "best": 16_000_000,
    "report-text": 80 * REPORT_TEXT_CHARS,
}

# The constants of ``stream_preset``, chosen on the validation text of The Time Machine.
TEXT_CHARS = 156_000  # its training characters
TEXT_WEIGHTS = 65_536  # of an LSTM 1x128
TEXT_PASSES = 26
TEXT_DROPOUT = 0.15  # of that LSTM in so many passes over that text
DROPOUT_PER_WEIGHTS, DROPOUT_PER_TEXT, DROPOUT_PER_PASSES = 0.1, -0.05, 0.03  # more for twice of each
RNN_DROPOUT = 0.05
LARGEST_DROPOUT: dict[CellName, float] = {"gru": 0.15, "lstm": 0.45}
ON_TOP_DROPOUT = 0.12  # more on top of an n-gram, which leaves less to learn from the same text
OWN_LOSS_UNITS, LARGEST_OWN_LOSS = 32, 0.5  # a larger network on top of an n-gram has a loss of its own
OWN_LOSS_PER_UNITS = 0.2  # more for twice the units
OUTPUT_DROPOUT_FROM, OUTPUT_DROPOUT_SLOPE = 0.25, 1.5  # of the output, as that of the recurrent weights grows
LEARNING_RATES: dict[CellName, float] = {"rnn": 0.015, "gru": 0.02, "lstm": 0.02}
SMALL_LSTM_UNITS, SMALL_LSTM_LEARNING_RATE = 192, 0.03  # in one layer
ROWS, ROWS_IN_FEW_PASSES = 32, 16  # of a step: fewer in fewer than TEXT_PASSES passes, for more steps
REPORT_TEXT_ROWS, REPORT_TEXT_DROPOUT = 16, 0.1  # of the preset report-text: rows, and more dropout than the formula's
RESIDUAL_LAYERS = 3  # from so many layers on


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


def stream_preset(
    model: Mapping[str, Any], train_chars: int, budget_chars: float, more_dropout: float = 0.0
) -> dict[str, Any]:
    """The project's own recipe, for the presets stream and best: AdamW at a high learning rate, DropConnect and an EMA.

    Weights are dropped the more, the more of them there are, the shorter the text is and the more often it is read.
    With N recurrent and layer-to-layer weights, s the training characters / 156,000 and P the passes over
    them (``budget_chars`` / training characters):

        N                 = gates hidden_size^2 (2 num_layers - 1)
        recurrent_dropout = 0.15 + 0.1 log2(N / 65,536) - 0.05 log2(s) + 0.03 log2(P / 26)
                            from 0 to 0.45 (LSTM) or 0.15 (GRU); 0.05 for the RNN
        output_dropout    = max(0, 1.5 (recurrent_dropout - 0.25))

    ``more_dropout`` is added to recurrent_dropout within these bounds. On top of an n-gram, it has 0.12 more, and

        own_loss          = 0.2 log2(hidden_size / 32)
                            from 0 to 0.5
    """
    cell, num_layers, hidden_size = model["cell"], model["num_layers"], model["hidden_size"]
    weights = GATES[cell] * hidden_size**2 * (2 * num_layers - 1)
    by_weights = DROPOUT_PER_WEIGHTS * log2(weights / TEXT_WEIGHTS)
    by_text = DROPOUT_PER_TEXT * log2(train_chars / TEXT_CHARS)
    passes = budget_chars / train_chars
    by_passes = DROPOUT_PER_PASSES * log2(passes / TEXT_PASSES)
    is_on_top = model.get("on_top_of") == "ngram"
    base = TEXT_DROPOUT + ON_TOP_DROPOUT * is_on_top + more_dropout
    largest = LARGEST_DROPOUT.get(cell, 0.0)
    dropped = (
        RNN_DROPOUT if cell == "rnn" else round(min(max(base + by_weights + by_text + by_passes, 0.0), largest), 2)
    )
    is_small_lstm = (cell, num_layers) == ("lstm", 1) and hidden_size <= SMALL_LSTM_UNITS
    own_loss = OWN_LOSS_PER_UNITS * log2(hidden_size / OWN_LOSS_UNITS) if is_on_top else 0.0
    return {
        "equations": "torch",
        "initialisation": "torch",
        "residual": num_layers >= RESIDUAL_LAYERS,
        "dropout": 0.0,
        "output_dropout": round(max(0.0, OUTPUT_DROPOUT_SLOPE * (dropped - OUTPUT_DROPOUT_FROM)), 2),
        "recurrent_dropout": dropped,
        "learning_rate": SMALL_LSTM_LEARNING_RATE if is_small_lstm else LEARNING_RATES[cell],
        "batch_size": ROWS if passes >= TEXT_PASSES else ROWS_IN_FEW_PASSES,
        "calibrate": True,
        "own_loss": round(min(max(own_loss, 0.0), LARGEST_OWN_LOSS), 2),
    }


def earlier_stream_preset(model: Mapping[str, Any]) -> dict[str, Any]:
    """The preset stream under the recipes 1 and 2, for studies that were started with them."""
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


def preset_values(given: Mapping[str, Any], train_chars: int) -> dict[str, Any]:
    """What the preset decides beside the options that are ``given``, which have to be valid."""
    preset, recipe = given.get("preset", "stream"), given.get("recipe", RECIPE)
    if preset == "report" or recipe < RECIPE:
        shape = SHAPES["report"]
        model = {"implementation": "torch", **shape, **given}
        return {**shape, **(report_preset(model) if preset == "report" else earlier_stream_preset(model))}
    is_short = preset == "report-text"
    train_chars = REPORT_TEXT_CHARS if is_short else train_chars
    shape, budget_chars = SHAPES[preset], BUDGET_CHARS[preset]
    to_read = given.get("budget_chars", budget_chars)
    if "epochs" in given:
        to_read = given["epochs"] * min(train_chars, PASS_CHARS)
    values = stream_preset({**shape, **given}, train_chars, to_read, REPORT_TEXT_DROPOUT if is_short else 0.0)
    own = {"batch_size": REPORT_TEXT_ROWS, "calibrate": False} if is_short else {}  # nor are n-grams calibrated
    return {**shape, "budget_chars": budget_chars, **values, **own}


def resolve(options: Mapping[str, Any], train_chars: int = TEXT_CHARS) -> tuple[ModelConfig, TrainConfig]:
    """Both configurations from options by field name; None, or a missing name, is the preset's value.

    ``train_chars`` is the length of the training split in characters, which the defaults depend on: on as much of it
    as the option of this name leaves. Raises ConfigError for a value that is not allowed.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for config in (ModelConfig, TrainConfig):
        config(**{f.name: given[f.name] for f in fields(config) if f.name in given})  # checks them
    _check_budget(given)
    own = {f.name: f.default for config in (ModelConfig, TrainConfig) for f in fields(config)}
    read_chars = min(train_chars, given.get("train_chars") or train_chars)
    values = {**own, **preset_values(given, read_chars), **given}
    model = ModelConfig(**{f.name: values[f.name] for f in fields(ModelConfig)})
    train = TrainConfig(**{f.name: values[f.name] for f in fields(TrainConfig)})
    if train.preset == "report" and model.on_top_of != "nothing":
        raise ConfigError(
            "on_top_of",
            f"is {model.on_top_of!r}, which the report's protocol does not have",
            needs=("preset", "stream"),
        )
    if train.own_loss and model.on_top_of == "nothing":
        raise ConfigError("own_loss", f"is {train.own_loss:g}", needs=("on_top_of", "ngram"))
    if train.preset == "report" and train.calibrate:
        raise ConfigError("calibrate", "is on, which the report's protocol does not have", needs=("preset", "stream"))
    if train.preset in ON_REPORTS_TEXT and train.train_chars:
        raise ConfigError(
            "train_chars", f"is {train.train_chars}, but the report's text is fixed", needs=("preset", "stream")
        )
    if train.preset in ON_REPORTS_TEXT and train.precision == "auto":
        train = replace(train, precision="fp32")
    return model, train


def _check_budget(given: Mapping[str, Any]) -> None:
    """Raise ConfigError for --budget-seconds beside what it decides, or under a preset that has no use for it."""
    if not (seconds := given.get("budget_seconds")):
        return
    for other in ("epochs", "budget_chars"):
        if other in given:
            raise ConfigError("budget_seconds", f"is {seconds:g}, which decides how much is read", (other, "auto"))
    if given.get("preset") == "report":
        raise ConfigError("budget_seconds", f"is {seconds:g}, but the report's epochs are fixed", ("preset", "stream"))


def config_id(model: Mapping[str, Any], train: Mapping[str, Any], corpus_sha256: str) -> str:
    """A digest of what a training computes, without its seed, from its recorded configuration.

    Equal for a record that lacks LATER_FIELDS and one that has them at the same values.
    """
    computed = [_fields_of_then(model), TrainConfig.from_record(train).what_it_computes(), corpus_sha256]
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
    workers: int | None = workers_option()
    budget_macs: int = option(0, help="Largest MACs per character of a trial (0: no limit).", low=0)
    timeout: float = option(0.0, help="Start no further trial after this many seconds (0: no limit).", low=0)
    max_seconds: float = time_limit_option()
    seed: int = option(
        0, help="Seed of the sampler and the trials; confirmations use the next ones.", low=0, high=2**31 - 1
    )
    preset: Literal["stream", "report"] = option("stream", help="How each model is trained.")
    on_top_of: Partner = option("nothing", help="ngram: each network corrects an n-gram model of the training text.")
    storage: str = option(
        "auto",
        help="Optuna's storage, as an SQLAlchemy address; auto: $TMLM_STORAGE, else mlruns/optuna.db.",
        group="Record",
    )
    space: str = option("", help="A YAML file with the space, instead of the options below.", group="Space")
    cell: str = option("rnn,gru,lstm", help="Recurrent cells.", group="Space")
    num_layers: str = option("1..3", help="Recurrent layers.", group="Space")
    hidden_size: str = option("8..256", help="Units of each layer.", group="Space")
    learning_rate: str = option("auto", help="Peak learning rate; auto: the preset's.", group="Space")
    dropout: str = option("auto", help="Dropout between layers; auto: the preset's.", group="Space")
    recurrent_dropout: str = option(
        "auto", help="DropConnect of the recurrent weights; auto: the preset's.", group="Space"
    )
    output_dropout: str = option("auto", help="Dropout of the last layer's output; auto: the preset's.", group="Space")
    recipe: int = RECIPE  # no option of the command line: a study keeps its first one

    def __post_init__(self) -> None:
        check(self)
        if not self.study_name.strip():
            raise ConfigError("study_name", "is empty; give the study a name")


QUICK_STUDY = "quick"
QUICK_SEARCH: dict[str, Any] = {  # about a minute on two cores for The Time Machine
    "study_name": QUICK_STUDY,
    "trials": 12,
    "epochs": 2,
    "confirm_seeds": 1,
    "num_layers": "1..2",
    "hidden_size": "8..64",
}


def quick_search(config: SearchConfig) -> SearchConfig:
    """The configuration of a quick search: every option at its default has the value of QUICK_SEARCH instead.

    The space is that of the file if the configuration names one.
    """
    at_default = {f.name for f in fields(SearchConfig) if getattr(config, f.name) == f.default}
    if config.space:
        at_default -= {"num_layers", "hidden_size"}
    return replace(config, **{name: value for name, value in QUICK_SEARCH.items() if name in at_default})
