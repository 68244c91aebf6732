"""Findings: the outcome of one check of a statement, and how findings combine."""

from typing import Literal, NamedTuple

Unit = Literal["k", "MMac"]  # 1,000 parameters; 1,000,000 MACs

Outcome = Literal["holds", "does not hold", "can't be judged"]

HOLDS: Outcome = "holds"

FAILS: Outcome = "does not hold"

OPEN: Outcome = "can't be judged"


class Finding(NamedTuple):
    """The outcome of checking one statement, and the sentences that justify it."""

    outcome: Outcome
    because: str


def settled(true: bool, because: str) -> Finding:
    """A definite finding, HOLDS or FAILS."""
    return Finding(HOLDS if true else FAILS, because)


def all_of(*parts: Finding) -> Finding:
    """Combine parts that must all hold; gives the deciding reasons, at most two unless all hold."""
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
