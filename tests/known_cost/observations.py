"""Inputs and noisy values to fit a model to."""

from typing import Any

import numpy as np


def observations(count: int = 12) -> tuple[Any, Any, Any]:
    """Inputs (M, 3), the middle one a category and the last the cost, with noisy values."""
    generator = np.random.default_rng(1)
    x = generator.random((count, 3))
    x[:, 1] = generator.integers(3, size=count)
    y = np.sin(4 * x[:, 0]) - 2 * x[:, 2] + (x[:, 1] == 1) + 0.05 * generator.standard_normal(count)
    return x, y, np.array([False, True, False])
