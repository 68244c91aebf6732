"""Statements, the verdicts on them, each one of five words, from the parts of a statement; and their tallies."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from models.config import ModelConfig
from pipeline.support.wording import listed


class Word(StrEnum):
    """What a verdict says of a statement."""

    HOLDS = "reproduced"
    IN_PART = "in part"
    WRONG_REASON = "conclusion right, reason wrong"
    FAILS = "not reproduced"
    OPEN = "open"


class Graded(NamedTuple):
    """A size and when a gap has it ("visible", "last"), or a comparison and its degree ("longer", "slightly")."""

    word: str
    degree: str


Claim = str | Graded | ModelConfig | Mapping[str, str]  # of a caption: what its figure has


@dataclass(frozen=True)
class Statement:
    """A statement of a report, in our words.

    ``basis`` is "training" if a training decides the statement, "report" if the report's own numbers, texts and
    print-outs (or a count of operations) do, and "caption" for a caption or a reference to a figure.
    """

    id: str
    figures: tuple[str, ...]
    kind: str
    configurations: tuple[str, ...]  # ids: the first is the subject, which is compared with the others
    statement: str
    value: str
    curve: str  # "" if it is not about a curve
    relation: str  # the word of its kind for what it claims
    basis: str
    reading: str  # how an ambiguous word is read; the page shows it, and the contradiction
    contradiction: str  # what the report says elsewhere
    reasons: tuple[str, ...]  # ids of the statements that the report gives as reasons for this one

    @cached_property
    def claim(self) -> Claim:
        """What a statement of this kind claims, from its word for it; a word without parts stays a word."""
        words = self.relation.split("-")
        if self.kind == "gap" and (size := {"visible", "considerable"}.intersection(words)):
            return Graded(size.pop(), words[-1] if "at" in words else "never")
        if self.kind in ("size-order", "time-order"):
            return Graded(words[0], "than some") if "than" in words else Graded(words[-1], " ".join(words[:-1]))
        if self.kind == "print-out":  # the model that it names, such as gru-2x32
            layers, units = words[1].split("x")
            return ModelConfig(cell=words[0], num_layers=int(layers), hidden_size=int(units))
        return dict(each.split("=") for each in self.relation.split()) if "=" in self.relation else self.relation


@dataclass(frozen=True)
class Verdict:
    """A statement and the word on it, with the sentences that justify it."""

    statement: Statement
    word: Word
    because: str
    part: str = ""  # which part is reproduced if the word is "in part", what would decide it if the word is "open"


@dataclass(frozen=True)
class Part:
    """A part of a statement that is judged separately: a curve, a reason or a conclusion."""

    name: str  # in ``Verdict.part``, if it holds and others do not
    word: Word
    because: str = ""
    needs: tuple[str, ...] = ()  # what would decide it if it is open


def holds_if(is_so: bool) -> Word:
    return Word.HOLDS if is_so else Word.FAILS


def all_of(words: Iterable[Word]) -> Word:
    """The word for a statement whose parts must all hold: the worst of theirs."""
    found = set(words)
    return next((word for word in (Word.FAILS, Word.OPEN, Word.IN_PART) if word in found), Word.HOLDS)


def each_of(statement: Statement, parts: Sequence[Part], because: str | None = None) -> Verdict:
    """The verdict on a statement whose parts count separately; by default, their sentences justify it.

    It is not reproduced if one part fails and none holds, whatever the open ones are.
    """
    words = {part.word for part in parts}
    holding, needs = _named(parts), _needed(parts)
    word = Word.IN_PART if holding and words != {Word.HOLDS} else all_of(words)
    part = {Word.IN_PART: f"{holding}; open: {needs}" if needs else holding, Word.OPEN: needs}.get(word, "")
    return Verdict(statement, word, _sentences(parts) if because is None else because, part)


def concluded(statement: Statement, conclusion: Part, reasons: Sequence[Part]) -> Verdict:
    """The verdict on a conclusion and its reasons, if there are any, of which all must hold."""
    reason = all_of(each.word for each in reasons)
    word, part = conclusion.word, ""
    if reasons and conclusion.word == Word.HOLDS:
        word = Word.WRONG_REASON if reason == Word.FAILS else reason
        part = f"the conclusion; of its reasons only {_named(reasons)}" if word == Word.IN_PART else ""
    elif reasons and conclusion.word == Word.FAILS and reason in (Word.HOLDS, Word.IN_PART):
        word, part = Word.IN_PART, f"the reason ({_named(reasons)}), not the conclusion"
    parts = (conclusion, *reasons)
    return Verdict(statement, word, _sentences(parts), _needed(parts) if word == Word.OPEN else part)


def _sentences(parts: Sequence[Part]) -> str:
    return " ".join(dict.fromkeys(part.because for part in parts if part.because))


def _named(parts: Sequence[Part]) -> str:
    """The names of the parts that hold, as a list in a sentence."""
    return listed([part.name for part in parts if part.word in (Word.HOLDS, Word.IN_PART)])


def _needed(parts: Sequence[Part]) -> str:
    """What would decide the open parts, as a list in a sentence."""
    return listed(list(dict.fromkeys(needs for part in parts if part.word == Word.OPEN for needs in part.needs)))


def words_counted(verdicts: Iterable[Verdict]) -> Mapping[Word, int]:
    """The number of each word, over all verdicts."""
    counts = Counter(verdict.word for verdict in verdicts)
    return {word: counts[word] for word in Word}


def tally(verdicts: Sequence[Verdict], by: str) -> Mapping[str, Mapping[Word, int]]:
    """The number of each word, by kind of statement or by what decides it."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        groups.setdefault(getattr(verdict.statement, by), []).append(verdict)
    return {group: words_counted(found) for group, found in groups.items()}
