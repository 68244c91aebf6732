"""Candidates for a Pareto front: a few with known picks."""

from math import inf

from pipeline.search.front import Candidate


def sizes_of(macs, parameters):
    """The sizes of a model that is not on top of n-grams."""
    return {"macs_per_char": macs, "parameters": parameters, "stored_numbers": parameters}


def candidate(name, macs, *val, test=None):
    test = tuple(1.02 * value for value in val if value < inf) if test is None else test
    runs = tuple(f"{name}-s{i}" for i in range(len(val)))
    return Candidate(name, "gru", 1, 64, sizes_of(macs, macs - 100), runs, val, test)


TINY = candidate("tiny", 1_000, 9.0, 9.2, 9.1)
KNEE = candidate("knee", 10_000, 5.0, 4.9, 5.1)
LEAN = candidate("lean", 100_000, 4.61, 4.60, 4.62)
BEST = candidate("best", 800_000, 4.42, 4.41, 4.40)
WORSE = candidate("worse", 50_000, 6.0)
ALL = (BEST, WORSE, TINY, LEAN, KNEE)
