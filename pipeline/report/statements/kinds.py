"""The kinds of statements: their titles on the page and what judges them; judge those of data/statements.csv."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from pipeline.report.reproduction import Reproduction
from pipeline.report.statements import printed, texts, trained
from pipeline.report.statements.evidence import Evidence
from pipeline.report.statements.verdicts import Statement, Verdict
from pipeline.report.table import read_csv

# what decides a statement -> its name on the page
BASES = {"training": "by trainings", "report": "by the report's own numbers", "caption": "captions and references"}
LISTS = ("figures", "configurations", "reasons")  # columns whose items are separated by semicolons


class Kind(NamedTuple):
    title: str
    judge: Callable[[Statement, Evidence], Verdict]


KINDS: Mapping[str, Kind] = {  # in the order of the page
    "start": Kind("Where the perplexities start", trained.judge_level),
    "end": Kind("Where the perplexities end", trained.judge_level),
    "gap": Kind("Generalisation gaps", trained.judge_gap),
    "gap-onset": Kind("The epoch from which there is a gap", trained.judge_gap_onset),
    "gap-order": Kind("Gaps compared", trained.judge_order),
    "generalises": Kind("Which model generalises better", trained.judge_best),
    "perplexity-order": Kind("Perplexities compared", trained.judge_order),
    "best": Kind("The best models", trained.judge_best),
    "texts": Kind("Generated texts", texts.judge_texts),
    "texts-order": Kind("Texts compared", texts.judge_texts_order),
    "size": Kind("Parameters and MACs", printed.judge_size),
    "size-order": Kind("Sizes compared", printed.judge_size_order),
    "print-out": Kind("Print-outs", printed.judge_print_out),
    "seconds": Kind("Training times", printed.judge_seconds),
    "time-order": Kind("Times compared", printed.judge_time_order),
    "caption": Kind("Captions and references to figures", printed.judge_caption),
}


@cache
def report_statements() -> tuple[Statement, ...]:
    """The statements of the coursework report, in its order."""
    found = []
    for cells in read_csv("statements.csv"):
        lists: Mapping[str, Any] = {name: tuple(filter(None, cells[name].split(";"))) for name in LISTS}
        found.append(Statement(**{**cells, **lists}))
    return tuple(found)


def weigh(reproduction: Reproduction, statements: Sequence[Statement]) -> Evidence:
    """The evidence on the statements, with p values corrected over all their comparisons."""
    return Evidence(reproduction, statements, lambda each, evidence: KINDS[each.kind].judge(each, evidence)).corrected()
