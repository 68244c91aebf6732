"""Judge perplexities: where the curves of a configuration start and end, the gap between them, and comparisons.

The gap is validation minus training perplexity, averaged over the seeds epoch by epoch. In the first epochs it is
negative: training perplexity is averaged over an epoch in which the network improves, validation is measured after it.

Each comparison is Welch's test over the seeds with Holm's correction over the kind of statement; a difference that is
not significant leaves the statement open. "Better" is by the lowest validation perplexity of any epoch, at which one
would stop; the last epoch's is shown beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

from pipeline.report.reproduction import JudgedTraining
from pipeline.report.statements.evidence import (
    BEST_VAL,
    FIRST_HALF,
    FIRST_VAL,
    LAST_GAP,
    LAST_TRAIN,
    LAST_VAL,
    Bounds,
    Combine,
    Comparison,
    Evidence,
    Judge,
    Measure,
    with_all,
)
from pipeline.report.statements.verdicts import (
    FAILS,
    HOLDS,
    IN_PART,
    OPEN,
    WRONG_REASON,
    Part,
    Statement,
    Verdict,
    Word,
    concluded,
    each_of,
    holds_if,
)
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
    low, high = evidence.bounds.about(target)
    parts = []
    for name, measure in curves_of(statement, STARTS if statement.kind == "start" else ENDS).items():
        if not evidence.values(id, measure):
            return Verdict(statement, OPEN, f"{id} has no {measure.name}.", part=f"training {id}")
        mean = evidence.mean(id, measure)
        shown = f"{measure.name} is {mean} ({evidence.seeds(id, measure)})"
        parts.append(Part(f"{name} only", holds_if(low <= mean.mean < high), shown))
    because = f"{id}: {', '.join(each.because for each in parts)}; about {target:g} is {low:g} to {high:g}."
    if statement.kind == "end" and statement.curve != "training":
        because += f" The lowest validation perplexity is {evidence.mean(id, BEST_VAL).mean:.2f}."
    return each_of(statement, parts, because)


# --- the gap ---------------------------------------------------------------------------------------------------------


def gaps_of(run: JudgedTraining) -> Gaps:
    """The gap of one training after each epoch."""
    return [val - train for train, val in zip(run.train, run.val, strict=True)]


def mean_gaps(id: str, evidence: Evidence) -> Gaps:
    """The gap after each epoch, averaged over all seeds; empty without a complete training."""
    return [fmean(gaps) for gaps in zip(*map(gaps_of, evidence.pooled(id)), strict=True)]


def judge_gap(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge a gap by its relation: its size early, at any time or at the last epoch, or its course."""
    id, bounds, relation = statement.configurations[0], evidence.bounds, statement.relation
    if not (gaps := mean_gaps(id, evidence)):
        return evidence.lacking(statement, id)
    early = gaps[: max(1, round(bounds.early_share * len(gaps)))]
    if relation == "overfitting":
        return _overfitting(statement, evidence, fmean(early), gaps[-1])
    size, _, when = relation.removeprefix("not-").removeprefix("never-").partition("-at-")
    if size not in ("visible", "considerable"):
        shown, parts = _course(statement, gaps, bounds)
        return each_of(statement, parts, f"Over {evidence.seeds(id)} the gap {shown}.")
    limit = bounds.visible_gap if size == "visible" else bounds.considerable_gap
    if when == "last":
        gap, is_least = gaps[-1], True
        measured = f"{evidence.mean(id, LAST_GAP)} at epoch {len(gaps)}, where at least"
    elif when == "first":
        gap, is_least = fmean(early), False
        measured = f"{gap:.2f} on average over the first {len(early)} epochs, where less than"
    else:  # never
        gap, is_least = max(gaps), False
        measured = f"{gap:.2f} at its largest, after epoch {1 + gaps.index(gap)}, where less than"
    because = f"Over {evidence.seeds(id)} the gap is {measured} {limit:g} is meant."
    return Verdict(statement, holds_if((gap >= limit) == is_least), because)


