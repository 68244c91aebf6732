"""Differences in cost of two models on one text, with intervals over seeds and text.

The spread of seeds is a constant of each comparison, so that one seed has an interval too and no verdict hangs on how
many a user has trained. It is that of the five seeds of docs/data/answer.json: LSTM 1x192, The Time Machine.

Shapes: S seeds, N characters.
"""

from collections.abc import Mapping

from pipeline.support.statistics import COVERAGE, Floats, PairedComparison, Spread, paired

BOOTSTRAP_CHARS = 100  # of a block of the text in the bootstrap
SEED_SPREADS: Mapping[str, Spread] = {  # in bits per character, of what a seed differs by
    "network against n-grams": Spread(0.0067, 4),
    "mixed against n-grams": Spread(0.0037, 4),
    "on top against n-grams": Spread(0.0031, 4),
    "on top against mixed": Spread(0.0020, 4),
    "adaptive network against network": Spread(0.0023, 4),
    "adaptive network against adaptive n-grams": Spread(0.0055, 4),
    "adaptive both against adaptive n-grams": Spread(0.0030, 4),
    "n-grams against adaptive n-grams": Spread(0.0, 1),  # neither has seeds
}


def compared(key: str, first: Floats, second: Floats, coverage: float = COVERAGE) -> PairedComparison:
    """Compare costs (S, N) or (1, N) in bits per character; ``key`` is one of SEED_SPREADS.

    Where one has read more of the text, that is left out.
    """
    end = min(first.shape[1], second.shape[1])
    return paired(first[:, :end] - second[:, :end], BOOTSTRAP_CHARS, SEED_SPREADS[key], coverage)


def percent(bits: float) -> float:
    """Convert a difference in bits per character to one in perplexity, in percent: 100 (2^bits - 1)."""
    return 100 * (2**bits - 1)
