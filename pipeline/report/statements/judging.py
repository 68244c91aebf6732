"""Judge the statements of a report by a reproduction, with one evaluator for each kind of statement."""

from collections.abc import Callable, Mapping, Sequence

from pipeline.report.reproduction import Reproduction
from pipeline.report.statements import bounds as all_bounds
from pipeline.report.statements.bounds import Bounds
from pipeline.report.statements.evaluators.captions import judge_caption
from pipeline.report.statements.evaluators.curves import judge_end, judge_gap, judge_gap_onset, judge_start
from pipeline.report.statements.evaluators.orders import (
    judge_best,
    judge_gap_order,
    judge_generalises,
    judge_perplexity_order,
)
from pipeline.report.statements.evaluators.sizes import judge_print_out, judge_size, judge_size_order
from pipeline.report.statements.evaluators.texts import judge_texts, judge_texts_order
from pipeline.report.statements.evaluators.times import judge_seconds, judge_time_order
from pipeline.report.statements.evidence import Evidence
from pipeline.report.statements.table import Kind, Statement
from pipeline.report.statements.verdicts import Verdict

Evaluator = Callable[[Statement, Evidence], Verdict]

EVALUATORS: Mapping[Kind, Evaluator] = {
    "best": judge_best,
    "caption": judge_caption,
    "end": judge_end,
    "gap": judge_gap,
    "gap-onset": judge_gap_onset,
    "gap-order": judge_gap_order,
    "generalises": judge_generalises,
    "perplexity-order": judge_perplexity_order,
    "print-out": judge_print_out,
    "seconds": judge_seconds,
    "size": judge_size,
    "size-order": judge_size_order,
    "start": judge_start,
    "texts": judge_texts,
    "texts-order": judge_texts_order,
    "time-order": judge_time_order,
}


def weigh(reproduction: Reproduction, statements: Sequence[Statement], bounds: Bounds | None = None) -> Evidence:
    """The evidence on the statements, with p values corrected over the comparisons of each kind."""
    return Evidence(reproduction, statements, bounds or Bounds(), _evaluate).corrected()


def _evaluate(statement: Statement, evidence: Evidence) -> Verdict:
    return EVALUATORS[statement.kind](statement, evidence)


def sensitivity(reproduction: Reproduction, statements: Sequence[Statement]) -> Mapping[str, tuple[int, int]]:
    """The numbers of verdicts that change at half and at twice each bound, by the bound's name."""
    evidence = weigh(reproduction, statements)

    def changed(name: str, factor: float) -> int:
        others = evidence.corrected(evidence.bounds.scaled(name, factor)).verdicts
        return sum(other.word != verdict.word for other, verdict in zip(others, evidence.verdicts, strict=True))

    return {name: (changed(name, 0.5), changed(name, 2.0)) for name in all_bounds.names()}
