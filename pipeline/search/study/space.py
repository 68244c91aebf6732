"""The search space, read from a file or from options, as Optuna's distributions.

A parameter has a range LOW..HIGH, a choice A,B,C or a fixed value; one that is left out (auto) has the preset's value:

    cell: rnn,gru,lstm
    num_layers: 1..3
    hidden_size: 8..256
    on_top_of: nothing,ngram
    learning_rate: 0.001..0.1
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import product
from math import prod
from typing import Any, get_args

import numpy as np
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from models.cells import CELLS
from models.config import ConfigError, ModelConfig, Partner
from pipeline.config import SearchConfig, resolve
from pipeline.errors import InputError, option_name
from pipeline.known_cost.space import Distribution
from pipeline.text.sources import find_file

LOG_PARAMETERS = ("hidden_size", "learning_rate")  # searched on a logarithmic scale

LARGEST_FILE = 100_000  # bytes of a space file
MOST_CORNERS = 100_000  # combinations of outermost values, each of which is checked
GRID_FLOATS = 5  # --sampler grid: values of a range of floats
GRID_INTS = 4  # --sampler grid: a longer range of integers is reduced to doublings if it is searched logarithmically

PARAMETERS = {"cell": str, "num_layers": int, "hidden_size": int, "on_top_of": str} | dict.fromkeys(
    ("learning_rate", "dropout", "recurrent_dropout", "output_dropout"), float
)
WORDS: dict[str, Collection[str]] = {"cell": CELLS, "on_top_of": get_args(Partner)}  # what a parameter of words may be


@dataclass(frozen=True)
class Space:
    """The values that each parameter may take: a range, or a choice; a choice of one value is fixed."""

    values: Mapping[str, Distribution]

    @classmethod
    def of(cls, config: SearchConfig) -> "Space":
        """Read the space from the file or the options. Raises InputError, naming the parameter that is not allowed."""
        texts = {name: getattr(config, name) for name in PARAMETERS}
        source = ""
        if config.space:
            changed = [f.name for f in fields(SearchConfig) if f.name in PARAMETERS and texts[f.name] != f.default]
            if changed:
                raise InputError(
                    f"--space {config.space} and {', '.join(map(option_name, changed))} are both given; "
                    "write all of the space into the file, or leave the file out"
                )
            texts, source = {"on_top_of": "nothing", **_read(config.space)}, f" in --space {config.space}"
        given = {name: _values(name, text, source) for name, text in texts.items() if str(text).strip() != "auto"}
        for name in ("cell", "num_layers", "hidden_size", "on_top_of"):
            if name not in given:
                raise InputError(f"{option_name(name)} is missing{source}; give a value, a choice or a range")
        space = cls(given)
        if (corners := prod(len(_ends(values)) for values in given.values())) > MOST_CORNERS:
            raise InputError(
                f"the choices A,B,C{source} have {corners:,} combinations, at most {MOST_CORNERS:,} can be checked; "
                "give a range LOW..HIGH in place of a long choice"
            )
        try:
            for corner in space.corners():
                resolve({**corner, "preset": config.preset})
        except ConfigError as error:
            raise InputError(f"the space has a configuration that can't be trained{source}: {error}") from error
        return space

    @property
    def searched(self) -> dict[str, Distribution]:
        """The parameters with more than one value."""
        return {name: values for name, values in self.values.items() if not values.single()}

    @property
    def fixed(self) -> dict[str, Any]:
        """The parameters with a single value, and that value."""
        return {name: _ends(values)[0] for name, values in self.values.items() if values.single()}

    def corners(self) -> Iterator[dict[str, Any]]:
        """Every combination of the ends of the ranges and the values of the choices."""
        for chosen in product(*map(_ends, self.values.values())):
            yield dict(zip(self.values, chosen, strict=True))

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every configuration of a grid.

        A choice as given; all integers of a range, or doublings of its low end if it is long and logarithmic;
        GRID_FLOATS floats, evenly spaced on the parameter's scale. Both ends are included.
        """
        for chosen in product(*map(_grid, self.values.values())):
            yield dict(zip(self.values, chosen, strict=True))

    def as_texts(self) -> dict[str, str]:
        """The space in the notation of a file, by parameter."""
        return {
            name: ",".join(map(str, values.choices))
            if isinstance(values, CategoricalDistribution)
            else f"{values.low}..{values.high}"
            for name, values in self.values.items()
        }


