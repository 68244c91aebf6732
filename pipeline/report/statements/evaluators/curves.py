"""Judge what the curves of one configuration do: where they start and end, and the gap between them.

The gap is validation minus training perplexity, averaged over the seeds epoch by epoch. In the first epochs it is
negative: training perplexity is averaged over an epoch in which the network improves, validation is measured after it.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from pipeline.report.reproduction import RecordedTraining
from pipeline.report.statements.evidence import (
    BEST_VAL,
    FIRST_HALF,
    FIRST_TRAIN,
    FIRST_VAL,
    LAST_GAP,
    LAST_TRAIN,
    LAST_VAL,
    Evidence,
    Measure,
)
from pipeline.report.statements.table import Statement
from pipeline.report.statements.verdicts import FAILS, HOLDS, OPEN, Part, Verdict, concluded, each_of

BOTH_CURVES = ("", "training and validation", "not said")

Measures = Mapping[str, Measure]  # by curve: training, validation

Gaps = Sequence[float]  # after each epoch

# --- levels ----------------------------------------------------------------------------------------------------------


def curves_of(statement: Statement, measures: Measures) -> Measures:
    """The measures of the curves that a statement is judged by: both, unless it names one."""
    return {name: each for name, each in measures.items() if statement.curve in (*BOTH_CURVES, name)}


def judge_start(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the first point that d2l draws of each curve is about the stated perplexity.

    In training, this point is the mean over the first half epoch; if the record lacks it, that over the first epoch.
    """
    id = statement.configurations[0]
    if statement.curve == "validation" or evidence.values(id, FIRST_HALF) or not evidence.values(id, FIRST_TRAIN):
        return _at_level(statement, evidence, {"training": FIRST_HALF, "validation": FIRST_VAL})
    older = "The record lacks the first half epoch, so training is averaged over the whole first epoch."
    return _at_level(statement, evidence, {"training": FIRST_TRAIN, "validation": FIRST_VAL}, older)


