"""The space of configurations that a search covers, from a file or from options. No torch, no optuna.

A range is written LOW..HIGH, a choice A,B,C, a fixed value as it is; what is left out (auto) is as the preset says:

    cell: rnn,gru,lstm
    num_layers: 1..3
    hidden_size: 8..256
    learning_rate: 0.001..0.1
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from math import prod
from typing import Any, get_args

from models.config import CellName, ConfigError, ModelConfig
from pipeline.config import FIRST_RECIPE, SearchConfig, TrainConfig, resolve
from pipeline.errors import InputError, option_name
from pipeline.support.files import read_small

CELL_NAMES: tuple[str, ...] = get_args(CellName)

LOG_PARAMETERS = ("hidden_size", "learning_rate")  # searched by ratio

LARGEST_FILE, DEEPEST = 100_000, 10  # of a file: bytes, and lists within lists, which both cost time to read

MOST_CORNERS = 100_000  # combinations of outermost values, each of which is checked

LONGEST_WORDS = 60  # characters of a value in a message

GRID_FLOATS = 5  # values of a range of floats in --sampler grid

GRID_INTS = 4  # a range of so many integers is taken whole there; a longer one of ratios is doubled through

PARAMETERS = {"cell": str, "num_layers": int, "hidden_size": int} | dict.fromkeys(
    ("learning_rate", "dropout", "recurrent_dropout", "output_dropout"), float
)


@dataclass(frozen=True)
class Range:
    """All values from low to high, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


Values = Range | tuple[Any, ...]  # a tuple: one of these; of one value, that one


@dataclass(frozen=True)
class Space:
    """The values that each searched parameter may take; those of one value are fixed."""

    values: Mapping[str, Values]

    @classmethod
    def of(cls, config: SearchConfig) -> "Space":
        """Read the space from the file or the options; InputError names the parameter that is not allowed."""
        texts = {name: getattr(config, name) for name in PARAMETERS}
        source = ""
        if config.space:
            changed = [f.name for f in fields(SearchConfig) if f.name in PARAMETERS and texts[f.name] != f.default]
            if changed:
                raise InputError(
                    f"--space {config.space} and {', '.join(map(option_name, changed))} are both given; "
                    "write all of the space into the file, or leave the file out"
                )
            texts, source = _read(config.space), f" in --space {config.space}"
        given = {name: _values(name, text, source) for name, text in texts.items() if str(text).strip() != "auto"}
        for name in ("cell", "num_layers", "hidden_size"):
            if name not in given:
                raise InputError(f"{option_name(name)} is missing{source}; give a value, a choice or a range")
        space = cls(given)
        corners = prod(2 if isinstance(values, Range) else len(values) for values in given.values())
        if corners > MOST_CORNERS:
            raise InputError(
                f"the choices A,B,C{source} have {corners:,} combinations, at most {MOST_CORNERS:,} can be "
                "checked; give a range LOW..HIGH in place of a long choice"
            )
        try:
            for corner in space.corners():
                resolve({**corner, "preset": config.preset, "on_top_of": config.on_top_of})
        except ConfigError as error:
            raise InputError(f"the space has a configuration that can't be trained{source}: {error}") from error
        return space

    @property
    def searched(self) -> dict[str, Values]:
        """The parameters with more than one value."""
        return {name: values for name, values in self.values.items() if isinstance(values, Range) or len(values) > 1}

    @property
    def fixed(self) -> dict[str, Any]:
        return {
            name: values[0]
            for name, values in self.values.items()
            if not isinstance(values, Range) and len(values) == 1
        }

    def corners(self) -> Iterator[dict[str, Any]]:
        """Every combination of the outermost values."""
        ends = [
            [PARAMETERS[name](values.low), PARAMETERS[name](values.high)] if isinstance(values, Range) else list(values)
            for name, values in self.values.items()
        ]
        for chosen in product(*ends):
            yield dict(zip(self.values, chosen, strict=True))

    def grid(self) -> dict[str, list[Any]]:
        """Values of each searched parameter for a grid: widths doubled, other integers whole, five of a float."""
        return {name: _grid(name, values) for name, values in self.searched.items()}

    def as_texts(self) -> dict[str, str]:
        """The space in the notation of a file."""
        return {
            name: str(values) if isinstance(values, Range) else ",".join(map(str, values))
            for name, values in self.values.items()
        }

    def as_line(self) -> str:
        """The space as a line, such as cell gru,lstm; num_layers 1..3; hidden_size 8..256."""
        return "; ".join(f"{name} {text}" for name, text in self.as_texts().items())


def shape_of(parameters: Mapping[str, Any], space: Space, config: SearchConfig) -> ModelConfig:
    """A trial's cell, layers and hidden size as a model: its costs depend on nothing else that is searched."""
    values = {**space.fixed, **parameters}
    return ModelConfig(values["cell"], values["num_layers"], values["hidden_size"], on_top_of=config.on_top_of)


