"""Plan the networks that are trained to answer the question on a text, and the training budget of each.

All follow the preset stream, whose defaults depend on the shape, the text and the budget.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

from models.config import ModelConfig
from pipeline.config import BUDGET_CHARS, SHAPES, TEXT_CHARS, USUAL_MINUTES, TrainConfig, resolve

Family = Literal["text", "size", "on top"]
"""How a network differs from the default one: in its text or size, or by correcting n-grams (on top)."""

SMALLEST_TEXT, MOST_TEXTS = 10_000, 4  # learning curves: characters of the shortest text, number of texts
STEP, LAST_STEP = 4, 1.4  # ratio of one text to the next (its powers on long texts); smallest ratio of the last step
HIDDEN_SIZES = (16, 32, 64, 128)
ON_TOP_CHARS = {8: 1_000_000, 32: 2_000_000, 192: 8_500_000}  # hidden size -> characters to train on


@dataclass(frozen=True)
class Planned:
    """A network to train with every seed (``train`` has seed 0); ``text_chars`` are those of its training text."""

    family: Family
    text_chars: int
    model: ModelConfig
    train: TrainConfig


def text_sizes(train_chars: int) -> list[int]:
    """The training characters of the learning curves: 10,000, 40,000, ... and all; in larger steps for a long text."""
    step = STEP
    while SMALLEST_TEXT * step ** (MOST_TEXTS - 1) < train_chars / LAST_STEP:
        step *= STEP
    sizes = [SMALLEST_TEXT * step**number for number in range(MOST_TEXTS - 1)]
    return [*(size for size in sizes if size < train_chars / LAST_STEP), train_chars]


def planned(train_chars: int, minutes: float = USUAL_MINUTES) -> list[Planned]:
    """All networks for a text with ``train_chars`` training characters; the default network is among them once.

    ``minutes`` scales all budgets, which take about USUAL_MINUTES by default.
    """
    budget, default = BUDGET_CHARS["stream"], SHAPES["stream"]

    def network(family: Family, chars: float, limit: int = 0, **options: Any) -> Planned:
        budget_chars = max(1, round(chars * minutes / USUAL_MINUTES))
        given = {**default, "budget_chars": budget_chars, "train_chars": limit, **options}
        return Planned(family, limit or train_chars, *resolve(given, train_chars))

    *parts, _ = text_sizes(train_chars)
    return [
        *(network("text", budget * min(1.0, sqrt(part / TEXT_CHARS)), part) for part in parts),
        network("text", budget),
        *(network("size", budget, hidden_size=size) for size in HIDDEN_SIZES),
        *(network("on top", chars, hidden_size=size, on_top_of="ngram") for size, chars in ON_TOP_CHARS.items()),
    ]
