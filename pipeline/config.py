"""All configurations and the presets, importable without torch, so that usage errors appear at once.

A field marked ``preset`` has the preset's value unless the user gives one; ``resolve`` takes None for what is ``auto``
on the command line. Every other field has a fixed default.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from math import inf, log2
from typing import Any, Literal, NamedTuple

from models.cells import CELLS
from models.config import LARGEST_SIZE, Checked, ConfigError, ModelConfig, option, setting
from models.optimizers import OPTIMIZERS
from pipeline import earlier

Alphabet = Literal["letters", "raw"]
PresetName = Literal["stream", "best", "report", "report-text"]

WINDOW_TRAIN, WINDOW_VAL, WINDOW_LENGTH = 10_000, 5_000, 32  # the book's num_train, num_val, num_steps
PASS_CHARS = 10_000_000  # an epoch of a longer text reads this many
HELD_OUT_CHARS = 100_000  # validation and test read this many each of a longer text
ON_REPORTS_TEXT: tuple[PresetName, ...] = ("report", "report-text")  # read the characters of the report's windows
MOST_SEEDS = 100  # of one configuration that a command trains
SCHEDULER_PORT = 8786  # of a cluster
UNDER_MLFLOW = "MLFLOW_RUN_ID"  # environment variable that mlflow run sets: it has started a run for the command
REPORT_PROMPTS = ("it has", "proceeded the", "staring hard")  # the report's own three prefixes

# The version of what the trainings of a preset compute: raise it with every change of their figures, which
# tests/test_recipe.py holds. No result of another recipe is reused, and no training of another recipe is resumed.
RECIPE: dict[PresetName, int] = {"stream": 7, "best": 7, "report": 3, "report-text": 4}
NOT_COMPUTED = ("seed", "max_seconds", "device", "threads", "sample_every")  # not in ``config_id``
StoppedBy = Literal["", "time", "patience"]  # what stopped a training before its last epoch


def preset_from(low: float, high: float = inf) -> dict[str, Any]:
    """What ``option`` takes for a number in a range whose default the preset decides."""
    return {"preset": True, "low": low, "high": high}


@dataclass(frozen=True)
class CorpusConfig(Checked):
    """A text and its alphabet. Raises ConfigError for a value that is not allowed."""

    corpus: str = option(
        "auto",
        help="time-machine, tiny-shakespeare, python-docs, a file or an https address; auto: time-machine, or "
        "python-docs if that can't be downloaded.",
    )
    alphabet: Literal["auto", Alphabet] = option(
        "auto",
        help="letters: the report's 28 symbols; raw: all; auto: letters for time-machine and python-docs, else raw.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.corpus.strip():
            raise ConfigError("corpus", "is empty; give a name, a file or an https address, or auto")


@dataclass(frozen=True)
class TrainConfig(Checked):
    """How a model is trained. Raises ConfigError for a value that is not allowed."""

    preset: PresetName = option(
        "stream",
        help="stream: parallel streams of the whole text, AdamW; best: the same with a larger model, trained for "
        "longer; report: the report's windows and SGD; report-text: stream's recipe on those windows' characters.",
    )
    epochs: int | None = option(
        None,
        help="Passes over the training text; auto: as many as --budget-chars covers (--preset report: 50 or 100).",
        **preset_from(1, 1_000_000),
    )
    budget_chars: int = option(
        8_500_000, help="Characters to train on if --epochs is auto (not used by --preset report).", **preset_from(1)
    )
    train_chars: int = setting(
        0, help="Train on the last N characters of the training split only (0: all).", low=0, word="last"
    )
    max_seconds: float = option(
        0.0,
        help="Stop training after this many seconds (0: no limit; auto: 0, or the resumed run's value).",
        **preset_from(0),
    )
    batch_size: int = option(16, help="Windows or parallel streams per step.", **preset_from(1, LARGEST_SIZE))
    sequence_length: int = setting(
        32, help="Characters per step of truncated backpropagation.", **preset_from(1, LARGEST_SIZE)
    )
    optimizer: str = setting("adamw", help="Optimizer.", preset=True, choices=OPTIMIZERS)
    learning_rate: float = option(0.03, help="Peak learning rate.", preset=True, above=0, high=1000, word="rate")
    schedule: Literal["cosine", "constant"] = setting(
        "cosine",
        help="cosine: warm-up, then decay to 5 % of the learning rate, with counting_loss to zero.",
        preset=True,
    )
    weight_decay: float = setting(0.01, help="Decoupled weight decay (AdamW).", **preset_from(0, 1000), word="decay")
    own_loss: float = setting(
        0.0, help="On top of n-grams: weight of the network's own loss in the training loss.", **preset_from(0, 1)
    )
    counting_loss: float = setting(
        0.0,
        help="Share of the loss at the first step that is against the distributions of cross-fitted n-grams; it falls "
        "to a sixth of itself.",
        **preset_from(0, 1),
    )
    clip: float = setting(1.0, help="Gradient clipping: maximum norm (0: off).", **preset_from(0))
    average: float = setting(
        0.998, help="Decay of the exponential moving average (EMA) of the weights (0: off).", **preset_from(0, 0.999999)
    )
    calibrate: bool = setting(
        False, help="Multiply the logits by the factor that fits the validation text best.", preset=True
    )
    patience: int = setting(10, help="Early stopping: epochs without improvement (0: off).", **preset_from(0))
    seed: int = option(0, help="Seed of initial weights, order and dropout.", low=0, high=2**63 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", help="Device; auto: cuda, else cpu.", group="Machine"
    )
    threads: int | None = setting(
        None, help="CPU threads; auto: 1, because more do not speed up small layers.", **preset_from(1, 1024)
    )
    precision: Literal["auto", "fp32", "bf16"] = option(
        "auto",
        help="Precision; auto: bf16 where it is faster, but fp32 with --preset report and report-text.",
        group="Machine",
    )
    sample_every: int = setting(10, help="Epochs between recorded sample texts (0: at the end only).", **preset_from(0))


def workers_option() -> Any:
    """Declare the field ``workers`` of a command that runs many trainings."""
    return option(
        None,
        help="Worker processes, one thread each; auto: one per core, or as many as fit into memory.",
        group="Machine",
        **preset_from(1, 1024),
    )


@dataclass(frozen=True)
class ReproduceConfig(Checked):
    """Which of the report's configurations to train. Raises ConfigError for a value that is not allowed."""

    only: str = option("*", help="Configurations to train: ids or globs such as gru-*, separated by commas.")
    seeds: int = option(1, help="Trainings per configuration, with seeds 0, 1, ...", low=1, high=1000)
    precision: Literal["fp32", "bf16"] = option(
        "fp32",
        help="Precision of new trainings: fp32, as in the report, or bf16, about twice as fast at 1,024 units where "
        "the hardware has it. The page says which were trained in bf16.",
    )
    workers: int | None = workers_option()


