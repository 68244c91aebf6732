"""The kinds of statements: their titles on the page and what judges them; read and judge those of data/statements.csv.

``relation`` is the claim of a statement in machine-readable form. What the words of some kinds do not say:

    caption      in-order (the figures show the configurations, in this order); figures (each is of one of the table);
                 figure=5 (that one shows the first); sizes (of each are printed); book (the lines are text of the book)
    start, end   about (each curve that the statement names is about the value)
    gap          constant (about the value at every epoch); overfitting (validation perplexity rises again, as the
                 growing gap shows); grows-slightly (from the epoch that is the value, and gradually)
    gap-onset    from (visible from the epoch that is the value); from-slightly (and it grows little from there)
    orders       of the first compared with all others, unless it says with some
    generalises  better, alike (by the gap); better-unseen, worse-unseen (on text not trained on)
    best         best-by-gap (because the others' gap is larger), most-accurate (the first of each cell is best among
                 its cell); by-each-reason, by-all-reasons (it rests on its reasons alone)
    texts        prompts (the report shows texts after the same prompts), transcript (of which the table has the texts),
                 close, not-close (to how the book goes on)
    texts-order  same (letter for letter), closest (to the book)
"""

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
