"""How long a model takes to write one character: measured, beside the MACs that are counted."""

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

from models.decoding import Decoding
from models.generation import generate
from models.language_model import LanguageModel

CHARS, ROUNDS = 100, 5
WARM_UP_CHARS = 10  # that are not timed, after a model was loaded


def generation_ms_per_char(
    loads: Sequence[Callable[[], LanguageModel]],
    chars: int = CHARS,
    rounds: int = ROUNDS,
    on_round: Callable[[int, int], None] = lambda done, of: None,
) -> list[float]:
    """Wall milliseconds per character of greedy text after one prompt, on one thread: the median of ``rounds``.

    The models take turns (A B C A B C), so that what else the machine does meanwhile falls on all of them. One is in
    memory at a time: each of ``loads`` makes its model anew for each round. ``on_round`` is called after each of them
    with how many of how many rounds of all models are done.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: list[list[float]] = [[] for _ in loads]
    turns = [turn for _ in range(rounds) for turn in zip(loads, times, strict=True)]
    try:
        for done, (load, spent) in enumerate(turns, start=1):
            spent.append(_ms_per_char(load(), chars))
            on_round(done, len(turns))
    finally:
        torch.set_num_threads(threads)
    return [median(spent) for spent in times]


def _ms_per_char(model: LanguageModel, chars: int) -> float:
    for _ in generate(model, [[0]], WARM_UP_CHARS, Decoding(method="greedy")):
        pass
    began = time.perf_counter()
    written = sum(1 for _ in generate(model, [[0]], chars, Decoding(method="greedy")))
    return 1e3 * (time.perf_counter() - began) / written
