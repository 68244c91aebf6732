"""What is read of a text for the report, of windows: that of the book is tested with the open data."""

from math import log

import numpy as np
import pytest

from models.ngram import KneserNey
from pipeline.report.text_facts import costs_of_windows


def test_a_window_starts_without_context_by_models_of_lower_orders():
    ids = np.random.default_rng(0).integers(0, 4, 400)
    rest, length, order = ids[300:], 8, 4
    fitted = {n: KneserNey(ids[:300], 4, n) for n in range(1, order + 1)}
    by_hand = [
        np.mean([fitted[min(t + 1, order)].log2_probabilities(rest[start : start + t + 1])[-1] for t in range(1, 9)])
        for start in range(len(rest) - length)
    ]
    assert costs_of_windows(fitted[order], rest, length) == pytest.approx(-log(2) * np.array(by_hand))
