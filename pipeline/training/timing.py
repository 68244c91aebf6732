"""Measure how long models take to generate a character on this machine."""

import time
from collections.abc import Callable, Sequence
from statistics import median

from models.config import Decoding
from models.gated_ngrams import NGramModel, one_thread
from models.generation import generate
from models.language_model import LanguageModel

CHARS, ROUNDS = 100, 5  # generated characters of a timing, and timings of each model
Timed = NGramModel | Callable[[], LanguageModel]


@one_thread()
def generation_ms_per_char(
    models: Sequence[Timed], did: Callable[[float], None] = lambda part: None, chars: int = CHARS, rounds: int = ROUNDS
) -> list[float]:
    """Wall-clock milliseconds per greedily generated character on one thread, for each model: the median of ``rounds``.

    The models take turns (A B C A B C), so that other load on the machine affects all of them. One network is in memory
    at a time: its function loads it again in each round. A first round is not timed. ``did`` gets parts of each.
    """
    times: list[list[float]] = [[] for _ in models]
    for _ in range(rounds + 1):
        for model, spent in zip(models, times, strict=True):
            spent.append(1e3 * _writing_seconds(model if isinstance(model, NGramModel) else model(), chars) / chars)
            did(1 / (rounds + 1))
    return [median(spent[1:]) for spent in times]


def _writing_seconds(model: NGramModel | LanguageModel, chars: int) -> float:
    began = time.perf_counter()
    if isinstance(model, NGramModel):
        text = [0]
        for _ in range(chars):
            context = text[-(model.tables.order - 1) :] if model.tables.order > 1 else []
            text.append(int(model.log_probabilities([*context, 0], len(context)).argmax()))
    else:
        for _ in generate(model, [[0]], chars, Decoding(method="greedy")):
            pass
    return time.perf_counter() - began
