"""What a model is made of: ModelConfig, checked when it is built and importable without torch."""

from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal

CellName = Literal["rnn", "gru", "lstm"]
Implementation = Literal["torch", "scratch"]

LARGEST_SIZE = 10**12  # no machine's memory has to be asked about more: that is what bounds a model


def option(help: str, default: Any, preset: bool = False) -> Any:
    """A configuration field with its help text; ``preset`` marks a field whose default the preset decides."""
    return field(default=default, metadata={"help": help, "preset": preset})


def option_name(field_name: str) -> str:
    """The command line's name of a field."""
    return f"--{field_name.replace('_', '-')}"


def check_range(name: str, value: float, low: float, high: float = inf, *, above: bool = False) -> None:
    """Refuse a value outside [low, high] (above=True: outside (low, high]) in words that name the option."""
    inside = -inf < value < inf and (low < value if above else low <= value) and value <= high
    if not inside:
        bound = f"above {low:,}" if above else f"at least {low:,}"
        limit = f" and at most {high:,}" if high < inf else ""
        raise ValueError(f"{option_name(name)} is {value!r}; it must be {bound}{limit}")


@dataclass(frozen=True)
class ModelConfig:
    """Shape and regularisation of one character language model. Sizes are in units (scalars per time step).

    Raises ValueError, naming the option, when a value is outside its range.
    """

    cell: CellName = option("Recurrent cell.", "lstm")
    num_layers: int = option("Recurrent layers, one on top of the other.", 1)
    hidden_size: int = option("Units of each layer.", 128)
    implementation: Implementation = option(
        "torch: torch.nn's layers; scratch: the same written out from their equations.", "torch"
    )
    equations: Literal["torch", "book"] = option(
        "Equations of the scratch cells. torch: two bias vectors, GRU reset after the recurrent product; "
        "book (d2l.ai): one bias vector, GRU reset before it.",
        "torch",
        preset=True,
    )
    embedding_size: int = option("Learned input vector of each character; 0: the character itself (one-hot).", 0)
    dropout: float = option("Dropout between layers.", 0.0, preset=True)
    output_dropout: float = option(
        "Dropout of the last layer's output, one mask a segment (variational dropout, arXiv:1512.05287).",
        0.0,
        preset=True,
    )
    recurrent_dropout: float = option(
        "DropConnect of the recurrent weights, one mask a segment (weight-dropped LSTM, arXiv:1708.02182).",
        0.0,
        preset=True,
    )
    initialisation: Literal["torch", "normal"] = option(
        "Initial weights. torch: uniform within 1/sqrt(hidden size); normal (d2l.ai): standard deviation 0.01, "
        "biases zero.",
        "torch",
        preset=True,
    )

    def __post_init__(self) -> None:
        for name, allowed in (
            ("cell", ("rnn", "gru", "lstm")),
            ("implementation", ("torch", "scratch")),
            ("equations", ("torch", "book")),
            ("initialisation", ("torch", "normal")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"--{name} is {value!r}; it must be one of {', '.join(allowed)}")
        check_range("num_layers", self.num_layers, 1, LARGEST_SIZE)
        check_range("hidden_size", self.hidden_size, 1, LARGEST_SIZE)
        check_range("embedding_size", self.embedding_size, 0, LARGEST_SIZE)
        for name in ("dropout", "output_dropout", "recurrent_dropout"):
            check_range(name, getattr(self, name), 0, 0.95)
        if self.equations == "book" and self.implementation == "torch":
            raise ValueError("--equations book is what torch.nn cannot do; add --implementation scratch")

    @property
    def shape(self) -> str:
        """Cell, layers and hidden size as the run names show them: lstm-1x128."""
        return f"{self.cell}-{self.num_layers}x{self.hidden_size}"
