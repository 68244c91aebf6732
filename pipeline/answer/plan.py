"""Plan the networks that are trained to answer the question on a text, and the training budget of each.

All follow the preset stream, whose defaults depend on the shape, the text and the budget.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Literal

from models.config import ModelConfig
from pipeline.config import BUDGET_CHARS, SHAPES, TEXT_CHARS, TrainConfig, resolve
from pipeline.training.adaptive import FITTED_CHARS, SCALE_STEPS
from pipeline.training.timing import CHARS, ROUNDS

Family = Literal["text", "size", "on top"]
"""How a network differs from the default one: in its text or size, or by correcting n-grams (on top)."""

MOST_TEXTS = 4  # of the learning curves
STEP, LAST_STEP = 4, 1.4  # ratio of one text to the next (its powers on long texts); smallest ratio of the last step


@dataclass(frozen=True)
class AnswerPlan:
    """What an answer trains and what it measures: by default, what the command does."""

    shape: Mapping[str, Any] = field(default_factory=lambda: SHAPES["stream"])  # of the default network
    smallest_text: int = 10_000  # characters of the shortest text of the learning curves
    hidden_sizes: Sequence[int] = (16, 32, 64, 128)
    # of networks on top of n-grams: hidden size -> characters to train on
    on_top_chars: Mapping[int, int] = field(default_factory=lambda: {8: 1_000_000, 32: 2_000_000, 192: 8_500_000})
    adapted_chars: int = 50_000  # of the test text, read adaptively
    fitted_chars: int = FITTED_CHARS  # of the validation text, on which adaptive models choose rate and weights
    scale_steps: int = SCALE_STEPS
    pruned_orders: Sequence[int] = (5, 6, 7)
    timed_chars: int = CHARS
    timings: int = ROUNDS  # of each model


DEFAULT_PLAN = AnswerPlan()


@dataclass(frozen=True)
class Planned:
    """A network to train with every seed (``train`` has seed 0); ``text_chars`` are those of its training text."""

    family: Family
    text_chars: int
    model: ModelConfig
    train: TrainConfig


def text_sizes(train_chars: int, smallest: int = DEFAULT_PLAN.smallest_text) -> list[int]:
    """The training characters of the learning curves: ``smallest``, STEP times as many, ... and all."""
    step = STEP
    while smallest * step ** (MOST_TEXTS - 1) < train_chars / LAST_STEP:
        step *= STEP
    sizes = [smallest * step**number for number in range(MOST_TEXTS - 1)]
    return [*(size for size in sizes if size < train_chars / LAST_STEP), train_chars]


def planned(train_chars: int, symbols: int, scale: float = 1.0, plan: AnswerPlan = DEFAULT_PLAN) -> list[Planned]:
    """All networks for a text with so many training characters and symbols; the default network is among them once.

    ``scale`` scales the budgets of all.
    """
    budget = BUDGET_CHARS["stream"]

    def network(family: Family, chars: float, limit: int = 0, **options: Any) -> Planned:
        budget_chars = max(1, round(chars * scale))
        given = {**plan.shape, "budget_chars": budget_chars, "train_chars": limit, **options}
        return Planned(family, limit or train_chars, *resolve(given, train_chars, symbols))

    *parts, _ = text_sizes(train_chars, plan.smallest_text)
    return [
        *(network("text", budget * min(1.0, sqrt(part / TEXT_CHARS)), part) for part in parts),
        network("text", budget),
        *(network("size", budget, hidden_size=size) for size in plan.hidden_sizes),
        *(network("on top", chars, hidden_size=size, on_top_of="ngram") for size, chars in plan.on_top_chars.items()),
    ]
