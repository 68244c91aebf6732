"""Judge comparisons of configurations: of perplexity, of the gap, of how well they generalise, and which is best.

Each comparison is Welch's test over the seeds with Holm's correction over the kind of statement; a difference that is
not significant leaves the statement open. "Better" is by the lowest validation perplexity of any epoch, at which one
would stop; the last epoch's is shown beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil

from scipy.special import ndtri

from pipeline.report.statements.evaluators.curves import curves_of
from pipeline.report.statements.evidence import BEST_POOLED, BEST_VAL, LAST_GAP, LAST_TRAIN, LAST_VAL, Evidence, Measure
from pipeline.report.statements.table import Statement
from pipeline.report.statements.verdicts import (
    FAILS,
    HOLDS,
    IN_PART,
    LEVEL,
    OPEN,
    WRONG_REASON,
    Comparison,
    Part,
    Verdict,
    Word,
    all_of,
    concluded,
    each_of,
)
from pipeline.support.wording import listed

MOST_SEEDS = 1000  # no larger number of needed seeds is given

Judge = Callable[[Comparison], Word]

# --- comparisons -----------------------------------------------------------------------------------------------------


def seeds_needed(comparison: Comparison) -> str:
    """About how many seeds of each would make the difference significant, if it stays the same.

    The half width of the interval shrinks with 1 / sqrt(seeds); the level is the one that Holm's correction left.
    """
    ids = f"{comparison.first} and {comparison.second}"
    mean, half, p, adjusted = (
        comparison.difference.mean,
        comparison.difference.half,
        comparison.p,
        comparison.adjusted_p,
    )
    if not p or not adjusted or not half or not mean:
        return f"more seeds of {ids}"
    corrected = (ndtri(LEVEL * p / adjusted / 2) / ndtri(LEVEL / 2)) ** 2
    seeds = 2 / sum(1 / count for count in comparison.seeds) * corrected * (half / mean) ** 2
    if seeds > MOST_SEEDS:
        return f"more than {MOST_SEEDS:,} seeds each of {ids}"
    return f"about {max(ceil(seeds), min(comparison.seeds) + 1)} seeds each of {ids}"


def compared(
    name: str,
    measure: Measure,
    first: str,
    others: Sequence[str],
    statement: Statement,
    evidence: Evidence,
    judge: Judge,
) -> Part:
    """The part that holds if ``judge`` says so of the comparison with each of the others."""
    known, lacking = _comparisons(measure, first, others, statement, evidence)
    word = all_of([*map(judge, known), *(OPEN for _ in lacking)])
    return _part(name, word, measure, known, lacking, [each for each in known if judge(each) == OPEN])


def _comparisons(
    measure: Measure, first: str, others: Sequence[str], statement: Statement, evidence: Evidence
) -> tuple[list[Comparison], list[str]]:
    """The comparisons with the others, and the configurations that lack the training for one."""
    lacking = [id for id in (first, *others) if not evidence.values(id, measure)]
    if first in lacking:
        return [], lacking
    known = [evidence.compare(statement.kind, first, id, measure) for id in others if id not in lacking]
    return known, lacking


def _part(
    name: str,
    word: Word,
    measure: Measure,
    known: Sequence[Comparison],
    lacking: Sequence[str],
    unclear: Sequence[Comparison],
) -> Part:
    """The part with its sentences and what would decide it, of which ``unclear`` comparisons need more seeds."""
    shown = "; ".join(f"of {each.first} and {each.second}: {each.text}" for each in known)
    because = f"{measure.name[0].upper()}{measure.name[1:]} {shown}." if known else ""
    if lacking:
        because = f"{because} {listed(lacking)} {'is' if len(lacking) == 1 else 'are'} not trained to the end.".lstrip()
    needs = [f"training {listed(lacking)} to the end"] if lacking else []
    return Part(name, word, because, (*needs, *map(seeds_needed, unclear)), tuple(known))


def is_lower(comparison: Comparison) -> Word:
    """Whether the first is significantly lower than the second."""
    return (OPEN, FAILS, HOLDS)[comparison.sign]


def is_higher(comparison: Comparison) -> Word:
    """Whether the first is significantly higher than the second."""
    return (OPEN, HOLDS, FAILS)[comparison.sign]


def higher_by(share: float) -> Judge:
    """Whether the first is significantly higher, by at least this share of the second; IN_PART if by less."""

    def judge(comparison: Comparison) -> Word:
        word, (mean, other) = is_higher(comparison), comparison.means
        return IN_PART if word == HOLDS and mean < (1 + share) * other else word

    return judge


def alike_within(most: float) -> Judge:
    """Whether the difference is at most ``most``; open if it is larger but not significant."""

    def judge(comparison: Comparison) -> Word:
        if abs(comparison.difference.mean) <= most:
            return HOLDS
        return FAILS if comparison.sign else OPEN

    return judge


# --- perplexity and gap ----------------------------------------------------------------------------------------------


def judge_perplexity_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by the relation, for both curves after the last epoch unless the statement names one."""
    measures = curves_of(statement, {"training": LAST_TRAIN, "validation": LAST_VAL})
    parts = [_ordered(name, measure, statement, evidence) for name, measure in measures.items()]
    word, part = each_of(parts)
    because = " ".join([*dict.fromkeys(each.because for each in parts), *_reported_ends(statement, evidence)])
    return Verdict(statement, word, because, part, tuple(one for each in parts for one in each.comparisons))


