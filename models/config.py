"""ModelConfig, and how configuration fields are declared and checked; importable without torch."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from functools import partial
from math import inf
from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin

from models.cells import CELLS

Implementation = Literal["torch", "scratch"]
Partner = Literal["nothing", "ngram"]
Kernel = Literal["torch", "by-hand"]

LARGEST_SIZE = 10**12  # keeps memory estimates finite; a machine's memory is the real bound


class ConfigError(ValueError):
    """A field's value is not allowed, or is allowed only with ``needs``: the name and value of another field."""

    def __init__(self, field_name: str, problem: str, needs: tuple[str, str] | None = None) -> None:
        super().__init__(field_name, problem, needs)
        self.field_name, self.problem, self.needs = field_name, problem, needs

    def __str__(self) -> str:
        return self.with_names(str)

    def with_names(self, name_of: Callable[[str], str]) -> str:
        """The message with ``name_of(field)`` in place of each field's name."""
        needs = f"; it needs {name_of(self.needs[0])} {self.needs[1]}" if self.needs else ""
        return f"{name_of(self.field_name)} {self.problem}{needs}"


def option(
    default: Any,
    *,
    help: str,
    preset: bool = False,
    group: str = "",
    low: float | None = None,
    above: float | None = None,
    high: float = inf,
    choices: Iterable[str] = (),
    python_only: bool = False,
    word: str = "",
) -> Any:
    """Declare a configuration field with its help text and, for a number, its range [low, high] or (above, high].

    ``choices`` are a string's allowed values where its type is not a Literal of them. ``preset`` marks a field whose
    default the preset decides. ``group`` is the heading under which the command line's help lists the field; "" stands
    for that of its dataclass. ``python_only`` marks a field that no command has. ``word`` stands for it in the names of
    runs; by default, the first word of its own name does.
    """
    limits = None if low is None and above is None else {"low": low, "above": above, "high": high}
    described = {"help": help, "preset": preset, "group": group, "limits": limits, "choices": choices}
    return field(default=default, metadata={**described, "python_only": python_only, "word": word})


setting = partial(option, python_only=True)  # for Python and the file of a search's space only


@dataclass(frozen=True)
class Checked:
    """A configuration. Raises ConfigError for the first field whose value is not one of its choices or out of range."""

    def __post_init__(self) -> None:
        for declared in fields(self):
            value: Any = getattr(self, declared.name)
            choices = get_args(declared.type) if get_origin(declared.type) is Literal else declared.metadata["choices"]
            if choices or declared.type is bool:
                check_choice(declared.name, value, tuple(choices or (True, False)))
            elif declared.metadata["limits"]:
                kinds = get_args(declared.type) or (declared.type,)  # int | None: (int, NoneType)
                if value is None and type(None) in kinds:
                    continue
                check_range(declared.name, value, is_whole=int in kinds, **declared.metadata["limits"])


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    """Raise ConfigError for a value that is not among the choices."""
    if value not in choices:
        raise ConfigError(name, f"is {value!r}; it must be one of {', '.join(map(str, choices))}")


def check_range(
    name: str,
    value: Any,
    *,
    is_whole: bool = False,
    low: float | None = None,
    above: float | None = None,
    high: float = inf,
) -> None:
    """Raise ConfigError unless a value is a finite number from ``low`` or above ``above``, and at most ``high``."""
    number: Any = Integral if is_whole else Real
    if isinstance(value, bool) or not isinstance(value, number):
        raise ConfigError(name, f"is {value!r}; it must be a {'whole ' if is_whole else ''}number")
    inside = -inf < value < inf and (low is None or low <= value) and (above is None or above < value) and value <= high
    if not inside:
        bound = f"at least {low:,}" if above is None else f"above {above:,}"
        limit = f" and at most {high:,}" if high < inf else ""
        raise ConfigError(name, f"is {value!r}; it must be {bound}{limit}")


@dataclass(frozen=True)
class ModelConfig(Checked):
    """Shape, regularisation and initialisation of a character language model. Sizes are numbers of units.

    Raises ConfigError for a value that is not allowed.
    """

    cell: str = option("lstm", help="Recurrent cell.", preset=True, choices=CELLS)
    num_layers: int = option(
        1, help="Recurrent layers, one on top of the other.", preset=True, low=1, high=LARGEST_SIZE
    )
    hidden_size: int = option(192, help="Units of each layer.", preset=True, low=1, high=LARGEST_SIZE)
    implementation: Implementation = option(
        "torch", help="torch: torch.nn's layers; scratch: the same written out from their equations."
    )
    equations: Literal["torch", "book"] = setting(
        "torch",
        help=(
            "Equations of the scratch cells. torch: two bias vectors, GRU reset after the recurrent product; "
            "book (d2l.ai): one bias vector, GRU reset before it."
        ),
        preset=True,
    )
    embedding_size: int = setting(
        0, help="Learned input vector of each character; 0: the character itself (one-hot).", low=0, high=LARGEST_SIZE
    )
    on_top_of: Partner = option(
        "nothing",
        help="ngram: the network corrects n-grams of orders 1 to 10 of the training text, combined by a gate.",
    )
    ngrams: int = option(
        0,
        help="Largest number of n-grams, the most useful ones (0: all); for --on-top-of ngram.",
        low=0,
        high=LARGEST_SIZE,
    )
    residual: bool = setting(
        False,
        help="Residual connections: every layer above the first adds its input to its output (arXiv:1512.03385).",
        preset=True,
    )
    dropout: float = setting(0.0, help="Dropout between layers.", preset=True, low=0, high=0.95)
    output_dropout: float = setting(
        0.0,
        help="Dropout of the last layer's output, one mask a segment (variational dropout, arXiv:1512.05287).",
        preset=True,
        low=0,
        high=0.95,
    )
    recurrent_dropout: float = setting(
        0.0,
        help="DropConnect of the recurrent weights, one mask a segment (weight-dropped LSTM, arXiv:1708.02182).",
        preset=True,
        low=0,
        high=0.95,
    )
    initialisation: Literal["torch", "normal"] = setting(
        "torch",
        help=(
            "Initial weights. torch: uniform within 1/sqrt(hidden size); normal (d2l.ai): standard deviation 0.01, "
            "biases zero."
        ),
        word="init",
        preset=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.equations == "book" and self.by_torch:
            raise ConfigError(
                "equations", "is 'book', which torch.nn's layers can't compute", needs=("implementation", "scratch")
            )

    @property
    def by_torch(self) -> bool:
        """Whether torch.nn's layers compute the model: unless ``implementation`` is scratch or the cell has none."""
        return self.implementation == "torch" and bool(CELLS[self.cell].torch_layer)

    @property
    def shape(self) -> str:
        """Cell, layers and hidden size as in run names: lstm-1x128, lstm-1x128-on-ngram, lstm-1x8-on-9000-ngrams."""
        partner = f"{self.ngrams}-ngrams" if self.ngrams else self.on_top_of
        on_top = "" if self.on_top_of == "nothing" else f"-on-{partner}"
        return f"{self.cell}-{self.num_layers}x{self.hidden_size}{on_top}"