def _course(statement: Statement, gaps: Gaps, bounds: Bounds) -> tuple[str, list[Part]]:
    """How the gap goes on, in words, and whether it does so as the relation says."""
    length = max(1, round(bounds.stretch_share * len(gaps)))
    if statement.relation == "constant":  # its absolute value is about the stated one at every epoch
        low, high = bounds.about(float(statement.value))
        inside = [low <= abs(gap) < high for gap in gaps]
        shown = (
            f"is {gaps[0]:+.2f} after epoch 1 and {gaps[-1]:+.2f} at the end; about {statement.value} either way, "
            f"{low:g} to {high:g}, it is after {sum(inside)} of {len(gaps)} epochs"
        )
        last = Part("at the last epoch only", holds_if(inside[-1]))
        return shown, [Part("at every epoch", holds_if(all(inside))), last]
    if statement.relation == "grows-throughout":  # each stretch has a larger gap than the one before
        means = _stretches(gaps, length)
        shown = f"is in successive stretches of {length} epochs {', '.join(f'{mean:+.2f}' for mean in means)}"
        return shown, [Part("", holds_if(all(before < after for before, after in pairwise(means))))]
    epoch = min(int(float(statement.value)), len(gaps))  # from which it grows by little in all, and gradually
    means, growth = _stretches(gaps[epoch - 1 :], length), gaps[-1] - gaps[epoch - 1]
    leap = max((after - before for before, after in pairwise(means)), default=0.0)
    shown = (
        f"grows by {growth:+.2f} from epoch {epoch} to the end, where less than {bounds.considerable_gap:g} is slight, "
        f"and by {leap:+.2f} at most between neighbouring stretches, where less than {bounds.visible_gap:g} is gradual"
    )
    return shown, [
        Part("slightly", holds_if(0 < growth < bounds.considerable_gap)),
        Part("gradually", holds_if(growth > 0 and leap < bounds.visible_gap)),
    ]


def _stretches(gaps: Gaps, length: int) -> Gaps:
    """The means over successive stretches of ``length`` epochs."""
    return [fmean(gaps[start : start + length]) for start in range(0, len(gaps), length)]


def _overfitting(statement: Statement, evidence: Evidence, early: float, late: float) -> Verdict:
    """Whether validation perplexity rises again while training perplexity falls; the reason is that the gap grows."""
    id, bounds = statement.configurations[0], evidence.bounds
    best, last = evidence.mean(id, BEST_VAL), evidence.mean(id, LAST_VAL)
    falls = all(run.train[-1] <= run.train[run.best_epoch - 1] for run in evidence.pooled(id))
    rise = last.mean / best.mean - 1
    rises = (
        f"Validation perplexity ends at {last}, {100 * rise:.0f} % above its lowest of {best}, while training "
        f"perplexity {'goes on falling' if falls else 'does not fall either'} ({evidence.seeds(id)})."
    )
    grown = f"The gap is {early:+.2f} at first and {late:+.2f} at the end."
    conclusion = Part("the overfitting", holds_if(falls and rise >= bounds.rise), rises)
    reason = Part("the growing gap", holds_if(late >= max(bounds.visible_gap, early)), grown)
    return concluded(statement, conclusion, [reason])


