"""Differences in cost of two models on one text, with intervals over seeds and text.

Each comparison has a spread of seeds of its own, so that one seed has an interval, too. From three seeds on, the spread
of these seeds takes its place where its interval is wider: a training on another text may vary more.

Shapes: S seeds, N characters.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from models.config import ModelConfig
from pipeline.support.statistics import (
    COVERAGE,
    Floats,
    PairedComparison,
    Spread,
    estimate,
    paired,
    pooled_spread,
    wider,
)

BOOTSTRAP_CHARS = 100  # of a block of the text in the bootstrap
NO_SEEDS = Spread(0.0, 10**6)
SEED_SPREADS: Mapping[str, Spread] = {  # in bits per character, of what a seed differs by
    # Pooled over five seeds on The Time Machine and three on each of eight texts, by one processor: they count on any
    # text, for these shapes with their preset's own options.
    "network against n-grams": Spread(0.0068, 20),
    "LSTM 1x384 against n-grams": Spread(0.0074, 20),
    "mixed against n-grams": Spread(0.0038, 20),
    "on top against n-grams": Spread(0.0067, 20),
    "on top against mixed": Spread(0.0077, 20),
    "adaptive network against network": Spread(0.0176, 20),
    "adaptive network against adaptive n-grams": Spread(0.0213, 20),
    "adaptive both against adaptive n-grams": Spread(0.0091, 20),
    "n-grams against adaptive n-grams": NO_SEEDS,
    # five seeds on one text, The Time Machine: they count there only
    "LSTM 1x16 against n-grams": Spread(0.0030, 4),
    "LSTM 1x32 against n-grams": Spread(0.0104, 4),
    "LSTM 1x64 against n-grams": Spread(0.0062, 4),
    "LSTM 1x128 against n-grams": Spread(0.0048, 4),
}
MEASURED = {  # preset and shape of a network -> its comparison, on any text
    ("stream", "lstm-1x192"): "network against n-grams",
    ("stream", "lstm-1x192-on-ngram"): "on top against n-grams",
    ("best", "lstm-1x384"): "LSTM 1x384 against n-grams",
}
MEASURED_ON_ONE_TEXT = {("stream", f"lstm-1x{size}"): f"LSTM 1x{size} against n-grams" for size in (16, 32, 64, 128)}


def measured_key(model: ModelConfig, preset: str, chosen: Collection[str], is_time_machine: bool) -> str:
    """The comparison with n-grams whose spread of seeds was measured on such trainings; "" if none was.

    ``chosen`` are the options that the preset does not decide (``config.chosen_options``).
    """
    if chosen or model.implementation != "torch":
        return ""
    known = MEASURED | MEASURED_ON_ONE_TEXT if is_time_machine else MEASURED
    return known.get((preset, model.shape), "")


def network_key(shape: str) -> str:
    """The comparison of a network such as LSTM 1x32 with n-grams: its own, or that of the default network."""
    key = f"{shape} against n-grams"
    return key if key in SEED_SPREADS else "network against n-grams"


def compared(key: str, first: Floats, second: Floats, coverage: float = COVERAGE) -> PairedComparison:
    """Compare costs (S, N) or (1, N) in bits per character; ``key`` is one of SEED_SPREADS.

    Without a key, no spread is known: then the interval is that of the text alone, if these seeds are too few. Where
    one has read more of the text, that is left out.
    """
    end = min(first.shape[1], second.shape[1])
    differences = first[:, :end] - second[:, :end]
    spread = wider(SEED_SPREADS.get(key, NO_SEEDS), [differences.mean(axis=1)], coverage)
    return paired(differences, BOOTSTRAP_CHARS, spread, coverage)


def are_level(first: Sequence[float], second: Sequence[float], every: Sequence[Sequence[float]]) -> bool | None:
    """Whether two configurations, by their perplexities of each seed, differ by no more than seeds do (95 %).

    The spread is pooled over ``every`` configuration on the text. One seed, or a single degree of freedom, has no
    verdict: None.
    """
    deviation, degrees = pooled_spread([np.log2(each) for each in every])
    if deviation is None or degrees < 2 or min(len(first), len(second)) < 2:
        return None
    of_means = Spread(deviation * (1 / len(first) + 1 / len(second)) ** 0.5, degrees)
    change = float(np.log2(first).mean() - np.log2(second).mean())
    return abs(change) <= estimate([change], logarithmic=False, spread=of_means).half


def percent(bits: float) -> float:
    """Convert a difference in bits per character to one in perplexity, in percent: 100 (2^bits - 1)."""
    return 100 * (2**bits - 1)
