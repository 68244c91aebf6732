"""Judge perplexities: where the curves of a configuration start and end, the gap between them, and comparisons.

The gap is validation minus training perplexity, averaged over the seeds epoch by epoch. In the first epochs it is
negative: training perplexity is averaged over an epoch in which the network improves, validation is measured after it.

A difference that is not significant (see evidence) leaves the statement open. "Better" is by the lowest validation
perplexity of any epoch, at which one would stop; the last epoch's is shown beside it. Levels and gaps are judged by
their means; an interval that contains the bound is marked as on the bound.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from statistics import fmean

from pipeline.report.reproduction import JudgedTraining
from pipeline.report.statements import bounds, verdicts
from pipeline.report.statements.evidence import (
    BEST_VAL,
    FIRST_HALF,
    FIRST_VAL,
    LAST_GAP,
    LAST_TRAIN,
    LAST_VAL,
    Combine,
    Comparison,
    Evidence,
    Judge,
    Measure,
    with_interval,
)
from pipeline.report.statements.verdicts import Part, Statement, Verdict, Word, all_of, concluded, each_of, holds_if
from pipeline.support.statistics import Estimate
from pipeline.support.wording import listed

Gaps = Sequence[float]  # after each epoch
STARTS = {"training": FIRST_HALF, "validation": FIRST_VAL}  # the first points that d2l draws
ENDS = {"training": LAST_TRAIN, "validation": LAST_VAL}


def curves_of(statement: Statement, measures: Mapping[str, Measure]) -> Mapping[str, Measure]:
    """The measures of the curves that a statement is judged by: both, unless it names one."""
    named = statement.curve
    return {named: measures[named]} if named in measures else measures


def judge_level(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the mean over the seeds of each curve is about the stated perplexity."""
    id, target = statement.configurations[0], float(statement.value)
    low, high = bounds.about(target)
    parts = []
    for name, measure in curves_of(statement, STARTS if statement.kind == "start" else ENDS).items():
        if not evidence.values(id, measure):
            return evidence.without_training(statement, id)
        mean = evidence.mean(id, measure)
        shown = f"{measure.name} is {with_interval(mean, low, high)} over {evidence.seeds(id, measure)}"
        parts.append(Part(f"{name} only", holds_if(low <= mean.mean < high), shown))
    because = f"{id}: {', '.join(part.because for part in parts)}; about {target:g} is {low:g} to {high:g}."
    if statement.kind == "end" and statement.curve != "training":
        because += f" The lowest validation perplexity is {evidence.mean(id, BEST_VAL).mean:.2f}."
    return each_of(statement, parts, because)


def gaps_of(run: JudgedTraining) -> Gaps:
    """The gap of one training after each epoch."""
    return [val - train for train, val in zip(run.train, run.val, strict=True)]


def mean_gaps(id: str, evidence: Evidence) -> Gaps:
    """The gap after each epoch, averaged over all seeds; empty without a complete training."""
    return [fmean(gaps) for gaps in zip(*map(gaps_of, evidence.pooled(id)), strict=True)]


def gap_over(first: int, last: int) -> Measure:
    """The mean gap over these epochs, counted from 1; None for a training that has fewer."""
    return Measure(
        f"gap over epochs {first} to {last}",
        lambda run: fmean(gaps_of(run)[first - 1 : last]) if last <= run.epochs else None,
        logarithmic=False,
    )


def growth_from(id: str, epoch: int, evidence: Evidence) -> Estimate:
    """By how much the gap of a configuration grows from an epoch to the end."""

    def growth(run: JudgedTraining) -> float | None:
        return gaps_of(run)[-1] - gaps_of(run)[epoch - 1] if epoch <= run.epochs else None

    return evidence.mean(id, Measure(f"growth of the gap from epoch {epoch}", growth, logarithmic=False))