def judge_gap_onset(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the gap stays visible from about the stated epoch on, by the mean of that epoch over the seeds.

    "from-slightly" also claims that it grows by little from there to the end.
    """
    id, epoch, bounds = statement.configurations[0], int(statement.value), evidence.bounds
    if not (gaps := mean_gaps(id, evidence)):
        return evidence.lacking(statement, id)
    visible, slight = bounds.visible_gap, bounds.considerable_gap
    measure = Measure(f"epoch of a gap of {visible:g}", lambda run: onset(run, visible), logarithmic=False)
    mean, (low, high) = evidence.mean(id, measure), bounds.near_epoch(epoch)
    never = sum(value > len(gaps) for value in evidence.values(id, measure))
    shown = (
        f"The gap is {visible:g} or more from epoch {mean.mean:.0f} on ({evidence.seeds(id)}"
        f"{f', of which {never} end below it' if never else ''}); about epoch {epoch} is {max(1, low):g} to {high:g}."
    )
    parts = [Part("from when", holds_if(low <= mean.mean <= high), shown)]
    if statement.relation == "from-slightly":
        growth = gaps[-1] - gaps[min(epoch, len(gaps)) - 1]
        grown = f"From epoch {epoch} to the end it grows by {growth:+.2f}; less than {slight:g} is slight."
        parts.append(Part("by how much", holds_if(0 < growth < slight), grown))
    return each_of(statement, parts)


def onset(run: JudgedTraining, visible: float) -> int:
    """The first epoch from which the gap stays visible; one past the last if it ends below that."""
    return 1 + max((epoch for epoch, gap in enumerate(gaps_of(run), 1) if gap < visible), default=0)


# --- comparisons -----------------------------------------------------------------------------------------------------


def in_order(sign: int, share: float = 0.0) -> Judge:
    """Whether the first is significantly lower (sign -1) or higher (1) than the second.

    With a share, it must be higher by at least that share of the second; IN_PART if by less.
    """

    def judge(comparison: Comparison) -> Word:
        if comparison.sign != sign:
            return FAILS if comparison.sign else OPEN
        mean, other = comparison.means
        return IN_PART if share and mean < (1 + share) * other else HOLDS

    return judge


def alike_within(most: float) -> Judge:
    """Whether the difference is at most ``most``; open if it is larger but not significant."""

    def judge(comparison: Comparison) -> Word:
        if abs(comparison.difference.mean) <= most:
            return HOLDS
        return FAILS if comparison.sign else OPEN

    return judge


def with_some(words: Sequence[Word], unknown: int) -> Word:
    """The comparison with one of the others has to hold."""
    if HOLDS in words:
        return HOLDS
    return OPEN if unknown or OPEN in words else FAILS


def with_all_but_one(words: Sequence[Word], unknown: int) -> Word:
    """At most one of the others is on the wrong side; what is too close to call is not."""
    wrong = words.count(FAILS)
    if wrong > 1:
        return FAILS
    return HOLDS if words and wrong + unknown <= 1 else OPEN


def judge_order(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge an order of perplexities, for both curves unless the statement names one, or of gaps; at the last epoch."""
    orders: dict[str, tuple[Judge, Combine]] = {
        "lower": (in_order(-1), with_all),
        "smaller": (in_order(-1), with_all),
        "higher": (in_order(1), with_all),
        "far-higher": (in_order(1, evidence.bounds.far), with_all),
        "considerably-larger": (in_order(1, evidence.bounds.considerably), with_all),
        "among-lowest": (in_order(-1), with_all_but_one),
        "higher-than-some": (in_order(1), with_some),
    }
    judge, combine = orders[statement.relation]
    if statement.kind == "gap-order":
        gap = evidence.compared("larger, but not considerably", LAST_GAP, statement, judge, combine)
        return each_of(statement, [gap])
    curves = curves_of(statement, ENDS)
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
    reasons as well. "by-each-reason" and "by-all-reasons" rest on reasons alone. "most-accurate" is the first
    configuration of each cell among those of the cell.
    """
    bounds, relation = evidence.bounds, statement.relation
    given = _reasons(statement, evidence)
    if relation == "most-accurate":
        cells: dict[str, list[str]] = {}
        for id in statement.configurations:
            cells.setdefault(evidence.row(id).cell, []).append(id)
        first_of = [(f"of the {cell.upper()}s", ids) for cell, ids in cells.items()]
        parts = [evidence.compared(name, BEST_VAL, statement, in_order(-1), ids=ids) for name, ids in first_of]
        return each_of(statement, parts)
    if relation in ("by-each-reason", "by-all-reasons"):
        verdict = each_of(statement, given)
        fails = relation == "by-all-reasons" and any(reason.word == FAILS for reason in given)
        return replace(verdict, word=FAILS, part="") if fails else verdict
    judge, of_gap = in_order(1 if relation in ("not-better", "worse-unseen") else -1), in_order(-1)
    if relation == "alike":
        judge, of_gap = alike_within(bounds.slightly), alike_within(bounds.visible_gap)
    if relation in ("better", "alike", "best-by-gap"):
        given = [evidence.compared("its gap", LAST_GAP, statement, of_gap), *given]
    conclusion = evidence.compared("the conclusion, by validation perplexity", BEST_VAL, statement, judge)
    verdict = concluded(statement, conclusion, given)
    if not all(evidence.values(id, LAST_VAL) for id in statement.configurations):
        return verdict
    last = listed([f"{evidence.mean(id, LAST_VAL).mean:.2f} ({id})" for id in statement.configurations])
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
