"""How the next character is chosen: Decoding, checked when it is built and importable without torch."""

from dataclasses import dataclass
from typing import Literal

from models.config import check, option

DEFAULT_LENGTH = 200  # characters that are added to a prompt where nothing is said


@dataclass(frozen=True)
class Decoding:
    """One way of turning a model's probabilities into text; models/generation.py carries it out.

    Temperature, top_k, top_p and seed belong to ``sample``, beam_width to ``beam``. Raises ConfigError for a value that
    is not allowed.
    """

    method: Literal["greedy", "sample", "beam"] = option(
        "sample",
        help=(
            "greedy: the most probable character; sample: drawn at random; beam: the most probable text found by beam "
            "search."
        ),
    )
    temperature: float = option(
        1.0, help="Divides the logits before a character is drawn: below 1 safer, above 1 wilder (sample).", above=0
    )
    top_k: int = option(0, help="Draw among the k most probable characters only; 0: among all (sample).", low=0)
    top_p: float = option(
        1.0,
        help=(
            "Draw among the fewest characters that hold this much probability (nucleus, arXiv:1904.09751); "
            "1: among all (sample)."
        ),
        above=0,
        high=1,
    )
    beam_width: int = option(4, help="Texts kept side by side (beam).", low=1, high=10_000)
    seed: int = option(0, help="Seed of the draws (sample).", low=0, high=2**63 - 1)

    def __post_init__(self) -> None:
        check(self)
