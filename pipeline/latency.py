"""How long a model takes to write one character: measured, beside the MACs that are counted."""

import time
from collections.abc import Sequence
from statistics import median

import torch

from models.decoding import Decoding
from models.generation import generate
from models.language_model import LanguageModel

CHARS, ROUNDS = 100, 5


def generation_ms_per_char(models: Sequence[LanguageModel], chars: int = CHARS, rounds: int = ROUNDS) -> list[float]:
    """Wall milliseconds per character of greedy text after one prompt, on one thread: the median of ``rounds``.

    The models take turns (A B C A B C), so that what else the machine does meanwhile falls on all of them.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: list[list[float]] = [[] for _ in models]
    try:
        for _ in range(rounds + 1):  # the first round warms up
            for model, spent in zip(models, times, strict=True):
                began = time.perf_counter()
                written = sum(1 for _ in generate(model, [[0]], chars, Decoding(method="greedy")))
                spent.append(1e3 * (time.perf_counter() - began) / written)
    finally:
        torch.set_num_threads(threads)
    return [median(spent[1:]) for spent in times]
