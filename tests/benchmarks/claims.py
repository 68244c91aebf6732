"""What docs say of networks and n-grams on texts: differences, their means, and whether their intervals hold.

    python -m tests.benchmarks.claims
    python -m tests.benchmarks.claims --coverage

Prints tables and sentences of README and results.md from docs/data (systems.csv, compared.csv). With ``--coverage``, it
prints for each text and comparison how often the interval of 99 % contains the true difference, by simulation: the
seeds are normal, with the standard deviation of the recorded ones or, in parentheses, one drawn from its posterior (S -
1 degrees of freedom); the text's mean is normal, with the deviation of its bootstrap. The old rule has the spread of
The Time Machine's five seeds for all texts.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from statistics import fmean

import numpy as np
from scipy.special import ndtri
from scipy.stats import ttest_1samp, wilcoxon

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
TEXTS = {  # name in texts.csv -> in tables; the first is exploratory, all others are held out
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
HELD_OUT = list(TEXTS)[1:]
DRAWN = HELD_OUT[2:]  # from Debian packages by the rule of texts.py, and read once, when recipe 7 was fixed
COUNTS = "none", "one", "two", "three", "four", "five", "six", "seven", "eight"
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
    "default against them": ("network", "word n-grams"),
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
)
COMPARED = (*DIFFERENCES.values(), *FURTHER.values(), *PAIRS)
KINDS = {"against n-grams": "n-grams", "against n-grams with words and skips": "word n-grams"}
SUMMARISED = {  # rows of README's table of means
    "n-grams with words and skips": "word n-grams",
    "default": "network",
    "`--preset best`": "best",
    "both": "mixed",
    "on top": "on top",
}
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


def signed(bits: float) -> str:
    """A difference in percent of perplexity."""
    return f"{percent(bits):+.1f}"


def ends(found: Estimate) -> str:
    """The ends of an interval in percent of perplexity."""
    assert found.ends
    return " to ".join(map(signed, found.ends))


def interval(found: PairedComparison) -> str:
    """A difference in percent of perplexity with the ends of its interval."""
    return f"{signed(found.over_both.mean).replace('-0.0', '+0.0')} ({ends(found.over_both)})"


def cell(found: PairedComparison) -> str:
    """A difference with its interval; where that includes zero ("level"), what is detectable."""
    if found.verdict != "open":
        return interval(found)
    return f"{interval(found)[:-1]}; level, detectable {percent(found.detectable(COVERAGE)):.1f})"


def mean_differences(first: str, second: str, texts: Sequence[str]) -> list[float]:
    """The difference of two systems on each text: the mean over its seeds."""
    return [float(differences(text, first, second).mean()) for text in texts]


def population(first: str, second: str, texts: Sequence[str] = HELD_OUT) -> PairedComparison:
    """The mean difference over texts, each of which is one value, with Student's t interval."""
    found = estimate(mean_differences(first, second, texts), logarithmic=False, coverage=COVERAGE)
    return PairedComparison(found, found, found, len(texts) - 1)


def p_values(means: Sequence[float]) -> tuple[float, float]:
    """Those of the paired t test and of Wilcoxon's signed-rank test (exact), from the differences on each text."""
    return float(ttest_1samp(means, 0.0).pvalue), float(wilcoxon(means, method="exact").pvalue)