USUAL_MINUTES = 10.0  # of a search without --trials


@dataclass(frozen=True)
class AnswerConfig(Checked):
    """How many trainings an answer rests on, and how long they are. Raises ConfigError for a value not allowed."""

    seeds: int = option(3, help="Trainings of each network, with seeds 0, 1, ...", low=1, high=1000)
    scale: float = option(
        1.0,
        help="Scales what each network reads. 1 takes as long as eight or nine default trainings on 2 cores.",
        above=0,
        high=10_000,
    )
    workers: int | None = workers_option()


# --- the presets -----------------------------------------------------------------------------------------------------

SHAPES: dict[PresetName, dict[str, Any]] = {
    "stream": {"cell": "lstm", "num_layers": 1, "hidden_size": 192},
    "best": {"cell": "lstm", "num_layers": 1, "hidden_size": 384},
    "report": {"cell": "lstm", "num_layers": 1, "hidden_size": 128},
    "report-text": {"cell": "lstm", "num_layers": 1, "hidden_size": 128},
}
REPORT_TEXT_CHARS = WINDOW_TRAIN + WINDOW_LENGTH  # of the training windows
WINDOW_ENDS = (0, REPORT_TEXT_CHARS), (WINDOW_TRAIN, REPORT_TEXT_CHARS + WINDOW_VAL)  # in training, in validation
BUDGET_CHARS: dict[PresetName, int] = {"stream": 8_500_000, "best": 16_000_000, "report-text": 80 * REPORT_TEXT_CHARS}
TEXT_CHARS, TEXT_SYMBOLS = 156_000, 28  # of The Time Machine, and where no text is loaded yet
TEXT_PASSES = BUDGET_CHARS["stream"] / TEXT_CHARS  # of the default over it
FEWEST_PASSES = 8  # over the longest text that the learning rate was tuned on
TAUGHT_CHARS = 500_000  # training characters at most for a counting_loss by default
SHAPE = ("cell", "num_layers", "hidden_size", "implementation", "on_top_of", "ngrams", "preset")  # decide the others
DECLARED = {field.name: field for config in (ModelConfig, TrainConfig) for field in fields(config)}
WORDS = {  # of the other options, if they change what is computed, in names of runs
    name: field.metadata["word"] or name.partition("_")[0]
    for name, field in DECLARED.items()
    if name not in (*SHAPE, *NOT_COMPUTED)
}