def _reported_ends(statement: Statement, evidence: Evidence) -> list[str]:
    """A sentence with the report's own perplexities; empty unless it gives all of them."""
    rows = [evidence.row(id) for id in statement.configurations]
    known = [f"{row.perplexity_end:g} ({row.id})" for row in rows if row.perplexity_end is not None]
    if len(known) < len(rows):
        return []
    return [f"The report itself has {listed(known)}."]


def _ordered(curve: str, measure: Measure, statement: Statement, evidence: Evidence) -> Part:
    first, *others = statement.configurations
    if statement.relation in ("among-lowest", "higher-than-some"):
        known, lacking = _comparisons(measure, first, others, statement, evidence)
        word = (_among_lowest if statement.relation == "among-lowest" else _higher_than_some)(known, lacking)
        return _part(curve, word, measure, known, lacking, [each for each in known if not each.sign])
    judges = {"lower": is_lower, "higher": is_higher, "far-higher": higher_by(evidence.bounds.far)}
    part = compared(curve, measure, first, others, statement, evidence, judges[statement.relation])
    return replace(part, name=f"{curve}, but not by far") if part.word == IN_PART else part


def _among_lowest(known: Sequence[Comparison], lacking: Sequence[str]) -> Word:
    """Whether at most one of the others is significantly lower."""
    lower = sum(comparison.sign > 0 for comparison in known)
    if lower > 1:
        return FAILS
    return HOLDS if known and lower + len(lacking) <= 1 else OPEN


def _higher_than_some(known: Sequence[Comparison], lacking: Sequence[str]) -> Word:
    """Whether any of the others is significantly lower."""
    if any(comparison.sign > 0 for comparison in known):
        return HOLDS
    return OPEN if lacking or any(comparison.sign == 0 for comparison in known) else FAILS


def judge_gap_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the gap after the last epoch is smaller than all others, or considerably larger."""
    first, *others = statement.configurations
    judge = is_lower if statement.relation == "smaller" else higher_by(evidence.bounds.considerably)
    part = compared("larger, but not considerably", LAST_GAP, first, others, statement, evidence, judge)
    word, text = each_of([part])
    return Verdict(statement, word, part.because, text, part.comparisons)


# --- generalising, and the best --------------------------------------------------------------------------------------


def judge_generalises(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge the conclusion by validation perplexity, and the reasons by the gap and by the statements given as reasons.

    The report concludes "better" and "alike" from the gap, so the gap is compared; "better-unseen" and "worse-unseen"
    are about text that was not trained on, for the reasons of other statements or for none.
    """
    first, *others = statement.configurations
    bounds, relation = evidence.bounds, statement.relation
    if relation.endswith("unseen"):
        verdict = _with_reasons(statement, evidence, is_lower if relation == "better-unseen" else is_higher, [])
        return replace(verdict, because=f"{verdict.because} {_beside_counting(statement, evidence)}".rstrip())
    by_perplexity, by_gap = (
        (is_lower, is_lower)
        if relation == "better"
        else (alike_within(bounds.slightly), alike_within(bounds.visible_gap))
    )
    gap = compared("its gap", LAST_GAP, first, others, statement, evidence, by_gap)
    return _with_reasons(statement, evidence, by_perplexity, [gap])