def configs_of(
    parameters: Mapping[str, Any], space: Space, config: SearchConfig, seed: int, train_chars: int
) -> tuple[ModelConfig, TrainConfig]:
    """The model and the training of a trial: its parameters, what the space fixes, and the budget equal for all.

    What is left out follows from them and ``train_chars``, the characters of training text, as in a single training.
    """
    return resolve(
        {
            **space.fixed,
            **parameters,
            "preset": config.preset,
            "on_top_of": config.on_top_of,
            "epochs": config.epochs,
            "max_seconds": config.max_seconds,
            "seed": seed,
            "sample_every": 0,
            "recipe": config.recipe,
        },
        train_chars,
    )


def protocol_of(config: SearchConfig, space: Space) -> dict[str, Any]:
    """The settings that all trials of a study share, so that their perplexities compare; no recipe means the first."""
    return {
        "space": space.as_texts(),
        "epochs": config.epochs,
        "preset": config.preset,
        **({"max_seconds": config.max_seconds} if config.max_seconds else {}),
        **({"on_top_of": config.on_top_of} if config.on_top_of != "nothing" else {}),
        **({"recipe": config.recipe} if config.recipe != FIRST_RECIPE else {}),
    }


def _read(path: str) -> dict[str, Any]:
    """Read the texts of a space file by parameter; InputError for any other file.

    Every value is taken as the text that stands there, as on the command line: YAML's own types would turn some texts
    into dates, and its aliases a small file into gigabytes.
    """
    import yaml  # not at the top: the options of every command are read from this module

    text = read_small(path, "--space", LARGEST_FILE)
    try:
        depth = 0
        for event in yaml.parse(text, yaml.BaseLoader):  # one by one, so that a bad file is not read to its end
            if isinstance(event, yaml.AliasEvent):
                raise InputError(f"--space {path} has a YAML alias (*name); write the value itself")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise InputError(f"--space {path} is nested too deeply; its lines are such as `hidden_size: 8..256`")
        fields = yaml.BaseLoader(text).get_single_data()
    except yaml.YAMLError as error:
        raise InputError(f"--space {path} can't be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(fields, dict) or not fields:
        raise InputError(f"--space {path} must hold lines such as `hidden_size: 8..256`")
    if unknown := [_shortened(str(name)) for name in fields if name not in PARAMETERS]:
        raise InputError(
            f"--space {path} has {', '.join(unknown)}, which can't be searched; what can be: {', '.join(PARAMETERS)}"
        )
    return {name: ",".join(map(str, values)) if isinstance(values, list) else values for name, values in fields.items()}


def _values(name: str, text: Any, source: str) -> Values:
    """Parse the values of a parameter; InputError if the text has none."""
    kind, words = PARAMETERS[name], str(text).strip()
    allowed = f"some of {','.join(CELL_NAMES)}" if kind is str else "a value, a choice A,B,C or a range LOW..HIGH"
    low, dots, high = words.partition("..")
    try:
        if dots and kind is not str:
            ends = Range(kind(low), kind(high))
            if ends.low > ends.high:
                allowed = f"LOW..HIGH, and this is reversed: write {high.strip()}..{low.strip()}"
                raise ValueError(words)
            if not ends.low <= ends.high:  # nan
                raise ValueError(words)
            if name in LOG_PARAMETERS and not ends.low > 0:
                raise ValueError(words)
            return ends if ends.low < ends.high else (kind(low),)
        chosen = tuple(dict.fromkeys(kind(word.strip()) for word in words.split(",")))
        if kind is str and not set(chosen) <= set(CELL_NAMES):
            raise ValueError(words)
        return chosen
    except (ValueError, OverflowError) as error:
        raise InputError(f"{option_name(name)} is {_shortened(words)!r}{source}; it must be {allowed}") from error


def _shortened(words: str) -> str:
    """A text that is not too long for a message."""
    return words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS]}..."


def _grid(name: str, values: Values) -> list[Any]:
    if not isinstance(values, Range):
        return list(values)
    if PARAMETERS[name] is int:
        whole = range(int(values.low), int(values.high) + 1)
        if len(whole) <= GRID_INTS or name not in LOG_PARAMETERS:
            return list(whole)
        doubled = [int(values.low)]
        while 2 * doubled[-1] < values.high:
            doubled.append(2 * doubled[-1])
        return [*doubled, int(values.high)]
    shares = [index / (GRID_FLOATS - 1) for index in range(GRID_FLOATS - 1)]
    if name in LOG_PARAMETERS:
        inner = [values.low * (values.high / values.low) ** share for share in shares]
    else:
        inner = [values.low + (values.high - values.low) * share for share in shares]
    return [*inner, values.high]  # which arithmetic may miss, to the outside
