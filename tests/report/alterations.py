"""Changes to a Reproduction, for tests of what follows its numbers: functions that make an altered copy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pipeline.report.reproduction import Configuration, RecordedTraining, Reproduction
from tests.report.reproductions import ENDS, reproduction

Alter = Callable[[Reproduction], Reproduction]


def ends(**by_id: tuple[float, float]) -> Alter:
    """Trainings that end at other perplexities; ids with _ for -."""
    changed = {id.replace("_", "-"): end for id, end in by_id.items()}

    def alter(found: Reproduction) -> Reproduction:
        new = reproduction(ends={**ENDS, **changed})
        return each(found, lambda one: replace(one, runs=new[one.id].runs) if one.id in changed else one)

    return alter


def each(found: Reproduction, change: Callable[[Configuration], Configuration]) -> Reproduction:
    return replace(found, configurations=tuple(map(change, found.configurations)))


def row(id: str, **changes: Any) -> Alter:
    """Another row of the table."""

    return lambda found: each(
        found, lambda one: replace(one, reported=replace(one.reported, **changes)) if one.id == id else one
    )


def sizes(id: str, parameters: int, macs: int) -> Alter:
    """Another complexity."""

    def change(one):
        complexity = replace(one.complexity, report_parameters=parameters, report_macs=macs)
        return replace(one, complexity=complexity) if one.id == id else one

    return lambda found: each(found, change)


def runs(id: str, change: Callable[[RecordedTraining], RecordedTraining]) -> Alter:
    """Other trainings."""
    return lambda found: each(
        found, lambda one: replace(one, runs=tuple(map(change, one.runs))) if one.id == id else one
    )


def streams(*vals: float) -> Alter:
    """Trainings of all shapes under the stream preset that end at these perplexities."""
    return lambda found: each(
        found,
        lambda one: replace(one, stream=tuple(replace(one.runs[0], val=(val,), epochs_planned=1) for val in vals)),
    )


def same_text(*windowed: float, val: float = 4.8) -> Alter:
    """Trainings of all shapes by our recipe on the report's characters, with these perplexities in windows."""
    return lambda found: each(
        found,
        lambda one: replace(
            one, same_text=tuple(replace(one.runs[0], val=(val,), epochs_planned=1, windowed=each) for each in windowed)
        ),
    )


def text(**changes: Any) -> Alter:
    """Other facts of the text."""
    return lambda found: replace(found, text=replace(found.text, **changes))


def together(*alters: Alter) -> Alter:
    def alter(found: Reproduction) -> Reproduction:
        for one in alters:
            found = one(found)
        return found

    return alter


def seconds_by_macs(found: Reproduction) -> Reproduction:
    """Training times in proportion to MACs."""

    def change(one):
        return replace(
            one, runs=tuple(replace(run, train_seconds=one.complexity.macs_per_char * run.epochs) for run in one.runs)
        )

    return each(found, change)


TRAINED = ends(gru_torch_8x32=(5.0, 6.0), lstm_torch_8x32=(5.0, 6.0))  # networks of eight layers that have learnt
