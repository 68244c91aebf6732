"""Judge comparisons of configurations: of perplexity, of the gap, of how well they generalise, and which is best.

Each comparison is Welch's test over the seeds with Holm's correction over the kind of statement; a difference that is
not significant leaves the statement open. "Better" is by the lowest validation perplexity of any epoch, at which one
would stop; the last epoch's is shown beside it.
"""

from dataclasses import replace

from pipeline.report.statements.comparisons import (
    Combine,
    Judge,
    alike_within,
    higher_by,
    is_higher,
    is_lower,
    with_all,
    with_all_but_one,
    with_some,
)
from pipeline.report.statements.evaluators.curves import curves_of
from pipeline.report.statements.evidence import BEST_VAL, LAST_GAP, LAST_TRAIN, LAST_VAL, Evidence
from pipeline.report.statements.table import Statement
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, WRONG_REASON, Part, Verdict, concluded, each_of
from pipeline.support.wording import listed


def judge_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge an order of perplexities, for both curves unless the statement names one, or of gaps; at the last epoch."""
    orders: dict[str, tuple[Judge, Combine]] = {
        "lower": (is_lower, with_all),
        "smaller": (is_lower, with_all),
        "higher": (is_higher, with_all),
        "far-higher": (higher_by(evidence.bounds.far), with_all),
        "considerably-larger": (higher_by(evidence.bounds.considerably), with_all),
        "among-lowest": (is_lower, with_all_but_one),
        "higher-than-some": (is_higher, with_some),
    }
    judge, combine = orders[statement.relation]
    if statement.kind == "gap-order":
        gap = evidence.compared("larger, but not considerably", LAST_GAP, statement, judge, combine)
        return each_of(statement, [gap])
    curves = curves_of(statement, {"training": LAST_TRAIN, "validation": LAST_VAL})
    parts = [evidence.compared(name, curve, statement, judge, combine) for name, curve in curves.items()]
    parts = [replace(one, name=f"{one.name}, but not by far") if one.word == IN_PART else one for one in parts]
    verdict = each_of(statement, parts)
    ends = [(evidence.row(id).perplexity_end, id) for id in statement.configurations]
    if any(end is None for end, _ in ends):
        return verdict
    said = listed([f"{end:g} ({id})" for end, id in ends])
    return replace(verdict, because=f"{verdict.because} The report itself has {said}.")


def judge_best(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge which configuration is best or generalises better, by validation perplexity, and the reasons given.

    The report concludes "better", "alike" and "best-by-gap" from the gap, so the gap is a reason; other statements are
    reasons as well. "by-each-reason" and "by-all-reasons" rest on reasons alone.
    """
    bounds, relation = evidence.bounds, statement.relation
    given = _reasons(statement, evidence)
    if relation == "most-accurate":
        return _most_accurate(statement, evidence)
    if relation in ("by-each-reason", "by-all-reasons"):
        verdict = each_of(statement, given)
        fails = relation == "by-all-reasons" and any(reason.word == FAILS for reason in given)
        return replace(verdict, word=FAILS, part="") if fails else verdict
    judge: Judge = is_higher if relation in ("not-better", "worse-unseen") else is_lower
    of_gap: Judge = is_lower
    if relation == "alike":
        judge, of_gap = alike_within(bounds.slightly), alike_within(bounds.visible_gap)
    if relation in ("better", "alike", "best-by-gap"):
        given = [evidence.compared("its gap", LAST_GAP, statement, of_gap), *given]
    conclusion = evidence.compared("the conclusion, by validation perplexity", BEST_VAL, statement, judge)
    verdict = concluded(statement, conclusion, given)
    trained = [id for id in statement.configurations if evidence.values(id, LAST_VAL)]
    if len(trained) < len(statement.configurations):
        return verdict
    last = listed([f"{evidence.mean(id, LAST_VAL).mean:.2f} ({id})" for id in trained])
    return replace(verdict, because=f"{verdict.because} At the last epoch it is {last}.")


def _reasons(statement: Statement, evidence: Evidence) -> list[Part]:
    """The reasons that are statements themselves; such a reason holds if its conclusion does."""
    parts = []
    for id in statement.reasons:
        verdict = evidence.verdict(id)
        word = HOLDS if verdict.word == WRONG_REASON else verdict.word
        shown = f"{verdict.word} ({verdict.part})" if verdict.part else verdict.word
        parts.append(Part(id, word, f"The reason {id} is {shown}.", (verdict.part,)))
    return parts


def _most_accurate(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the first configuration of each cell has the lowest validation perplexity among those of the cell."""
    cells: dict[str, list[str]] = {}
    for id in statement.configurations:
        cells.setdefault(evidence.row(id).cell, []).append(id)
    parts = [
        evidence.compared(f"of the {cell.upper()}s", BEST_VAL, statement, is_lower, ids=ids)
        for cell, ids in cells.items()
    ]
    return each_of(statement, parts)