def verdict() -> str:
    """The first sentences of README and results.md on what was measured on held-out texts."""
    default = population("network", "n-grams").over_both
    strongest = population("network", "word n-grams").over_both
    best = population("best", "n-grams").over_both
    best_against_strongest = population("best", "word n-grams").over_both
    together = [population(system, kind).over_both.mean for system in ("mixed", "on top") for kind in KINDS.values()]
    smallest, largest = -percent(max(together)), -percent(min(together))
    by_t, by_wilcoxon = p_values(mean_differences("network", "n-grams", HELD_OUT))
    return (
        f"Alone, the default network is worse than the n-grams: by {percent(default.mean):.1f} % in the mean of "
        f"{COUNTS[len(HELD_OUT)]} held-out texts, with the higher perplexity on {worse_on('network', 'n-grams')} of "
        f"them (paired t test p = {by_t:.2f}, Wilcoxon's test p = {by_wilcoxon:.2f}; 99 % interval {ends(default)} %), "
        f"and by {percent(strongest.mean):.1f} % ({ends(strongest)} %), on {worse_on('network', 'word n-grams')} of "
        f"them, against the strongest n-grams measured here, those with word and skip contexts. `--preset best` is "
        f"better than the n-grams ({signed(best.mean)} %, {ends(best)} %), with no significant difference from the "
        f"strongest ({signed(best_against_strongest.mean)} %, {ends(best_against_strongest)} %). Network and n-grams "
        f"together are better than either kind of n-grams, by {smallest:.1f} to {largest:.1f} %."
    )


def worse_on(first: str, second: str) -> str:
    """On how many of the held-out texts a system has the higher perplexity, in words."""
    number = sum(each > 0 for each in mean_differences(first, second, HELD_OUT))
    return "all" if number == len(HELD_OUT) else COUNTS[number]


def of_drawn() -> str:
    """The sentence of results.md on the texts on which no choice was made in any sense."""
    told = []
    for texts in (DRAWN, HELD_OUT):
        each, strongest = (population("network", kind, texts).over_both for kind in KINDS.values())
        told.append(
            f"{percent(each.mean):.1f} % worse than the n-grams ({ends(each)} %) and {percent(strongest.mean):.1f} % "
            f"worse than those with words and skips ({ends(strongest)} %)"
        )
    return f"In the mean of the {COUNTS[len(DRAWN)]} alone, the default is {told[0]}; of all eight, {told[1]}."


def summary_rows() -> list[tuple[str, ...]]:
    """README's table of mean differences in percent over the held-out texts, against each kind of n-grams."""
    rows = []
    for name, system in SUMMARISED.items():
        rows.append((name, *(interval(population(system, kind)) if system != kind else "" for kind in KINDS.values())))
    dynamic = interval(population(*DIFFERENCES["adaptive"]))
    return [*rows, ("both, dynamic, against dynamic n-grams", dynamic, "")]


def difference_rows(compared: Mapping[str, tuple[str, str]] = DIFFERENCES) -> list[tuple[str, ...]]:
    """A row of cells for each text, one for the mean of those held out, and one for that of those drawn by a rule."""
    systems = compared.values()
    rows = [(name, *(cell(comparison(text, *each)) for each in systems)) for text, name in TEXTS.items()]
    for name, texts in (("**mean of the eight**", HELD_OUT), ("**mean of the six drawn**", DRAWN)):
        rows.append((name, *(cell(population(*each, texts)) for each in systems)))
    return rows


def perplexity_rows() -> list[tuple[str, ...]]:
    """The mean test perplexities of each text, in bold those than which no other is significantly better."""
    rows = []
    for text, name in TEXTS.items():
        cells = []
        for system in SYSTEMS:
            mean = f"{2 ** bits_by_seed(text, system).mean():.3f}"
            is_beaten = any(is_better(text, other, system) for other in SYSTEMS)
            cells.append(mean if is_beaten else f"**{mean}**")
        rows.append((name, *cells))
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


def is_better(text: str, one: str, other: str) -> bool:
    """Whether a system is significantly better than another on a text, in whichever order they were compared."""
    if one == other:
        return False
    if (one, other) in COMPARED:
        return comparison(text, one, other).verdict == "ahead"
    return comparison(text, other, one).verdict == "behind"


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
        sys.stdout.write(f"{markdown_table(('in the mean of eight, in %', *KINDS), summary_rows())}\n\n")
        sys.stdout.write(f"{verdict()}\n\n{of_drawn()}\n\n")
        sys.stdout.write(f"{markdown_table(RIVAL_HEADS, rival_rows())}\n")


if __name__ == "__main__":
    main()
