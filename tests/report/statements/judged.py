"""Verdicts on single statements, for tests of the evaluators."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.bounds import Bounds
from pipeline.report.statements.judging import weigh
from pipeline.report.statements.table import Statement, report_statements
from pipeline.report.statements.verdicts import Verdict


def statement(id: str, **changes: Any) -> Statement:
    """A statement of the coursework report, or one that differs from it."""
    return replace(next(each for each in report_statements() if each.id == id), **changes)


def judge(found: Reproduction, statements: Sequence[Statement], bounds: Bounds | None = None) -> tuple[Verdict, ...]:
    """The verdict on each statement, in order."""
    return weigh(found, statements, bounds).verdicts


def judged(found: Reproduction, wanted: Statement | str, bounds: Bounds | None = None) -> Verdict:
    """The verdict on a statement, judged with the reasons that it gives and with no others."""
    wanted = statement(wanted) if isinstance(wanted, str) else wanted
    group = [wanted]
    for each in group:
        group += [statement(id) for id in each.reasons]
    return judge(found, group, bounds)[0]


def judged_among(found: Reproduction, wanted: Statement | str, *others: str) -> Verdict:
    """The verdict on a statement, judged with others of the report, such as a print-out."""
    wanted = statement(wanted) if isinstance(wanted, str) else wanted
    return judge(found, [wanted, *map(statement, others)])[0]
