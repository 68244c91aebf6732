"""What docs say of networks and n-grams on texts: differences, the population line, and whether their intervals hold.

    python -m tests.benchmarks.claims
    python -m tests.benchmarks.claims --coverage

Prints tables of results.md from docs/data (systems.csv, compared.csv). With ``--coverage``, it prints for each text and
comparison how often the interval of 99 % contains the true difference, by simulation: the seeds are normal, with the
standard deviation of the recorded ones or, in parentheses, one drawn from its posterior (S - 1 degrees of freedom); the
text's mean is normal, with the deviation of its bootstrap. The old rule has the spread of The Time Machine's five seeds
for all texts.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
from scipy.special import ndtri

from pipeline.answer.findings import COVERAGE
from pipeline.support.markdown import markdown_table
from pipeline.support.statistics import (
    Estimate,
    PairedComparison,
    Spread,
    estimate,
    over_seeds_and_text,
    pooled_spread,
    wider,
)
from pipeline.training.differences import SEED_SPREADS, network_key, percent
from tests.figures import read_csv

RECIPE = 6
TEXTS = {  # name in texts.csv -> in tables
    "time-machine": "The Time Machine",
    "persuasion": "Persuasion",
    "gospels": "the Gospels",
    "faq-de": "the Debian FAQ",
    "devref-fr": "the Developer's Reference",
}
DIFFERENCES = {  # heading -> systems
    "default": ("network", "n-grams"),
    "best": ("best", "n-grams"),
    "both": ("mixed", "n-grams"),
    "on top": ("on top", "n-grams"),
    "on top against both": ("on top", "mixed"),
    "adaptive": ("adaptive both", "adaptive n-grams"),
}
OLD = {  # the deviations of seeds by which recipe 6 was judged, of 4 degrees of freedom
    "default": 0.0067,
    "best": 0.0067,
    "both": 0.0037,
    "on top": 0.0031,
    "on top against both": 0.0020,
    "adaptive": 0.0030,
}
DRAWS = 40_000


def key_of(first: str, second: str) -> str:
    """The comparison whose spread of seeds is that of two systems."""
    if first == "best":
        return network_key("LSTM 1x384")
    return "on top against mixed" if second == "small on top" else f"{first} against {second}"


@cache
def bits_by_seed(text: str, system: str, recipe: int = RECIPE) -> np.ndarray:
    """The bits per character of a system by seed: one of what has no seeds."""
    key = (text, system, str(recipe))
    rows = [row for row in read_csv("systems.csv") if (row["text"], row["system"], row["recipe"]) == key]
    return np.log2([float(row["test_perplexity"]) for row in rows])


@cache
def comparison(text: str, first: str, second: str, recipe: int = RECIPE) -> PairedComparison:
    """The recorded comparison of two systems in bits per character, its intervals of 99 % by today's spreads of seeds.

    Raises ValueError where there is none.
    """
    key = (text, first, second, str(recipe))
    rows = read_csv("compared.csv")
    (row,) = [row for row in rows if (row["text"], row["first"], row["second"], row["recipe"]) == key]
    differences = bits_by_seed(text, first, recipe) - bits_by_seed(text, second, recipe)
    spread = wider(SEED_SPREADS[key_of(first, second)], pooled_spread([differences]), COVERAGE)
    seeds = estimate(differences.tolist(), logarithmic=False, spread=spread, coverage=COVERAGE)
    low, high = (float(np.log2(1 + float(row[f"text_{end}"]) / 100)) for end in ("low", "high"))
    return over_seeds_and_text(seeds, Estimate(seeds.mean, low, high), spread.degrees_of_freedom)


def cell(found: PairedComparison) -> str:
    """A difference in percent of perplexity with the ends of its interval; where both are level, what is detectable."""
    assert found.over_both.ends
    mean, low, high = (
        f"{percent(each):+.1f}".replace("-0.0", "+0.0") for each in (found.over_both.mean, *found.over_both.ends)
    )
    detectable = percent(found.detectable(COVERAGE) or 0.0)
    return f"{mean} ({low} to {high}{f'; level, detectable {detectable:.1f}' if found.verdict == 'open' else ''})"


def difference_rows(columns: Mapping[str, tuple[str, str]] = DIFFERENCES) -> list[tuple[str, ...]]:
    """A row of cells for each text."""
    return [(name, *(cell(comparison(text, *systems)) for systems in columns.values())) for text, name in TEXTS.items()]


def coverage(text: str, heading: str, pooled: Spread, draws: np.random.Generator, *, is_new: bool) -> Iterator[float]:
    """The share of intervals of 99 % that contain the true difference: as recorded, and with an uncertain spread.

    ``pooled`` is the spread of seeds; ``is_new``: that of the drawn seeds counts where it is wider.
    """
    first, second = DIFFERENCES[heading]
    recorded = bits_by_seed(text, first) - bits_by_seed(text, second)
    over_text, seeds = comparison(text, first, second).over_text, len(recorded)
    own, deviation = float(recorded.std(ddof=1)), over_text.half / float(ndtri((1 + COVERAGE) / 2))
    uncertain = own * ((seeds - 1) / draws.chisquare(seeds - 1, DRAWS)) ** 0.5
    t_pooled, t_own = (half_of(1.0, degrees) for degrees in (pooled.degrees_of_freedom, seeds - 1))
    for spread in (np.full(DRAWS, own), uncertain):
        means = draws.normal(0.0, spread[:, None], (DRAWS, seeds))
        half = np.full(DRAWS, t_pooled * (pooled.deviation or 0.0))
        if is_new:
            half = np.maximum(half, t_own * means.std(axis=1, ddof=1))
        errors = means.mean(axis=1) + draws.normal(0.0, deviation, DRAWS)
        yield float((np.abs(errors) <= np.hypot(half / seeds**0.5, over_text.half)).mean())


def half_of(deviation: float, degrees_of_freedom: int) -> float:
    """Half the width of the interval of a single value."""
    return estimate([0.0], logarithmic=False, spread=Spread(deviation, degrees_of_freedom), coverage=COVERAGE).half


def coverage_rows(*, is_new: bool) -> list[tuple[str, ...]]:
    """The coverage in percent for each text and comparison, by the new or the old rule."""
    draws, rows = np.random.default_rng(0), []
    for text, name in TEXTS.items():
        cells = []
        for heading, systems in DIFFERENCES.items():
            pooled = SEED_SPREADS[key_of(*systems)] if is_new else Spread(OLD[heading], 4)
            recorded, uncertain = coverage(text, heading, pooled, draws, is_new=is_new)
            cells.append(f"{100 * recorded:.1f} ({100 * uncertain:.1f})")
        rows.append((name, *cells))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coverage", action="store_true", help="simulate how often the intervals hold")
    if parser.parse_args().coverage:
        for is_new in (False, True):
            heading = f"coverage by the {'new' if is_new else 'old'} rule, in %"
            sys.stdout.write(f"{markdown_table((heading, *DIFFERENCES), coverage_rows(is_new=is_new))}\n\n")
    else:
        sys.stdout.write(f"{markdown_table(('against n-grams, in %', *DIFFERENCES), difference_rows())}\n")


if __name__ == "__main__":
    main()