def judge_gap(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge a gap by its size early, at any time or at the last epoch, or by its course."""
    id, claim = statement.configurations[0], statement.claim
    if not (gaps := mean_gaps(id, evidence)):
        return evidence.without_training(statement, id)
    early = max(1, round(bounds.EARLY_SHARE * len(gaps)))
    if claim == "overfitting":
        return _overfitting(statement, evidence, early)
    if not isinstance(claim, verdicts.Graded):
        shown, parts = _course(statement, evidence, gaps)
        return each_of(statement, parts, f"Over {evidence.seeds(id)} the gap {shown}.")
    limit = bounds.VISIBLE_GAP if claim.word == "visible" else bounds.CONSIDERABLE_GAP
    largest = 1 + gaps.index(max(gaps))
    measure, where = {
        "last": (LAST_GAP, f"at epoch {len(gaps)}, where at least"),
        "first": (gap_over(1, early), f"on average over the first {early} epochs, where less than"),
        "never": (gap_over(largest, largest), f"at its largest, after epoch {largest}, where less than"),
    }[claim.degree]
    gap = evidence.mean(id, measure)
    because = f"Over {evidence.seeds(id)} the gap is {with_interval(gap, limit)} {where} {limit:g} is meant."
    return Verdict(statement, holds_if((gap.mean >= limit) == (claim.degree == "last")), because)


def _course(statement: Statement, evidence: Evidence, gaps: Gaps) -> tuple[str, list[Part]]:
    """How the gap goes on, in words, and whether it does so as the relation says."""
    id = statement.configurations[0]
    length = max(1, round(bounds.STRETCH_SHARE * len(gaps)))
    if statement.relation == "constant":  # its absolute value is about the stated one at every epoch
        low, high = bounds.about(float(statement.value))
        inside = [low <= abs(gap) < high for gap in gaps]
        first, last = (evidence.mean(id, gap_over(epoch, epoch)) for epoch in (1, len(gaps)))
        shown = (
            f"is {first} after epoch 1 and {with_interval(last, -high, -low, low, high)} at the end; about "
            f"{statement.value} either way, {low:g} to {high:g}, it is after {sum(inside)} of {len(gaps)} epochs"
        )
        at_last = Part("at the last epoch only", holds_if(inside[-1]))
        return shown, [Part("at every epoch", holds_if(all(inside))), at_last]
    if statement.relation == "grows-throughout":  # each stretch has a larger gap than the one before
        means = _stretches(gaps, length)
        shown = f"is in successive stretches of {length} epochs {', '.join(f'{mean:+.2f}' for mean in means)}"
        return shown, [Part("", holds_if(all(before < after for before, after in pairwise(means))))]
    epoch = min(int(float(statement.value)), len(gaps))  # from which it grows by little in all, and gradually
    means, growth = _stretches(gaps[epoch - 1 :], length), growth_from(id, epoch, evidence)
    leap = max((after - before for before, after in pairwise(means)), default=0.0)
    shown = (
        f"grows by {with_interval(growth, 0, bounds.CONSIDERABLE_GAP)} from epoch {epoch} to the end, where less than "
        f"{bounds.CONSIDERABLE_GAP:g} is slight, and by {leap:.2f} at most between neighbouring stretches, where less "
        f"than {bounds.VISIBLE_GAP:g} is gradual"
    )
    return shown, [
        Part("slightly", holds_if(0 < growth.mean < bounds.CONSIDERABLE_GAP)),
        Part("gradually", holds_if(growth.mean > 0 and leap < bounds.VISIBLE_GAP)),
    ]


def _stretches(gaps: Gaps, length: int) -> Gaps:
    """The means over successive stretches of ``length`` epochs."""
    return [fmean(gaps[start : start + length]) for start in range(0, len(gaps), length)]


def _overfitting(statement: Statement, evidence: Evidence, early_epochs: int) -> Verdict:
    """Whether validation perplexity rises again while training perplexity falls; the reason is that the gap grows."""
    id = statement.configurations[0]
    early, late = evidence.mean(id, gap_over(1, early_epochs)), evidence.mean(id, LAST_GAP)
    best, last = evidence.mean(id, BEST_VAL), evidence.mean(id, LAST_VAL)
    falls = all(run.train[-1] <= run.train[run.best_epoch - 1] for run in evidence.pooled(id))
    rise = last.mean / best.mean - 1
    rises = (
        f"Validation perplexity ends at {last}, {100 * rise:.0f} % above its lowest of {best}, while training "
        f"perplexity {'goes on falling' if falls else 'does not fall either'} ({evidence.seeds(id)})."
    )
    grown = f"The gap is {early} at first and {with_interval(late, bounds.VISIBLE_GAP)} at the end."
    conclusion = Part("the overfitting", holds_if(falls and rise >= bounds.RISE), rises)
    reason = Part("the growing gap", holds_if(late.mean >= max(bounds.VISIBLE_GAP, early.mean)), grown)
    return concluded(statement, conclusion, [reason])


def judge_gap_onset(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the gap stays visible from about the stated epoch on, by the mean of that epoch over the seeds.

    "from-slightly" also claims that it grows by little from there to the end.
    """
    id, epoch = statement.configurations[0], int(statement.value)
    if not (gaps := mean_gaps(id, evidence)):
        return evidence.without_training(statement, id)
    visible, slight = bounds.VISIBLE_GAP, bounds.CONSIDERABLE_GAP
    measure = Measure(f"epoch of a gap of {visible:g}", lambda run: onset(run, visible), logarithmic=False)
    mean, tolerance = evidence.mean(id, measure), max(bounds.ONSET_EPOCHS, bounds.ONSET_SHARE * epoch)
    low, high = epoch - tolerance, epoch + tolerance
    never = sum(value > len(gaps) for value in evidence.values(id, measure))
    shown = (
        f"The gap is {visible:g} or more from epoch {with_interval(mean, low, high, digits=0)} on ({evidence.seeds(id)}"
        f"{f', of which {never} end below it' if never else ''}); about epoch {epoch} is {max(1, low):g} to {high:g}."
    )
    parts = [Part("from when", holds_if(low <= mean.mean <= high), shown)]
    if statement.relation == "from-slightly":
        growth = growth_from(id, min(epoch, len(gaps)), evidence)
        shown = f"From epoch {epoch} to the end it grows by {with_interval(growth, 0, slight)}; less than {slight:g} is"
        parts.append(Part("by how much", holds_if(0 < growth.mean < slight), f"{shown} slight."))
    return each_of(statement, parts)


def onset(run: JudgedTraining, visible: float) -> int:
    """The first epoch from which the gap stays visible; one past the last if it ends below that."""
    return 1 + max((epoch for epoch, gap in enumerate(gaps_of(run), 1) if gap < visible), default=0)


def in_order(comparison: Comparison, sign: int, share: float = 0.0) -> Word:
    """Whether the first is significantly lower (sign -1) or higher (1) than the second.

    With a share, it must be higher by at least that share of the second; IN_PART if by less.
    """
    if comparison.sign != sign:
        return Word.FAILS if comparison.sign else Word.OPEN
    mean, other = comparison.means
    return Word.IN_PART if share and mean < (1 + share) * other else Word.HOLDS


LOWER, HIGHER = partial(in_order, sign=-1), partial(in_order, sign=1)


def alike_within(most: float, comparison: Comparison) -> Word:
    """Whether the difference is at most ``most``; open if it is larger but not significant."""
    if abs(comparison.difference.mean) <= most:
        return Word.HOLDS
    return Word.FAILS if comparison.sign else Word.OPEN


def with_some(words: Sequence[Word]) -> Word:
    """The comparison with one of the others has to hold."""
    return next((word for word in (Word.HOLDS, Word.OPEN) if word in words), Word.FAILS)


def with_all_but_one(words: Sequence[Word]) -> Word:
    """At most one of the others is on the wrong side; what is too close to call is not."""
    return Word.FAILS if words.count(Word.FAILS) > 1 else Word.HOLDS


def judge_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge an order of perplexities, for both curves unless the statement names one, or of gaps; at the last epoch."""
    orders: dict[str, tuple[Judge, Combine]] = {
        "lower": (LOWER, all_of),
        "smaller": (LOWER, all_of),
        "higher": (HIGHER, all_of),
        "far-higher": (partial(HIGHER, share=bounds.FAR), all_of),
        "considerably-larger": (partial(HIGHER, share=bounds.CONSIDERABLY), all_of),
        "among-lowest": (LOWER, with_all_but_one),
        "higher-than-some": (HIGHER, with_some),
    }
    judge, combine = orders[statement.relation]
    if statement.kind == "gap-order":
        gap = evidence.compared("larger, but not considerably", LAST_GAP, statement, judge, combine)
        return each_of(statement, [gap])
    curves = curves_of(statement, ENDS)
    parts = [evidence.compared(name, curve, statement, judge, combine) for name, curve in curves.items()]
    parts = [replace(one, name=f"{one.name}, but not by far") if one.word == Word.IN_PART else one for one in parts]
    verdict = each_of(statement, parts)
    said = listed([f"{evidence.row(id).perplexity_end:g} ({id})" for id in statement.configurations])
    return replace(verdict, because=f"{verdict.because} The report itself has {said}.")


def judge_best(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge which configuration is best or generalises better, by validation perplexity, and the reasons given.

    The report concludes "better", "alike" and "best-by-gap" from the gap, so the gap is a reason; other statements are
    reasons as well. "by-each-reason" and "by-all-reasons" rest on reasons alone. "most-accurate" is the first
    configuration of each cell among those of the cell. "better-unseen" and "worse-unseen" are on text not trained on.
    """
    relation = statement.relation
    given = [*_reasons(statement, evidence)]
    if relation == "most-accurate":
        cells: dict[str, list[str]] = {}
        for id in statement.configurations:
            cells.setdefault(evidence.row(id).cell, []).append(id)
        first_of = [(f"of the {cell.upper()}s", ids) for cell, ids in cells.items()]
        parts = [evidence.compared(name, BEST_VAL, statement, LOWER, ids=ids) for name, ids in first_of]
        return each_of(statement, parts)
    if relation in ("by-each-reason", "by-all-reasons"):
        verdict = each_of(statement, given)
        fails = relation == "by-all-reasons" and any(reason.word == Word.FAILS for reason in given)
        return replace(verdict, word=Word.FAILS, part="") if fails else verdict
    judge, of_gap = HIGHER if relation in ("not-better", "worse-unseen") else LOWER, LOWER
    if relation == "alike":
        judge, of_gap = partial(alike_within, bounds.SLIGHTLY), partial(alike_within, bounds.VISIBLE_GAP)
    if relation in ("better", "alike", "best-by-gap"):
        given = [evidence.compared("its gap", LAST_GAP, statement, of_gap), *given]
    conclusion = evidence.compared("the conclusion, by validation perplexity", BEST_VAL, statement, judge)
    verdict = concluded(statement, conclusion, given)
    if not all(evidence.values(id, LAST_VAL) for id in statement.configurations):
        return verdict
    last = listed([f"{evidence.mean(id, LAST_VAL).mean:.2f} ({id})" for id in statement.configurations])
    return replace(verdict, because=f"{verdict.because} At the last epoch it is {last}.")


def _reasons(statement: Statement, evidence: Evidence) -> Iterator[Part]:
    """Yield the reasons that are statements themselves; such a reason holds if its conclusion does."""
    for id in statement.reasons:
        verdict = evidence.verdict(id)
        word = Word.HOLDS if verdict.word == Word.WRONG_REASON else verdict.word
        shown = f"{verdict.word} ({verdict.part})" if verdict.part else verdict.word
        yield Part(id, word, f"The reason {id} is {shown}.", (verdict.part,))
