"""Verdicts on statements, each one of five words, and their tallies."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pipeline.report.statements.table import Statement
from pipeline.support.statistics import Estimate
from pipeline.support.wording import listed

Word = Literal["reproduced", "in part", "conclusion right, reason wrong", "not reproduced", "open"]

WORDS: tuple[Word, ...] = get_args(Word)

HOLDS, IN_PART, WRONG_REASON, FAILS, OPEN = WORDS

LEVEL = 0.05  # family-wise error rate, by Holm's correction over all comparisons of a kind


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
    measure: str
    means: tuple[float, float]
    difference: Estimate
    relative: bool
    seeds: tuple[int, int]
    degrees_of_freedom: float
    p: float | None = None
    adjusted_p: float | None = None

    @property
    def sign(self) -> int:
        """-1 if the first is significantly lower, 1 if it is significantly higher, 0 otherwise."""
        if self.adjusted_p is None or self.adjusted_p >= LEVEL:
            return 0
        return -1 if self.difference.mean < 0 else 1

    @property
    def text(self) -> str:
        """Format as "5.84 against 4.10, +42.4 % (+38.1 to +46.9 %; 8 seeds each, df 13.1, p 0.0001)"."""
        scale, unit, digits = (100, " %", 1) if self.relative else (1, "", 2)
        shown = f"{self.means[0]:.2f} against {self.means[1]:.2f}, {scale * self.difference.mean:+.{digits}f}{unit}"
        counts = " and ".join(map(str, self.seeds if len(set(self.seeds)) > 1 else self.seeds[:1]))
        counted = f"{counts} seed{'s' * (max(self.seeds) > 1)}{' each' if len(set(self.seeds)) == 1 else ''}"
        low, high = self.difference.low, self.difference.high
        if low is None or high is None or self.adjusted_p is None:
            return f"{shown} ({counted}, no interval)"
        p = f"p {self.adjusted_p:.2g}" if self.adjusted_p >= 0.0001 else "p < 0.0001"
        interval = f"{scale * low:+.{digits}f} to {scale * high:+.{digits}f}{unit}"
        return f"{shown} ({interval}; {counted}, df {self.degrees_of_freedom:.3g}, {p})"


@dataclass(frozen=True)
class Verdict:
    """A statement and its verdict, one of WORDS, with the sentences that justify it.

    ``part`` says which part is reproduced if the word is "in part", and what would decide the statement if the word is
    "open".
    """

    statement: Statement
    word: Word
    because: str
    part: str = ""
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True)
class Part:
    """A part of a statement that is judged separately: a curve, a reason or a conclusion.

    ``name`` names the part in ``Verdict.part`` if it holds and others do not; ``needs`` lists what would decide it if
    it is open.
    """

    name: str
    word: Word
    because: str = ""
    needs: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


def all_of(words: Iterable[Word]) -> Word:
    """The word for a statement whose parts must all hold: the worst of theirs."""
    found = set(words)
    return next((word for word in (FAILS, OPEN, IN_PART) if word in found), HOLDS)


def each_of(parts: Sequence[Part]) -> tuple[Word, str]:
    """The word for a statement whose parts count separately, and its ``Verdict.part``."""
    words = {part.word for part in parts}
    if words <= {HOLDS} or words == {FAILS}:
        return words.pop(), ""
    holding, needs = _named(parts, HOLDS, IN_PART), _needed(parts)
    if not holding:
        return OPEN, needs
    return IN_PART, f"{holding}; open: {needs}" if needs else holding


def concluded(statement: Statement, conclusion: Part, reasons: Sequence[Part], reason: Word) -> Verdict:
    """The verdict on a conclusion and its reasons, if there are any; ``reason`` is the word for all of them."""
    parts = (conclusion, *reasons)
    word, part = conclusion.word, ""
    if reasons and conclusion.word == HOLDS:
        word = WRONG_REASON if reason == FAILS else reason
        part = f"the conclusion; of its reasons only {_named(reasons, HOLDS, IN_PART)}" if word == IN_PART else ""
    elif reasons and conclusion.word == FAILS and reason in (HOLDS, IN_PART):
        word, part = IN_PART, f"the reason ({_named(reasons, HOLDS, IN_PART)}), not the conclusion"
    if word == OPEN:
        part = _needed(parts)
    because = " ".join(each.because for each in parts if each.because)
    return Verdict(statement, word, because, part, tuple(one for each in parts for one in each.comparisons))


def _named(parts: Sequence[Part], *words: Word) -> str:
    """The names of the parts with one of these words, as a list in a sentence."""
    return listed([part.name for part in parts if part.word in words])


def _needed(parts: Sequence[Part]) -> str:
    """What would decide the open parts, as a list in a sentence."""
    return listed(list(dict.fromkeys(needs for part in parts if part.word == OPEN for needs in part.needs)))


def tally(verdicts: Iterable[Verdict]) -> Mapping[str, Mapping[Word, int]]:
    """The number of each word, by kind of statement."""
    return _counted((verdict.statement.kind, verdict.word) for verdict in verdicts)


def tally_by_basis(verdicts: Iterable[Verdict]) -> Mapping[str, Mapping[Word, int]]:
    """The number of each word, by what decides the statement: "report" (its own numbers) or "training"."""
    return _counted((verdict.statement.basis, verdict.word) for verdict in verdicts)


def words_counted(verdicts: Iterable[Verdict]) -> Mapping[Word, int]:
    """The number of each word, over all verdicts."""
    counts = Counter(verdict.word for verdict in verdicts)
    return {word: counts[word] for word in WORDS}


def _counted(pairs: Iterable[tuple[str, Word]]) -> Mapping[str, Mapping[Word, int]]:
    counts = Counter(pairs)
    groups = dict.fromkeys(group for group, _ in counts)
    return {group: {word: counts[group, word] for word in WORDS} for group in groups}
