"""Findings: the outcome of one check of a statement, and how findings combine."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

Unit = Literal["k", "MMac"]  # thousands of parameters, millions of MACs

Outcome = Literal["holds", "does not hold", "can't be judged"]

HOLDS: Outcome = "holds"

FAILS: Outcome = "does not hold"

OPEN: Outcome = "can't be judged"


class Finding(NamedTuple):
    """What is found on one statement, and the sentences that say why."""

    outcome: Outcome
    because: str


def settled(true: bool, because: str) -> Finding:
    """The finding where the numbers leave nothing open."""
    return Finding(HOLDS if true else FAILS, because)


def all_of(*parts: Finding) -> Finding:
    """The finding on parts that must all hold; it says those that decide, at most two where not all do."""
    for outcome in (FAILS, OPEN):
        if deciding := [part.because for part in parts if part.outcome == outcome]:
            return Finding(outcome, " ".join(list(dict.fromkeys(deciding))[:2]))
    return Finding(HOLDS, " ".join(dict.fromkeys(part.because for part in parts)))


def each_of(*parts: Finding) -> Finding:
    """Like ``all_of``, but explains every part."""
    return Finding(all_of(*parts).outcome, " ".join(part.because for part in parts))


def reasoned(conclusion: Finding, *reasons: Finding) -> Finding:
    """Like ``all_of`` for a conclusion and its reasons; always states the conclusion."""
    finding = all_of(conclusion, *reasons)
    if conclusion.because in finding.because:
        return finding
    return finding._replace(because=f"{conclusion.because} {finding.because}")


def counted(number: int, what: str) -> str:
    """A number with its noun: 1 seed, 3 seeds."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def listed(items: Sequence[str]) -> str:
    """The items in a sentence: a, b and c."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))
