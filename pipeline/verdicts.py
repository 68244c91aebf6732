"""What the recorded runs say to the report's claims, and what the report gets wrong."""

from dataclasses import dataclass
from typing import Literal

from pipeline.reported import Claim

Outcome = Literal["holds", "does not hold", "can't be judged"]


@dataclass(frozen=True)
class Verdict:
    """A claim, what the runs say to it, and the figures that decide it, in a sentence."""

    claim: Claim
    outcome: Outcome
    because: str


@dataclass(frozen=True)
class Correction:
    """An error of the report: what it says, what is so (with the recorded figures), what we conclude instead."""

    number: int
    title: str
    reported: str
    found: str
    instead: str


@dataclass(frozen=True)
class Explanation:
    """A paragraph that a student understands."""

    title: str
    text: str