def model_of(parameters: Mapping[str, Any], space: Space) -> ModelConfig:
    """A model of a trial's shape, on which alone its costs depend."""
    values = {**space.fixed, **parameters}
    return ModelConfig(**{name: values[name] for name in ("cell", "num_layers", "hidden_size", "on_top_of")})


def _read(path: str) -> dict[str, Any]:
    """Read the texts of a space file by parameter. Raises InputError for an invalid file.

    Every value is taken as text, as on the command line: YAML's implicit types would turn some texts into dates.
    """
    if (file := find_file(path, "--space")) is None:
        raise InputError(f"--space {path} can't be read (No such file or directory); give a UTF-8 text file")
    if file.size > LARGEST_FILE:
        raise InputError(f"--space {path} has more than {LARGEST_FILE:,} bytes; give a smaller file")
    try:
        found = yaml.BaseLoader("".join(file.pieces())).get_single_data()
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"--space {path} can't be read as YAML: {' '.join(str(error).split())}") from error
    lines = found.items() if isinstance(found, dict) else ()
    choices = {name: values if isinstance(values, list) else [values] for name, values in lines}
    if not choices or not all(isinstance(value, str) for values in choices.values() for value in values):
        raise InputError(f"--space {path} must hold lines such as `hidden_size: 8..256`")
    if unknown := [str(name) for name in choices if name not in PARAMETERS]:
        raise InputError(
            f"--space {path} has {', '.join(unknown)}, which can't be searched; what can be: {', '.join(PARAMETERS)}"
        )
    return {name: ",".join(values) for name, values in choices.items()}


def _values(name: str, text: Any, source: str) -> Distribution:
    """Parse the values of a parameter. Raises InputError for an invalid text."""
    kind, words, is_log = PARAMETERS[name], str(text).strip(), name in LOG_PARAMETERS
    low, dots, high = words.partition("..")
    try:
        if dots and kind is not str:
            ends = kind(low), kind(high)
            if ends[0] > ends[1]:
                reverse = f"{high.strip()}..{low.strip()}"
                raise InputError(f"{option_name(name)} is {words!r}{source}, a reversed range; write {reverse}")
            if not ends[0] <= ends[1]:  # nan
                raise ValueError(words)
            if ends[0] < ends[1]:
                return IntDistribution(*ends, log=is_log) if kind is int else FloatDistribution(*ends, log=is_log)
            words = low
        chosen = tuple(dict.fromkeys(kind(word.strip()) for word in words.split(",")))
        if kind is str and not set(chosen) <= set(WORDS[name]):
            raise ValueError(words)
        return CategoricalDistribution(chosen)
    except (ValueError, OverflowError) as error:
        allowed = f"some of {','.join(WORDS[name])}" if kind is str else "a value, a choice A,B,C or a range LOW..HIGH"
        raise InputError(f"{option_name(name)} is {words!r}{source}; it must be {allowed}") from error


def _ends(values: Distribution) -> list[Any]:
    return list(values.choices) if isinstance(values, CategoricalDistribution) else [values.low, values.high]


def _grid(values: Distribution) -> list[Any]:
    if isinstance(values, CategoricalDistribution):
        return list(values.choices)
    if isinstance(values, IntDistribution):
        whole = range(values.low, values.high + 1)
        if len(whole) <= GRID_INTS or not values.log:
            return list(whole)
        doubled = [values.low]
        while 2 * doubled[-1] < values.high:
            doubled.append(2 * doubled[-1])
        return [*doubled, values.high]
    spaced = np.geomspace if values.log else np.linspace  # both end with ``high`` itself, unrounded
    return [float(point) for point in spaced(values.low, values.high, GRID_FLOATS)]