def report_preset(model: Mapping[str, Any]) -> dict[str, Any]:
    """The report's protocol for a model, which is that of the d2l.ai book.

    From scratch: normal weights of standard deviation 0.01, learning rate 4, 50 epochs. torch.nn: default weights, 100
    epochs, learning rate 2 for several layers, 1 for one RNN layer, else 4.
    """
    scratch = model["implementation"] == "scratch"
    rate = 4.0 if scratch else 2.0 if model["num_layers"] > 1 else 1.0 if model["cell"] == "rnn" else 4.0
    return {
        "equations": "book" if scratch else "torch",
        "initialisation": "normal" if scratch else "torch",
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


class Constants(NamedTuple):
    """The constants of ``stream_preset`` that recipes differ in."""

    rate_by_symbols: float
    rate_by_passes: float
    large_rate: float
    clip: float


RECIPE_6 = Constants(rate_by_symbols=0.0, rate_by_passes=0.0, large_rate=1.0, clip=1.0)
TODAY = Constants(rate_by_symbols=0.307, rate_by_passes=0.237, large_rate=0.768, clip=0.1)


def stream_preset(
    model: Mapping[str, Any],
    train_chars: int,
    symbols: int,
    budget_chars: float,
    constants: Constants = TODAY,
    is_short: bool = False,
) -> dict[str, Any]:
    """The project's own recipe, for the presets stream and best: AdamW at a high learning rate, DropConnect and an EMA.

    Rate and clip were chosen by validation perplexity on seven texts, the rest on The Time Machine. The dropout is 0.15
    for an LSTM 1x128 in 26 passes over that text, larger for more weights, a shorter text and more passes. The clip is
    near the usual norm of the gradient: at a larger one, a step of a norm thousands of times as large can undo what was
    learned. With N the number of recurrent and layer-to-layer weights, s the training characters / 156,000, P the
    passes over them (``budget_chars`` / training characters), V the number of symbols, and the ``constants`` by their
    names:

        N                 = gates hidden_size^2 (2 num_layers - 1), less for a cell without recurrent weights
        D                 = 0.15 + 0.1 log2(N / 65,536) - 0.05 log2(s) + 0.03 log2(P / 26)
                            limited to the cell's recurrent_dropout, and at least 0.05 log2(P / 26), up to 0.1
        counting_loss     = 2.3 (D - 0.05), limited to 0 ... 0.3; 0 for a text longer than TAUGHT_CHARS
        recurrent_dropout = D - 0.2 counting_loss, within the same limits
        output_dropout    = max(0, 1.5 (D - 0.25)) (1 - counting_loss)
        learning_rate     = the cell's (28 / V)^rate_by_symbols (54.5 / max(P, 8))^rate_by_passes

    The last limit of D is for small models, which overfit in many passes. The preset report-text (``is_short``) is
    without it and without counting_loss, and has 0.1 more. A model of more than the cell's ``small_size`` units, in all
    layers, takes its second learning rate, times large_rate. On top of n-grams, D is 0.12 more, output_dropout at least
    0.2 from 32 units on, counting_loss 0, and

        own_loss          = 0.2 log2(hidden_size / 32)
                            limited to 0 ... 0.5
    """
    cell, num_layers, hidden_size = CELLS[model["cell"]], model["num_layers"], model["hidden_size"]
    weights = cell.weights(0, hidden_size) + (num_layers - 1) * cell.weights(hidden_size, hidden_size)
    passes = budget_chars / train_chars
    is_on_top = model.get("on_top_of") == "ngram"
    base = 0.15 + 0.12 * is_on_top + 0.1 * is_short
    by_size = 0.1 * log2(max(weights, 1) / 65_536) + -0.05 * log2(train_chars / TEXT_CHARS)
    smallest, largest = cell.recurrent_dropout
    least = 0.0 if is_short else min(0.05 * log2(passes / 26), 0.1)
    dropped = round(min(max(base + by_size + 0.03 * log2(passes / 26), smallest, least), largest), 2)
    is_taught = not (is_on_top or is_short) and train_chars <= TAUGHT_CHARS
    usual = round(min(max(2.3 * (dropped - 0.05), 0.0), 0.3), 2) if is_taught else 0.0
    counting_loss = model.get("counting_loss", usual)
    least_output = 0.2 if is_on_top and hidden_size >= 32 else 0.0
    own_loss = 0.2 * log2(hidden_size / 32) if is_on_top else 0.0
    is_large = num_layers * hidden_size > cell.small_size
    rate = cell.learning_rates[is_large] * (constants.large_rate if is_large else 1.0)
    rate *= (TEXT_SYMBOLS / symbols) ** constants.rate_by_symbols
    rate *= (TEXT_PASSES / max(passes, FEWEST_PASSES)) ** constants.rate_by_passes
    return {
        "residual": num_layers >= 3,
        "output_dropout": round(max(least_output, 1.5 * (dropped - 0.25)) * (1 - counting_loss), 2),
        "recurrent_dropout": round(max(dropped - 0.2 * counting_loss, smallest, least), 2),
        "learning_rate": round(rate, 4),
        "clip": constants.clip,
        "batch_size": 32 if passes >= 26 or is_on_top else 16,  # in few passes, more steps
        "calibrate": True,
        "own_loss": round(min(max(own_loss, 0.0), 0.5), 2),
        "counting_loss": counting_loss,
    }


def preset_values(given: Mapping[str, Any], train_chars: int, symbols: int, recipe: int = 0) -> dict[str, Any]:
    """The values of the preset, by this recipe (0: RECIPE), for the options that are not ``given``, which are valid."""
    preset = given.get("preset", "stream")
    if preset == "report":
        return {**SHAPES["report"], **report_preset({"implementation": "torch", **SHAPES["report"], **given})}
    is_short = preset == "report-text"
    train_chars = REPORT_TEXT_CHARS if is_short else train_chars
    shape, budget_chars = SHAPES[preset], BUDGET_CHARS[preset]
    to_read = given.get("budget_chars", budget_chars)
    if "epochs" in given:
        to_read = given["epochs"] * min(train_chars, PASS_CHARS)
    constants = RECIPE_6 if is_short or 0 < recipe <= 6 else TODAY
    untaught = {"counting_loss": 0.0} if 0 < recipe < 6 else {}  # recipe 6 brought it
    values = stream_preset({**shape, **untaught, **given}, train_chars, symbols, to_read, constants, is_short)
    # not calibrated, for a fair comparison: the n-grams are not either
    own = {"batch_size": 16, "calibrate": False} if is_short else {}
    return {**shape, "budget_chars": budget_chars, **values, **own}


def _values(given: Mapping[str, Any], train_chars: int, symbols: int, recipe: int = 0) -> dict[str, Any]:
    """The values of all options: the given ones, which have to be valid, else the preset's, else the defaults."""
    read_chars = min(train_chars, given.get("train_chars") or train_chars)
    defaults = {name: field.default for name, field in DECLARED.items()}
    values = {**defaults, **preset_values(given, read_chars, symbols, recipe), **given}
    if values["preset"] in ON_REPORTS_TEXT and values["precision"] == "auto":
        values["precision"] = "fp32"
    return values


def resolve(
    options: Mapping[str, Any], train_chars: int = TEXT_CHARS, symbols: int = TEXT_SYMBOLS
) -> tuple[ModelConfig, TrainConfig]:
    """Build both configurations from options by field name; None, or a missing name, is the preset's value.

    ``train_chars`` is the length of the training split in characters, and ``symbols`` the size of the vocabulary. The
    defaults depend on both, and on the option ``train_chars`` in place of the length if it is smaller. Raises
    ConfigError for a value that is not allowed.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for config in (ModelConfig, TrainConfig):
        config(**{f.name: given[f.name] for f in fields(config) if f.name in given})  # only to check the values
    values = _values(given, train_chars, symbols)
    model = ModelConfig(**{f.name: values[f.name] for f in fields(ModelConfig)})
    train = TrainConfig(**{f.name: values[f.name] for f in fields(TrainConfig)})
    if train.preset in ON_REPORTS_TEXT and model.on_top_of != "nothing":
        raise ConfigError(
            "on_top_of", f"is 'ngram', which the preset {train.preset} does not have", ("preset", "stream")
        )
    if model.ngrams and model.on_top_of == "nothing":
        raise ConfigError("ngrams", f"is {model.ngrams}", needs=("on_top_of", "ngram"))
    if train.own_loss and model.on_top_of == "nothing":
        raise ConfigError("own_loss", f"is {train.own_loss:g}", needs=("on_top_of", "ngram"))
    if train.counting_loss and train.preset in ON_REPORTS_TEXT:
        raise ConfigError("counting_loss", f"is {train.counting_loss:g}", needs=("preset", "stream"))
    if train.counting_loss and model.on_top_of == "ngram":
        raise ConfigError("counting_loss", f"is {train.counting_loss:g}", needs=("on_top_of", "nothing"))
    if train.counting_loss and min(train_chars, train.train_chars or train_chars) > PASS_CHARS:
        raise ConfigError(
            "counting_loss", f"is {train.counting_loss:g}, for a text of at most {PASS_CHARS:,} training characters"
        )
    if train.preset == "report" and train.calibrate:
        raise ConfigError("calibrate", "is on, which the report's protocol does not have", ("preset", "stream"))
    if train.preset in ON_REPORTS_TEXT and train.train_chars:
        raise ConfigError("train_chars", f"is {train.train_chars}, but the text is fixed", ("preset", "stream"))
    return model, train


def chosen_options(
    model: ModelConfig, train: TrainConfig, train_chars: int, symbols: int, recipe: int = 0
) -> dict[str, Any]:
    """The options of WORDS whose values neither SHAPE, the text nor another option decides, by ``preset_values``."""
    given = {name: value for name, value in {**asdict(model), **asdict(train)}.items() if value is not None}

    def is_chosen(name: str) -> bool:
        others = {other: value for other, value in given.items() if other != name}
        usual = _values(others, train_chars, symbols, recipe)[name]
        return str(usual) != str(given[name])  # 1 is not 1.0 in ``config_id``

    return {name: given[name] for name in WORDS if name in given and is_chosen(name)}


def model_identity(model: ModelConfig) -> dict[str, Any]:
    """A model's fields in identities, without the number of n-grams if it is not limited."""
    return {name: value for name, value in asdict(model).items() if name != "ngrams" or value}


def train_identity(train: Mapping[str, Any]) -> dict[str, Any]:
    """A training's options in identities, without a ``counting_loss`` of 0, so that digests keep their values."""
    return {name: value for name, value in earlier.options(train).items() if name != "counting_loss" or value}


def config_id(model: ModelConfig, train: TrainConfig, corpus_sha256: str) -> str:
    """A digest of what a training computes, without its seed: equal for two seeds of one configuration."""
    computed = {name: value for name, value in train_identity(asdict(train)).items() if name not in NOT_COMPUTED}
    inputs = [model_identity(model), computed, RECIPE[train.preset], corpus_sha256]
    from hashlib import sha256  # not at the top: `tmlm --help` does without it

    return sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:12]


