"""Which networks are trained for an answer."""

import pytest

from pipeline.answer.plan import planned, text_sizes
from pipeline.config import BUDGET_CHARS, resolve


@pytest.mark.parametrize(
    ("characters", "sizes"),
    [
        (900, [900]),
        (156_000, [10_000, 40_000, 156_000]),
        (1_003_854, [10_000, 160_000, 1_003_854]),
        (10_800_000, [10_000, 160_000, 2_560_000, 10_800_000]),
    ],
)
def test_learning_curves_have_at_most_four_texts_in_equal_steps_and_end_with_all(characters, sizes):
    assert text_sizes(characters) == sizes


def test_the_default_network_is_planned_once_as_a_single_training_has_it():
    (default,) = (each for each in planned(156_000, 28) if each.family == "text" and each.text_chars == 156_000)
    assert (default.model, default.train) == resolve({"budget_chars": BUDGET_CHARS["stream"]}, 156_000)
