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
from statistics import fmean

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
from pipeline.training.differences import NO_SEEDS, SEED_SPREADS, percent
from tests.figures import read_csv

RECIPE = 7
TEXTS = {  # name in texts.csv -> in tables; the first is exploratory, all others are confirmatory
    "time-machine": "The Time Machine (exploratory)",
    "persuasion": "Persuasion",
    "gospels": "the Gospels",
    "elpa-markdown-mode": "markdown-mode, source code",
    "debian-policy": "Debian Policy",
    "blends-doc": "Debian Pure Blends",
    "debmake-doc": "Guide for Maintainers, Russian",
    "sendmail-doc": "sendmail FAQ",
    "nvi-doc": "vi reference",
}
POPULATION = list(TEXTS)[1:]
SYSTEMS = {  # in systems.csv -> in tables
    "n-grams": "n-grams",
    "word n-grams": "with words and skips",
    "network": "default",
    "best": "`--preset best`",
    "mixed": "both",
    "on top": "on top",
}
DIFFERENCES = {  # heading -> systems
    "default": ("network", "n-grams"),
    "best": ("best", "n-grams"),
    "both": ("mixed", "n-grams"),
    "on top": ("on top", "n-grams"),
    "on top against both": ("on top", "mixed"),
    "adaptive": ("adaptive both", "adaptive n-grams"),
}
FURTHER = {  # heading -> systems, in a table of their own
    "untaught": ("untaught", "n-grams"),
    "untaught against default": ("untaught", "network"),
    "words and skips": ("word n-grams", "n-grams"),
    "best against them": ("best", "word n-grams"),
    "both against them": ("mixed", "word n-grams"),
    "on top against them": ("on top", "word n-grams"),
}
PAIRS = (
    ("best", "network"),
    ("mixed", "network"),
    ("mixed", "best"),
    ("on top", "network"),
    ("on top", "best"),
    ("network", "word n-grams"),
)
RIVAL_TEXTS = {"time-machine": "The Time Machine", "devref-fr": "Developer's Reference, French"}
RIVALS = {"default": "LSTM 1x192, the default", "transformer": "transformer", "minGRU": "minGRU"}
OLD = {  # the deviations of seeds by which recipe 6 was judged, of 4 degrees of freedom
    "default": 0.0067,
    "best": 0.0067,
    "both": 0.0037,
    "on top": 0.0031,
    "on top against both": 0.0020,
    "adaptive": 0.0030,
}
DRAWS = 40_000


@cache
def bits_by_seed(text: str, system: str, recipe: int = RECIPE) -> np.ndarray:
    """The bits per character of a system by seed: one of what has no seeds."""
    key = (text, system, str(recipe))
    rows = [row for row in read_csv("systems.csv") if (row["text"], row["system"], row["recipe"]) == key]
    return np.log2([float(row["test_perplexity"]) for row in rows])


def differences(text: str, first: str, second: str, recipe: int = RECIPE) -> np.ndarray:
    """By how many bits per character a system is above another, by seed."""
    above: np.ndarray = bits_by_seed(text, first, recipe) - bits_by_seed(text, second, recipe)
    return above


@cache
def pooled(first: str, second: str) -> Spread:
    """The spread of seeds of a comparison, pooled over all texts; of the ablation of on top, that of the program."""
    if second == "small on top":
        return SEED_SPREADS["on top against mixed"]
    if {first, second} == {"word n-grams", "n-grams"}:
        return NO_SEEDS
    return pooled_spread([differences(text, first, second) for text in TEXTS])


@cache
def comparison(text: str, first: str, second: str, recipe: int = RECIPE) -> PairedComparison:
    """The recorded comparison of two systems in bits per character, its intervals of 99 % by today's spreads of seeds.

    Raises ValueError where there is none.
    """
    key = (text, first, second, str(recipe))
    rows = read_csv("compared.csv")
    (row,) = [row for row in rows if (row["text"], row["first"], row["second"], row["recipe"]) == key]
    by_seed = differences(text, first, second, recipe)
    spread = wider(pooled(first, second), [by_seed], COVERAGE)
    seeds = estimate(by_seed.tolist(), logarithmic=False, spread=spread, coverage=COVERAGE)
    low, high = (float(np.log2(1 + float(row[f"text_{end}"]) / 100)) for end in ("low", "high"))
    return over_seeds_and_text(seeds, Estimate(seeds.mean, low, high), spread.degrees_of_freedom)


def cell(found: PairedComparison) -> str:
    """A difference in percent of perplexity with the ends of its interval; where both are level, what is detectable."""
    assert found.over_both.ends
    mean, low, high = (f"{percent(each):+.1f}" for each in (found.over_both.mean, *found.over_both.ends))
    level = f"; level, detectable {percent(found.detectable(COVERAGE)):.1f}" if found.verdict == "open" else ""
    return f"{mean.replace('-0.0', '+0.0')} ({low} to {high}{level})"


def population(first: str, second: str) -> PairedComparison:
    """The mean difference over the texts that no choice was made on: each text's mean over its seeds is one value."""
    means = [float(differences(text, first, second).mean()) for text in POPULATION]
    found = estimate(means, logarithmic=False, coverage=COVERAGE)
    return PairedComparison(found, found, found, len(means) - 1)


