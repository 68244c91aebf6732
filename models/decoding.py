"""How the next character is chosen: Decoding, checked when it is built and importable without torch."""

from dataclasses import dataclass
from typing import Literal

from models.config import check_range, option

METHODS = ("greedy", "sample", "beam")
DEFAULT_LENGTH = 200  # characters that are added to a prompt where nothing is said


@dataclass(frozen=True)
class Decoding:
    """One way of turning a model's probabilities into text; models/generation.py carries it out.

    Temperature, top_k, top_p and seed belong to ``sample``, beam_width to ``beam``. Raises ValueError, naming the
    option, when a value is outside its range.
    """

    method: Literal["greedy", "sample", "beam"] = option(
        "greedy: the most probable character; sample: drawn at random; beam: the most probable text found by beam "
        "search.",
        "sample",
    )
    temperature: float = option(
        "Divides the logits before a character is drawn: below 1 safer, above 1 wilder (sample).", 1.0
    )
    top_k: int = option("Draw among the k most probable characters only; 0: among all (sample).", 0)
    top_p: float = option(
        "Draw among the fewest characters that hold this much probability (nucleus, arXiv:1904.09751); "
        "1: among all (sample).",
        1.0,
    )
    beam_width: int = option("Texts kept side by side (beam).", 4)
    seed: int = option("Seed of the draws (sample).", 0)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"--method is {self.method!r}; it must be one of {', '.join(METHODS)}")
        check_range("temperature", self.temperature, 0, above=True)
        check_range("top_k", self.top_k, 0)
        check_range("top_p", self.top_p, 0, 1, above=True)
        check_range("beam_width", self.beam_width, 1, 10_000)
        check_range("seed", self.seed, 0, 2**63 - 1)