def judge_end(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether each curve is about the stated perplexity after the last epoch."""
    id = statement.configurations[0]
    measures = {"training": LAST_TRAIN, "validation": LAST_VAL}
    if statement.curve == "training" or not evidence.values(id, BEST_VAL):
        return _at_level(statement, evidence, measures)
    low, high = evidence.bounds.about(float(statement.value))
    best = evidence.mean(id, BEST_VAL).mean
    other = f"The lowest validation perplexity is {best:.2f}, which is{' not' * (not low <= best < high)} about that."
    return _at_level(statement, evidence, measures, other)


def _at_level(statement: Statement, evidence: Evidence, measures: Measures, more: str = "") -> Verdict:
    """Compare the curves of the statement with its value, each by its mean over the seeds."""
    id, target = statement.configurations[0], float(statement.value)
    low, high = evidence.bounds.about(target)
    chosen = curves_of(statement, measures)
    for measure in chosen.values():
        if not evidence.values(id, measure):
            known = max((run.epochs for run in evidence.reproduction[id].runs), default=0)
            because = f"{id} has no {measure.name}: {known} epochs are trained."
            return Verdict(statement, OPEN, because, part=f"training {id}")
    parts = []
    for name, measure in chosen.items():
        mean = evidence.mean(id, measure)
        shown = f"{measure.name} is {mean} ({evidence.seeds(id, measure)})"
        parts.append(Part(f"{name} only", HOLDS if low <= mean.mean < high else FAILS, shown))
    word, part = each_of(parts)
    because = f"About {target:g} is {low:g} to {high:g}; {', '.join(each.because for each in parts)}. {more}".rstrip()
    return Verdict(statement, word, because, part)


# --- the gap ---------------------------------------------------------------------------------------------------------


def mean_gaps(id: str, evidence: Evidence) -> Gaps:
    """The gap after each epoch, averaged over all seeds; empty without a complete training."""
    return [fmean(gaps) for gaps in zip(*map(gaps_of, evidence.pooled(id)), strict=True)]


def gaps_of(run: RecordedTraining) -> Gaps:
    """The gap of one training after each epoch."""
    return [val - train for train, val in zip(run.train, run.val, strict=True)]


def judge_gap(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by the relation: one of GAP_LIMITS or of GAP_SHAPES."""
    id = statement.configurations[0]
    if not (gaps := mean_gaps(id, evidence)):
        return evidence.lacking(statement, id)
    if shape := GAP_SHAPES.get(statement.relation):
        return shape(statement, evidence, gaps)
    when, bound, is_least = GAP_LIMITS[statement.relation]
    gap, where = _gap_at(when, gaps, evidence)
    limit = getattr(evidence.bounds, bound)
    word = HOLDS if (gap >= limit) == is_least else FAILS
    asked = f"{'at least' if is_least else 'less than'} {limit:g}"
    shown = str(evidence.mean(id, LAST_GAP)) if when == "last" else f"{gap:.2f}"
    return Verdict(statement, word, f"The gap is {shown} {where}, where {asked} is meant ({evidence.seeds(id)}).")


GAP_LIMITS: Mapping[str, tuple[str, str, bool]] = {  # relation -> which gap, the bound, whether it is a lower one
    "not-considerable-at-first": ("first", "considerable_gap", False),
    "not-visible-at-first": ("first", "visible_gap", False),
    "never-considerable": ("largest", "considerable_gap", False),
    "never-visible": ("largest", "visible_gap", False),
    "visible-at-last": ("last", "visible_gap", True),
    "considerable-at-last": ("last", "considerable_gap", True),
}


def _gap_at(when: str, gaps: Gaps, evidence: Evidence) -> tuple[float, str]:
    """The gap in the first epochs, at its largest or at the last epoch, and where that is."""
    if when == "first":
        early = gaps[: max(1, round(evidence.bounds.early_share * len(gaps)))]
        return fmean(early), f"on average over the first {len(early)} epochs"
    if when == "last":
        return gaps[-1], f"at epoch {len(gaps)}"
    return max(gaps), f"at its largest, after epoch {1 + gaps.index(max(gaps))}"


def _constant(statement: Statement, evidence: Evidence, gaps: Gaps) -> Verdict:
    """Whether the absolute gap is about the value at every epoch."""
    low, high = evidence.bounds.about(float(statement.value))
    inside = [low <= abs(gap) < high for gap in gaps]
    parts = [
        Part("at every epoch", HOLDS if all(inside) else FAILS),
        Part("at the last epoch only", HOLDS if inside[-1] else FAILS),
    ]
    word, part = each_of(parts)
    because = (
        f"The gap is {gaps[0]:+.2f} after epoch 1, {gaps[len(gaps) // 2]:+.2f} half way and {gaps[-1]:+.2f} at the end "
        f"({evidence.seeds(statement.configurations[0])}). About {statement.value} either way, {low:g} to {high:g}, it "
        f"is after {sum(inside)} of {len(gaps)} epochs."
    )
    return Verdict(statement, word, because, part)


def _overfits(statement: Statement, evidence: Evidence, gaps: Gaps) -> Verdict:
    """Whether validation perplexity rises again while training perplexity falls; the reason is that the gap grows."""
    id = statement.configurations[0]
    best, last = (evidence.mean(id, measure) for measure in (BEST_VAL, LAST_VAL))
    falls = all(run.train[-1] <= run.train[run.best_epoch - 1] for run in evidence.pooled(id))
    rise = last.mean / best.mean - 1
    rises = (
        f"Validation perplexity ends at {last}, {100 * rise:.0f} % above its lowest of {best}, while training "
        f"perplexity {'goes on falling' if falls else 'does not fall either'} ({evidence.seeds(id)})."
    )
    early, where = _gap_at("first", gaps, evidence)
    grown = f"The gap is {early:+.2f} {where} and {gaps[-1]:+.2f} at the end."
    conclusion = Part("the overfitting", HOLDS if falls and rise >= evidence.bounds.rise else FAILS, rises)
    is_grown = gaps[-1] >= max(evidence.bounds.visible_gap, early)
    reason = Part("the growing gap", HOLDS if is_grown else FAILS, grown)
    return concluded(statement, conclusion, [reason], reason.word)


def _stretches(gaps: Gaps, length: int) -> Gaps:
    """The means over successive stretches of ``length`` epochs."""
    return [fmean(gaps[start : start + length]) for start in range(0, len(gaps), length)]


def _stretch_length(gaps: Gaps, evidence: Evidence) -> int:
    return max(1, round(evidence.bounds.stretch_share * len(gaps)))


def _grows_throughout(statement: Statement, evidence: Evidence, gaps: Gaps) -> Verdict:
    """Whether each stretch has a larger gap than the one before."""
    length = _stretch_length(gaps, evidence)
    means = _stretches(gaps, length)
    growing = [before < after for before, after in pairwise(means)]
    because = (
        f"Its means over successive {length} epochs are {', '.join(f'{mean:+.2f}' for mean in means)}: larger than the "
        f"one before in {sum(growing)} of {len(growing)} cases ({evidence.seeds(statement.configurations[0])})."
    )
    return Verdict(statement, HOLDS if all(growing) else FAILS, because)


def _grows_slightly(statement: Statement, evidence: Evidence, gaps: Gaps) -> Verdict:
    """Whether the gap grows from the epoch of the value on, by little in all and gradually."""
    epoch, bounds = min(int(float(statement.value)), len(gaps)), evidence.bounds
    means = _stretches(gaps[epoch - 1 :], _stretch_length(gaps, evidence))
    growth = gaps[-1] - gaps[epoch - 1]
    leap = max((after - before for before, after in pairwise(means)), default=0.0)
    because = (
        f"The gap grows by {growth:+.2f} from epoch {epoch} to the end, where less than {bounds.considerable_gap:g} is "
        f"slight, and by {leap:+.2f} at most between neighbouring stretches, where less than {bounds.visible_gap:g} "
        f"is gradual ({evidence.seeds(statement.configurations[0])})."
    )
    if growth <= 0:
        return Verdict(statement, FAILS, because)
    parts = [
        Part("slightly", HOLDS if growth < bounds.considerable_gap else FAILS),
        Part("gradually", HOLDS if leap < bounds.visible_gap else FAILS),
    ]
    word, part = each_of(parts)
    return Verdict(statement, word, because, part)


GAP_SHAPES: Mapping[str, Callable[[Statement, Evidence, Gaps], Verdict]] = {
    "constant": _constant,
    "overfitting": _overfits,
    "grows-throughout": _grows_throughout,
    "grows-slightly": _grows_slightly,
}


def judge_gap_onset(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the gap stays visible from about the stated epoch on, by the mean of that epoch over the seeds.

    "from-slightly" also claims that it grows by little from there to the end.
    """
    id, epoch, bounds = statement.configurations[0], int(statement.value), evidence.bounds
    if not (gaps := mean_gaps(id, evidence)):
        return evidence.lacking(statement, id)
    name = f"epoch of a gap of {bounds.visible_gap:g}"
    measure = Measure(name, lambda run: onset(run, bounds.visible_gap), logarithmic=False)
    mean, (low, high) = evidence.mean(id, measure), bounds.near_epoch(epoch)
    never = sum(value > len(gaps) for value in evidence.values(id, measure))
    text = (
        f"The gap is {bounds.visible_gap:g} or more from epoch {mean.mean:.0f} on ({evidence.seeds(id)}"
        f"{f', of which {never} end below it' if never else ''}); about epoch {epoch} is {max(1, low):g} to {high:g}."
    )
    parts = [Part("from when", HOLDS if low <= mean.mean <= high else FAILS, text)]
    if statement.relation == "from-slightly":
        growth = gaps[-1] - gaps[min(epoch, len(gaps)) - 1]
        grown = (
            f"From epoch {epoch} to the end it grows by {growth:+.2f}; less than {bounds.considerable_gap:g} is slight."
        )
        parts.append(Part("by how much", HOLDS if 0 < growth < bounds.considerable_gap else FAILS, grown))
    word, part = each_of(parts)
    return Verdict(statement, word, " ".join(each.because for each in parts), part)


def onset(run: RecordedTraining, visible: float) -> int:
    """The first epoch from which the gap stays visible; one past the last if it ends below that."""
    below = [epoch for epoch, gap in enumerate(gaps_of(run), 1) if gap < visible]
    return below[-1] + 1 if below else 1