def population_line() -> str:
    """The sentence of README on the mean over the texts that no choice was made on."""
    told = {heading: cell(population(*systems)) for heading, systems in (DIFFERENCES | FURTHER).items()}
    return (
        f"In the mean over the eight, against the n-grams in %, n-grams with word and skip contexts have "
        f"{told['words and skips']}, the default {told['default']}, `--preset best` {told['best']}, both "
        f"{told['both']}, on top {told['on top']}, and both that go on learning while they read, against n-grams that "
        f"do so too, {told['adaptive']}; both against the n-grams with word and skip contexts have "
        f"{told['both against them']}."
    )


def difference_rows(compared: Mapping[str, tuple[str, str]] = DIFFERENCES) -> list[tuple[str, ...]]:
    """A row of cells for each text, and one for their population."""
    systems = compared.values()
    rows = [(name, *(cell(comparison(text, *each)) for each in systems)) for text, name in TEXTS.items()]
    return [*rows, ("**mean of the eight**", *(cell(population(*each)) for each in systems))]


def perplexity_rows() -> list[tuple[str, ...]]:
    """The mean test perplexities of each text: in bold the lowest, and all that are level with it."""
    rows = []
    for text, name in TEXTS.items():
        means = {system: 2 ** bits_by_seed(text, system).mean() for system in SYSTEMS}
        lowest = min(means, key=means.__getitem__)
        bold = {system for system in means if system == lowest or is_open(text, system, lowest)}
        rows.append((name, *(f"**{mean:.3f}**" if each in bold else f"{mean:.3f}" for each, mean in means.items())))
    return rows


RIVAL_HEADS = (
    "text",
    "network",
    "validation",
    "test",
    "trials",
    "learning rate, dropout, context",
    "CPU s",
    "characters read",
    "parameters",
    "MACs",
)


def rival_rows() -> list[tuple[str, ...]]:
    """The rivals in the CPU seconds of the default network: means and ranges of three seeds, and what they cost."""
    found: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in read_csv("rivals.csv"):
        found.setdefault((row["text"], row["model"]), []).append(row)
    rows = []
    for (text, model), trainings in found.items():
        final = [row for row in trainings if float(row["test_perplexity"])]
        perplexities = ([float(row[f"{split}_perplexity"]) for row in final] for split in ("val", "test"))
        quality = (f"{fmean(each):.3f} ({min(each):.3f} to {max(each):.3f})" for each in perplexities)
        seconds, chars = (fmean(float(row[name]) for row in final) for name in ("cpu_seconds", "chars_read"))
        chosen = ", ".join(f"{float(final[0][name]):g}" for name in ("learning_rate", "dropout", "context"))
        rows.append(
            (
                RIVAL_TEXTS[text],
                RIVALS[model],
                *quality,
                str(len(trainings) - len(final) or ""),
                "" if model == "default" else chosen,
                f"{seconds:.0f}",
                f"{chars / 1e6:.1f} M",
                *(f"{int(final[0][name]):,}" for name in ("parameters", "macs_per_char")),
            )
        )
    return rows


def is_open(text: str, one: str, other: str) -> bool:
    """Whether two systems are level on a text, in whichever order they were compared."""
    recorded = {*DIFFERENCES.values(), *FURTHER.values(), *PAIRS}
    return comparison(text, *((one, other) if (one, other) in recorded else (other, one))).verdict == "open"


def coverage(text: str, heading: str, known: Spread, draws: np.random.Generator, *, is_new: bool) -> Iterator[float]:
    """The share of intervals of 99 % that contain the true difference: as recorded, and with an uncertain spread.

    ``known`` is the spread of seeds; ``is_new``: that of the drawn seeds counts where it is wider.
    """
    first, second = DIFFERENCES[heading]
    recorded = differences(text, first, second)
    over_text, seeds = comparison(text, first, second).over_text, len(recorded)
    own, deviation = float(recorded.std(ddof=1)), over_text.half / float(ndtri((1 + COVERAGE) / 2))
    uncertain = own * ((seeds - 1) / draws.chisquare(seeds - 1, DRAWS)) ** 0.5
    t_known, t_own = (half_of(1.0, degrees) for degrees in (known.degrees_of_freedom, seeds - 1))
    for spread in (np.full(DRAWS, own), uncertain):
        means = draws.normal(0.0, spread[:, None], (DRAWS, seeds))
        half = np.full(DRAWS, t_known * (known.deviation or 0.0))
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
            known = pooled(*systems) if is_new else Spread(OLD[heading], 4)
            recorded, uncertain = coverage(text, heading, known, draws, is_new=is_new)
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
        sys.stdout.write(f"{markdown_table(('test perplexity', *SYSTEMS.values()), perplexity_rows())}\n\n")
        sys.stdout.write(f"{markdown_table(('against n-grams, in %', *DIFFERENCES), difference_rows())}\n\n")
        sys.stdout.write(f"{markdown_table(('in %', *FURTHER), difference_rows(FURTHER))}\n\n")
        sys.stdout.write(f"{population_line()}\n\n")
        sys.stdout.write(f"{markdown_table(RIVAL_HEADS, rival_rows())}\n")


if __name__ == "__main__":
    main()
