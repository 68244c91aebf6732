"""Judge the statements of a report by a reproduction, with one evaluator for each kind of statement."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.evidence import Bounds, Evidence
from pipeline.report.statements.printed import (
    judge_caption,
    judge_print_out,
    judge_seconds,
    judge_size,
    judge_size_order,
    judge_time_order,
)
from pipeline.report.statements.table import Kind, Statement
from pipeline.report.statements.texts import judge_texts, judge_texts_order
from pipeline.report.statements.trained import judge_best, judge_gap, judge_gap_onset, judge_level, judge_order
from pipeline.report.statements.verdicts import Verdict

EVALUATORS: Mapping[Kind, Callable[[Statement, Evidence], Verdict]] = {
    "best": judge_best,
    "caption": judge_caption,
    "end": judge_level,
    "gap": judge_gap,
    "gap-onset": judge_gap_onset,
    "gap-order": judge_order,
    "generalises": judge_best,
    "perplexity-order": judge_order,
    "print-out": judge_print_out,
    "seconds": judge_seconds,
    "size": judge_size,
    "size-order": judge_size_order,
    "start": judge_level,
    "texts": judge_texts,
    "texts-order": judge_texts_order,
    "time-order": judge_time_order,
}


def weigh(reproduction: Reproduction, statements: Sequence[Statement], bounds: Bounds | None = None) -> Evidence:
    """The evidence on the statements, with p values corrected over the comparisons of each kind."""

    def evaluate(statement: Statement, evidence: Evidence) -> Verdict:
        return EVALUATORS[statement.kind](statement, evidence)

    return Evidence(reproduction, statements, bounds or Bounds(), evaluate).corrected()


def sensitivity(evidence: Evidence) -> Mapping[str, tuple[int, int]]:
    """The numbers of verdicts that change at half and at twice each bound, by the bound's name."""

    def changed(name: str, factor: float) -> int:
        others = evidence.corrected(evidence.bounds.scaled(name, factor)).verdicts
        return sum(other.word != verdict.word for other, verdict in zip(others, evidence.verdicts, strict=True))

    return {bound.name: (changed(bound.name, 0.5), changed(bound.name, 2.0)) for bound in fields(Bounds)}
