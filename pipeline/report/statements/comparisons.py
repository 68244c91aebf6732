"""Relations between measured means, by a test over the seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from scipy.special import ndtri

from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN, Word, all_of
from pipeline.support.statistics import Estimate

LEVEL = 0.05  # family-wise error rate, by Holm's correction over all comparisons of a kind
MOST_SEEDS = 1000  # no larger number of needed seeds is given
Judge = Callable[["Comparison"], Word]
Combine = Callable[[Sequence[Word], int], Word]  # the words of the known comparisons, and the number of unknown ones


@dataclass(frozen=True)
class Comparison:
    """The difference of a measure between two configurations, by Welch's test over their seeds.

    ``difference`` has a 95 % interval; it is first / second - 1 for a measure that is averaged as a logarithm
    (``relative``), otherwise first - second. ``p`` is of this test alone, ``adjusted_p`` after Holm's correction over
    all comparisons of the statement's kind; both are None if the spread over seeds is unknown. ``seeds`` are the
    numbers of trainings on both sides, ours and d2l's together.
    """

    first: str
    second: str
    means: tuple[float, float]
    difference: Estimate
    relative: bool
    seeds: tuple[int, int]
    p: float | None
    adjusted_p: float | None

    @property
    def sign(self) -> int:
        """-1 if the first is significantly lower, 1 if it is significantly higher, 0 otherwise."""
        if self.adjusted_p is None or self.adjusted_p >= LEVEL:
            return 0
        return -1 if self.difference.mean < 0 else 1

    def __str__(self) -> str:
        """Format as "of a and b: 5.84 against 4.10, +42.4 % (+38.1 to +46.9 %; 8 and 3 seeds, p 0.0001)"."""
        scale, unit, digits = (100, " %", 1) if self.relative else (1, "", 2)
        change = f"{scale * self.difference.mean:+.{digits}f}{unit}"
        seeds = f"{self.seeds[0]} and {self.seeds[1]} seeds"
        low, high = self.difference.low, self.difference.high
        if low is None or high is None or self.adjusted_p is None:
            spread = f"{seeds}, no interval"
        else:
            interval = f"{scale * low:+.{digits}f} to {scale * high:+.{digits}f}{unit}"
            spread = f"{interval}; {seeds}, p {self.adjusted_p:.2g}"
        return (
            f"of {self.first} and {self.second}: {self.means[0]:.2f} against {self.means[1]:.2f}, {change} ({spread})"
        )

    @property
    def seeds_needed(self) -> str:
        """About how many seeds of each would make the difference significant, if it stays the same.

        The half width of the interval shrinks with 1 / sqrt(seeds); the level is the one that Holm's correction left.
        """
        ids, mean, half = f"{self.first} and {self.second}", self.difference.mean, self.difference.half
        if not self.p or not self.adjusted_p or not half or not mean:
            return f"more seeds of {ids}"
        corrected = (ndtri(LEVEL * self.p / self.adjusted_p / 2) / ndtri(LEVEL / 2)) ** 2
        seeds = 2 / sum(1 / count for count in self.seeds) * corrected * (half / mean) ** 2
        if seeds > MOST_SEEDS:
            return f"more than {MOST_SEEDS:,} seeds each of {ids}"
        return f"about {max(ceil(seeds), min(self.seeds) + 1)} seeds each of {ids}"


# --- one comparison --------------------------------------------------------------------------------------------------


def in_order(sign: int, share: float = 0.0) -> Judge:
    """Whether the first is significantly lower (sign -1) or higher (1) than the second.

    With a share, it must be higher by at least that share of the second; IN_PART if by less.
    """

    def judge(comparison: Comparison) -> Word:
        if comparison.sign != sign:
            return FAILS if comparison.sign else OPEN
        mean, other = comparison.means
        return IN_PART if share and mean < (1 + share) * other else HOLDS

    return judge


def alike_within(most: float) -> Judge:
    """Whether the difference is at most ``most``; open if it is larger but not significant."""

    def judge(comparison: Comparison) -> Word:
        if abs(comparison.difference.mean) <= most:
            return HOLDS
        return FAILS if comparison.sign else OPEN

    return judge


# --- comparisons with several others ---------------------------------------------------------------------------------


def with_all(words: Sequence[Word], unknown: int) -> Word:
    """The comparison with each of the others has to hold."""
    return all_of([*words, *unknown * [OPEN]])


def with_some(words: Sequence[Word], unknown: int) -> Word:
    """The comparison with one of the others has to hold."""
    if HOLDS in words:
        return HOLDS
    return OPEN if unknown or OPEN in words else FAILS


def with_all_but_one(words: Sequence[Word], unknown: int) -> Word:
    """At most one of the others is on the wrong side; what is too close to call is not."""
    wrong = words.count(FAILS)
    if wrong > 1:
        return FAILS
    return HOLDS if words and wrong + unknown <= 1 else OPEN