SIZES = ("macs_per_char", "parameters", "stored_numbers")  # of a model, also of n-grams, in the results of trainings


class CostAxis(NamedTuple):
    """A cost that a search may minimise: one of SIZES.

    ``attribute`` is its name in results and attributes, ``name`` and ``short`` are those in sentences and pictures.
    """

    attribute: str
    name: str
    short: str
    details: str

    def of(self, sizes: Mapping[str, Any]) -> int:
        """The cost of a model, from a mapping that has SIZES, such as a training's result."""
        return int(sizes[self.attribute])


COSTS: dict[str, CostAxis] = {
    "macs": CostAxis(
        "macs_per_char", "MACs per character", "MACs", "multiply-accumulate operations, output layer included"
    ),
    "stored-numbers": CostAxis("stored_numbers", "stored numbers", "stored numbers", "parameters and n-grams"),
}
COST_NAMES = tuple(axis.attribute for axis in COSTS.values())


def costs_of(sizes: Mapping[str, Any]) -> dict[str, int]:
    """All costs of a model, by their names in results."""
    return {axis.attribute: axis.of(sizes) for axis in COSTS.values()}


SamplerName = Literal["known-cost", "gp", "tpe", "nsga2", "random", "grid"]


@dataclass(frozen=True)
class SearchConfig(Checked):
    """Options of a search. Raises ConfigError for a value that is not allowed."""

    study_name: str = option(
        "auto", help="Name of the study; an existing one is resumed. auto: search-TEXT, or with --quick quick-TEXT."
    )
    minutes: float | None = option(
        None,
        help="No trial starts after this many minutes of the command; trials under way and the confirmations follow. "
        "auto: 10, or no limit with --trials.",
        preset=True,
        above=0,
        high=100_000,
    )
    trials: int | None = option(
        None, help="Complete trials of the study in total; auto: no limit.", **preset_from(1, 1_000_000)
    )
    epochs: int | None = option(
        None,
        help="Passes of each trial over the training text; auto: as many as `tmlm train` makes with its shape.",
        **preset_from(1, 1_000_000),
    )
    confirm_seeds: int = option(2, help="Seeds in total of each pick (1: no confirmations).", low=1, high=1000)
    cost: str = option(
        "macs",
        help="What is minimised beside perplexity: "
        + "; or ".join(f"{axis.name} ({axis.details})" for axis in COSTS.values())
        + ".",
        choices=COSTS,
    )
    sampler: SamplerName = option(
        "known-cost", help="known-cost: models the perplexity and computes the cost; the others are Optuna's."
    )
    workers: int | None = workers_option()
    budget_macs: int = option(0, help="Largest number of MACs per character of a trial (0: no limit).", low=0)
    max_perplexity: float | None = option(
        None, help="Worse validation perplexities count for nothing; auto: the 3-gram's.", **preset_from(1)
    )
    max_seconds: float = setting(0.0, help="Time limit of each training, in seconds (0: no limit).", low=0)
    seed: int = option(
        0, help="Seed of the sampler and the trials; confirmations use the seeds after it.", low=0, high=2**31 - 1
    )
    preset: Literal["stream", "report"] = setting("stream", help="Preset that each model is trained with.")
    storage: str = setting("auto", help="Optuna storage, an SQLAlchemy URL; auto: $TMLM_STORAGE or mlruns/optuna.db.")
    space: str = option("", help="YAML file with the search space, instead of the options below.", group="Space")
    cell: str = option("rnn,gru,lstm", help="Recurrent cells.", group="Space")
    num_layers: str = option("1..3", help="Recurrent layers.", group="Space")
    hidden_size: str = option("8..256", help="Units of each layer.", group="Space")
    on_top_of: str = option(
        "nothing", help="nothing, or ngram: the network corrects n-grams of the training text; or both.", group="Space"
    )
    learning_rate: str = setting("auto", help="Peak learning rate; auto: the preset's.")
    dropout: str = setting("auto", help="Dropout between layers; auto: the preset's.")
    recurrent_dropout: str = setting("auto", help="DropConnect of the recurrent weights; auto: the preset's.")
    output_dropout: str = setting("auto", help="Dropout of the last layer's output; auto: the preset's.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.study_name.strip():
            raise ConfigError("study_name", "is empty; give the study a name")
        if self.budget_macs and self.cost != "macs":
            raise ConfigError("budget_macs", f"is {self.budget_macs}, and another cost is searched", ("cost", "macs"))

    @property
    def minutes_limit(self) -> float:
        """Minutes of a command after which no trial starts; inf: no limit."""
        return self.minutes or (inf if self.trials else USUAL_MINUTES)


QUICK_SEARCH: dict[str, Any] = {  # about a minute on two cores for The Time Machine
    "trials": 12,
    "epochs": 2,
    "confirm_seeds": 1,
    "num_layers": "1..2",
    "hidden_size": "8..64",
}


def quick_search(given: Iterable[str]) -> dict[str, Any]:
    """The options that --quick sets beside the given ones: not the space of a file, nor trials beside minutes."""
    decided = set(given)
    if "space" in decided:
        decided |= {"num_layers", "hidden_size"}
    if "minutes" in decided:
        decided |= {"trials"}
    return {name: value for name, value in QUICK_SEARCH.items() if name not in decided}
