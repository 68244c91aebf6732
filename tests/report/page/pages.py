"""Pages of the report that are rendered once for many tests."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from pipeline.report.checks import Check
from pipeline.report.page.page import pages
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.kinds import report_statements
from pipeline.report.statements.verdicts import Verdict, Word
from tests.pages.parsed import Page
from tests.report.reproductions import reproduction

VERDICTS = [
    Verdict(statement, list(Word)[number % 5], f"because of number {number}", part="one of two")
    for number, statement in enumerate(report_statements())
]

CORRECTIONS = {
    **{f"error {n}": {part: f"{part} {n}" for part in ("reported", "found", "instead")} for n in range(1, 14)},
    "Why eight layers did not train": {"explanation": "They know letter frequencies & nothing else."},
}

CHECKS = [
    Check("1", True, "the RNN has 20,224 parameters", "rnn-torch-1x128"),
    Check("2", None, "the GRU has another's: a known error", "gru-torch-1x128"),
    Check("3", True, "training is in its band", "gru-torch-2x32", "train", (5, 10, 100), 100),
    Check("4", False, "validation is outside of it", "gru-torch-2x32", "val", (5, 10, 100), 100),
    Check("5", None, "d2l has none of it", "gru-scratch-1x1024", "val", (), 50),
]


def rendered(found: Reproduction, verdicts: Sequence[Verdict] = (), checks: Sequence[Check] = ()) -> dict[str, str]:
    """The files of a page without corrections."""
    return pages(found, verdicts, {}, checks)


@cache
def full() -> dict[str, str]:
    return pages(reproduction(), VERDICTS, CORRECTIONS, CHECKS)


@cache
def page() -> Page:
    return Page(full()["report.html"])


def of_few(*ids: str, **changes) -> Reproduction:
    """A reproduction of these configurations alone."""
    found = reproduction(**changes)
    return replace(found, configurations=tuple(found[id] for id in ids))