def _beside_counting(statement: Statement, evidence: Evidence) -> str:
    """A sentence with the best n-gram's perplexity and ours, both pooled over all characters; "" without either."""
    means = {id: evidence.mean(id, BEST_POOLED) for id in statement.configurations if evidence.values(id, BEST_POOLED)}
    windowed = evidence.reproduction.text.windowed
    if not means or not windowed:
        return ""
    shown = listed([f"{mean.mean:.2f} ({id})" for id, mean in means.items()])
    order = min(windowed, key=windowed.__getitem__)
    return (
        f"Pooled over all characters it is {shown}, where a {order}-gram in the same windows has {windowed[order]:.2f}."
    )


def _with_reasons(statement: Statement, evidence: Evidence, judge: Judge, reasons: Sequence[Part]) -> Verdict:
    """The verdict on a conclusion about validation perplexity; all reasons must hold, other statements included."""
    first, *others = statement.configurations
    conclusion = compared(
        "the conclusion, by validation perplexity", BEST_VAL, first, others, statement, evidence, judge
    )
    given = [*reasons, *_rows(statement, evidence)]
    verdict = concluded(statement, conclusion, given, all_of(each.word for each in given))
    if not conclusion.comparisons:
        return verdict
    trained = [id for id in statement.configurations if evidence.values(id, LAST_VAL)]
    last = listed([f"{evidence.mean(id, LAST_VAL).mean:.2f} ({id})" for id in trained])
    return replace(verdict, because=f"{verdict.because} At the last epoch it is {last}.")


def _rows(statement: Statement, evidence: Evidence) -> list[Part]:
    """The reasons that are statements themselves; such a reason holds if its conclusion does."""
    parts = []
    for id in statement.reasons:
        verdict = evidence.verdict(id)
        word = HOLDS if verdict.word == WRONG_REASON else verdict.word
        parts.append(Part(id, word, f"The reason {id} is {_shown(verdict)}.", (verdict.part,)))
    return parts


def _shown(verdict: Verdict) -> str:
    return f"{verdict.word} ({verdict.part})" if verdict.part else verdict.word


def judge_best(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by the relation: one of BEST."""
    return BEST[statement.relation](statement, evidence)


def _best(statement: Statement, evidence: Evidence) -> Verdict:
    return _with_reasons(statement, evidence, is_lower, [])


def _not_better(statement: Statement, evidence: Evidence) -> Verdict:
    return _with_reasons(statement, evidence, is_higher, [])


def _best_by_gap(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether it is the best, because its gap is smaller."""
    first, *others = statement.configurations
    gap = compared("its gap", LAST_GAP, first, others, statement, evidence, is_lower)
    return _with_reasons(statement, evidence, is_lower, [gap])


def _by_each_reason(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by the reasons alone, which count separately."""
    parts = _rows(statement, evidence)
    word, part = each_of(parts)
    return Verdict(statement, word, " ".join(each.because for each in parts), part)


def _by_all_reasons(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by the reasons alone, of which all must hold."""
    parts = _rows(statement, evidence)
    because = " ".join(each.because for each in parts)
    if any(each.word == FAILS for each in parts):
        return Verdict(statement, FAILS, because)
    word, part = each_of(parts)
    return Verdict(statement, word, because, part)


def _most_accurate(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the first configuration of each cell has the lowest validation perplexity among those of the cell."""
    cells: dict[str, list[str]] = {}
    for id in statement.configurations:
        cells.setdefault(evidence.row(id).cell, []).append(id)
    parts = [
        compared(f"of the {cell.upper()}s", BEST_VAL, first, others, statement, evidence, is_lower)
        for cell, (first, *others) in cells.items()
    ]
    word, part = each_of(parts)
    because = " ".join(each.because for each in parts)
    return Verdict(statement, word, because, part, tuple(one for each in parts for one in each.comparisons))


BEST: Mapping[str, Callable[[Statement, Evidence], Verdict]] = {
    "best": _best,
    "best-by-gap": _best_by_gap,
    "not-better": _not_better,
    "most-accurate": _most_accurate,
    "by-each-reason": _by_each_reason,
    "by-all-reasons": _by_all_reasons,
}
