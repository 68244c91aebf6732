"""Judge what the curves of one configuration do: where they start and end, and the gap between them.

The gap is validation minus training perplexity, averaged over the seeds epoch by epoch. In the first epochs it is
negative: training perplexity is averaged over an epoch in which the network improves, validation is measured after it.
"""

from collections.abc import Mapping, Sequence
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
    Evidence,
    Measure,
)
from pipeline.report.statements.table import Statement
from pipeline.report.statements.verdicts import OPEN, Part, Verdict, concluded, each_of, holds_if

Measures = Mapping[str, Measure]  # by curve: training, validation

Gaps = Sequence[float]  # after each epoch

LEVELS: Mapping[str, Measures] = {  # kind -> the points that it is about
    "start": {"training": FIRST_HALF, "validation": FIRST_VAL},  # the first points that d2l draws
    "end": {"training": LAST_TRAIN, "validation": LAST_VAL},
}


def curves_of(statement: Statement, measures: Measures) -> Measures:
    """The measures of the curves that a statement is judged by: both, unless it names one."""
    named = statement.curve if statement.curve in measures else ""
    return {name: each for name, each in measures.items() if named in ("", name)}


def judge_level(statement: Statement, evidence: Evidence) -> Verdict:
    """Whether the mean over the seeds of each curve is about the stated perplexity."""
    id, target = statement.configurations[0], float(statement.value)
    low, high = evidence.bounds.about(target)
    parts = []
    for name, measure in curves_of(statement, LEVELS[statement.kind]).items():
        if not evidence.values(id, measure):
            return Verdict(statement, OPEN, f"{id} has no {measure.name}.", part=f"training {id}")
        mean = evidence.mean(id, measure)
        shown = f"{measure.name} is {mean} ({evidence.seeds(id, measure)})"
        parts.append(Part(f"{name} only", holds_if(low <= mean.mean < high), shown))
    because = f"{id}: {', '.join(each.because for each in parts)}; about {target:g} is {low:g} to {high:g}."
    if statement.kind == "end" and statement.curve != "training":
        best = evidence.mean(id, BEST_VAL).mean
        because += f" The lowest validation perplexity is {best:.2f}."
    return each_of(statement, parts, because)


# --- the gap ---------------------------------------------------------------------------------------------------------


def mean_gaps(id: str, evidence: Evidence) -> Gaps:
    """The gap after each epoch, averaged over all seeds; empty without a complete training."""
    return [fmean(gaps) for gaps in zip(*map(gaps_of, evidence.pooled(id)), strict=True)]


def gaps_of(run: JudgedTraining) -> Gaps:
    """The gap of one training after each epoch."""
    return [val - train for train, val in zip(run.train, run.val, strict=True)]


GAP_LIMITS: Mapping[str, tuple[str, str, bool]] = {  # relation -> which gap, the bound, whether it is a lower one
    "not-considerable-at-first": ("first", "considerable_gap", False),
    "not-visible-at-first": ("first", "visible_gap", False),
    "never-considerable": ("largest", "considerable_gap", False),
    "never-visible": ("largest", "visible_gap", False),
    "visible-at-last": ("last", "visible_gap", True),
    "considerable-at-last": ("last", "considerable_gap", True),
}


def judge_gap(statement: Statement, evidence: Evidence) -> Verdict:
    """Judge by the relation: a gap within one of GAP_LIMITS, or the course of the gap."""
    id, bounds, relation = statement.configurations[0], evidence.bounds, statement.relation
    if not (gaps := mean_gaps(id, evidence)):
        return evidence.lacking(statement, id)
    early = gaps[: max(1, round(bounds.early_share * len(gaps)))]
    if relation == "overfitting":
        return _overfitting(statement, evidence, fmean(early), gaps[-1])
    if relation in GAP_LIMITS:
        when, bound, is_least = GAP_LIMITS[relation]
        gap, where = {
            "first": (fmean(early), f"on average over the first {len(early)} epochs"),
            "largest": (max(gaps), f"at its largest, after epoch {1 + gaps.index(max(gaps))}"),
            "last": (gaps[-1], f"at epoch {len(gaps)}"),
        }[when]
        limit = getattr(bounds, bound)
        mean = str(evidence.mean(id, LAST_GAP)) if when == "last" else f"{gap:.2f}"
        shown = f"is {mean} {where}, where {'at least' if is_least else 'less than'} {limit:g} is meant"
        parts = [Part("", holds_if((gap >= limit) == is_least))]
    else:
        shown, parts = _course(statement, gaps, bounds)
    return each_of(statement, parts, f"Over {evidence.seeds(id)} the gap {shown}.")


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
        growing = [before < after for before, after in pairwise(means)]
        shown = f"is in successive stretches of {length} epochs {', '.join(f'{mean:+.2f}' for mean in means)}"
        return shown, [Part("", holds_if(all(growing)))]
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
    best, last = (evidence.mean(id, measure) for measure in (BEST_VAL, LAST_VAL))
    falls = all(run.train[-1] <= run.train[run.best_epoch - 1] for run in evidence.pooled(id))
    rise = last.mean / best.mean - 1
    rises = (
        f"Validation perplexity ends at {last}, {100 * rise:.0f} % above its lowest of {best}, while training "
        f"perplexity {'goes on falling' if falls else 'does not fall either'} ({evidence.seeds(id)})."
    )
    grown = f"The gap is {early:+.2f} at first and {late:+.2f} at the end."
    conclusion = Part("the overfitting", holds_if(falls and rise >= bounds.rise), rises)
    return concluded(
        statement, conclusion, [Part("the growing gap", holds_if(late >= max(bounds.visible_gap, early)), grown)]
    )


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
    below = [epoch for epoch, gap in enumerate(gaps_of(run), 1) if gap < visible]
    return below[-1] + 1 if below else 1
