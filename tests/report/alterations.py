"""Changes to a made-up reproduction, and verdicts on single statements of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pipeline.report.reproduction import Configuration, JudgedTraining, Reproduction
from pipeline.report.statements.kinds import report_statements, weigh
from pipeline.report.statements.verdicts import Statement, Verdict
from tests.report.reproductions import ENDS, cut, reproduction

Alter = Callable[[Reproduction], Reproduction]


def each(change: Callable[[Configuration], Configuration], *ids: str) -> Alter:
    """Change these configurations, or all."""
    return lambda found: replace(
        found, configurations=tuple(change(one) if one.id in ids or not ids else one for one in found.configurations)
    )


def ends(**by_id: tuple[float, float]) -> Alter:
    """Trainings that end at other perplexities; ids with _ for -."""
    changed = {id.replace("_", "-"): end for id, end in by_id.items()}
    new = reproduction(ends={**ENDS, **changed})
    return each(lambda one: replace(one, runs=new[one.id].runs), *changed)


def row(id: str, **changes: Any) -> Alter:
    """Another row of the table."""
    return each(lambda one: replace(one, reported=replace(one.reported, **changes)), id)


def runs(id: str, change: Callable[[JudgedTraining], JudgedTraining]) -> Alter:
    """Other trainings."""
    return each(lambda one: replace(one, runs=tuple(map(change, one.runs))), id)


def with_runs(found: Reproduction, id: str, new: tuple[JudgedTraining, ...]) -> Reproduction:
    """The reproduction with these trainings of a configuration."""
    return each(lambda one: replace(one, runs=new), id)(found)


def untrained(id: str) -> Alter:
    """Trainings that end after two epochs."""
    return runs(id, lambda run: cut(run, 2))


def same_text(*windowed: float, val: float = 4.8) -> Alter:
    """Trainings of all shapes by our recipe on the report's characters, with these perplexities in windows."""
    return each(
        lambda one: replace(
            one, same_text=tuple(replace(one.runs[0], val=(val,), epochs_planned=1, windowed=each) for each in windowed)
        )
    )


# --- verdicts --------------------------------------------------------------------------------------------------------


def statement(id: str, **changes: Any) -> Statement:
    """A statement of the coursework report, or one that differs from it."""
    return replace(next(each for each in report_statements() if each.id == id), **changes)


def judged(found: Reproduction, wanted: Statement | str, among: Sequence[str] = ()) -> Verdict:
    """The verdict on a statement, judged with the reasons that it gives, and among others such as a print-out."""
    group = [statement(wanted) if isinstance(wanted, str) else wanted, *map(statement, among)]
    for one in group:
        group += [statement(id) for id in one.reasons]
    return weigh(found, group).verdicts[0]
