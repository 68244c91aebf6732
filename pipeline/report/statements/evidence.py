"""The evidence of the recorded trainings: values over seeds, their spread, and comparisons.

The rules are the same for every statement:

Trainings. Our trainings count if they have all the epochs of the report's protocol; a quick reproduction has none. The
    recorded trainings by d2l itself of the same shape (data/d2l_curves.csv) are further seeds, for every measure that
    they have, if at least one of ours counts.
Intervals. A mean over seeds has the 95 % interval of Student's t, with the standard deviation of a single seed pooled
    over all configurations and its degrees of freedom. Perplexities are averaged as logarithms, gaps as they are.
Differences. Welch's test (Biometrika 34, 1947) over the seeds of both sides; for a side with one seed, or with equal
    values, the pooled standard deviation is used. Holm's correction (Scandinavian Journal of Statistics 6, 1979) is
    over all comparisons that the statements ask for, of which each is one test for all of them.
Perplexities. All are of the protocol's text and split, averaged as in the book (the mean over batches of exp of the
    batch's loss), unless the name of the measure says otherwise. Only perplexities of the same average are compared.
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from math import ceil, expm1, isfinite

import numpy as np
from scipy.special import ndtri

from pipeline.report.reproduction import JudgedTraining, Reproduction, d2l_trainings, whole
from pipeline.report.statements.verdicts import Part, Statement, Verdict, Word, all_of
from pipeline.report.table import Reported, protocol_epochs
from pipeline.support.statistics import Estimate, Floats, Spread, difference, estimate, holm, pooled_spread
from pipeline.support.wording import counted, listed


@dataclass(frozen=True)
class Measure:
    """A number of a training, None or infinite if the training lacks it; ``logarithmic`` measures compare by ratio."""

    name: str  # identifies the measure and any bound that it depends on; sentences show it
    of: Callable[[JudgedTraining], float | None]
    logarithmic: bool = True
    of_first_epoch: bool = False  # unfinished trainings count too


FIRST_HALF = Measure("training perplexity over the first half epoch", lambda run: run.first_half, of_first_epoch=True)
FIRST_VAL = Measure("validation perplexity after the first epoch", lambda run: run.val[0], of_first_epoch=True)
LAST_TRAIN = Measure("training perplexity at the last epoch", lambda run: run.train[-1])
LAST_VAL = Measure("validation perplexity at the last epoch", lambda run: run.val[-1])
BEST_VAL = Measure("best validation perplexity", lambda run: run.best())
LAST_GAP = Measure("gap at the last epoch", lambda run: run.val[-1] - run.train[-1], logarithmic=False)

ON_THE_BOUND = "(on the bound)"


def with_interval(mean: Estimate, *limits: float, digits: int = 2) -> str:
    """Format as "5.50 ± 0.06 (on the bound)": whether the interval contains one of the limits."""
    shown = f"{mean.mean:.{digits}f}{f' ± {mean.half:.{digits}f}' if mean.ends else ''}"
    is_on = mean.ends and any(mean.ends[0] <= limit <= mean.ends[1] for limit in limits)
    return f"{shown} {ON_THE_BOUND}" if is_on else shown


LEVEL = 0.05  # family-wise error rate, by Holm's correction over all comparisons
MOST_SEEDS = 1000  # no larger number of needed seeds is given


@dataclass(frozen=True)
class Comparison:
    """The difference of a measure between two configurations, by Welch's test over their seeds."""

    first: str
    second: str
    means: tuple[float, float]
    difference: Estimate  # with the 95 % interval of this test alone
    relative: bool  # first / second - 1, for a measure that is averaged as a logarithm; otherwise first - second
    seeds: tuple[int, int]  # trainings on both sides, ours and d2l's together
    p: float | None  # of this test alone; None if the spread over seeds is unknown
    adjusted_p: float | None  # after Holm's correction

    @property
    def sign(self) -> int:
        """-1 if the first is significantly lower, 1 if it is significantly higher, 0 otherwise."""
        if self.adjusted_p is None or self.adjusted_p >= LEVEL:
            return 0
        return -1 if self.difference.mean < 0 else 1

    def __str__(self) -> str:
        """Format as "of a and b: 5.84 against 4.10, +42.4 % (+38.1 to +46.9 %, p 0.01, corrected 0.04; ...)"."""
        scale, unit, digits = (100, " %", 1) if self.relative else (1, "", 2)
        change = f"{scale * self.difference.mean:+.{digits}f}{unit}"
        seeds = f"{self.seeds[0]} and {self.seeds[1]} seeds"
        spread = f"{seeds}, no interval"
        if (ends := self.difference.ends) and self.adjusted_p is not None:
            interval = f"{scale * ends[0]:+.{digits}f} to {scale * ends[1]:+.{digits}f}{unit}"
            spread = f"{interval}, p {self.p:.2g}, corrected {self.adjusted_p:.2g}; {seeds}"
        means = f"{self.means[0]:.2f} against {self.means[1]:.2f}"
        return f"of {self.first} and {self.second}: {means}, {change} ({spread})"

    @property
    def seeds_needed(self) -> str:
        """About how many seeds of each would make the difference significant, if it stays the same.

        The half width of the interval shrinks with 1 / sqrt(seeds); the level is the one that Holm's correction left.
        """
        ids, mean, half = f"{self.first} and {self.second}", self.difference.mean, self.difference.half
        if not self.p or not self.adjusted_p or not half or not mean:
            return f"more seeds of {ids}"
        corrected = (ndtri(LEVEL * self.p / self.adjusted_p / 2) / ndtri(LEVEL / 2)) ** 2
        seeds = 2 / sum(1 / count for count in self.seeds) * corrected * (half / mean) ** 2
        if seeds > MOST_SEEDS:
            return f"more than {MOST_SEEDS:,} seeds each of {ids}"
        return f"about {max(ceil(seeds), min(self.seeds) + 1)} seeds each of {ids}"


Judge = Callable[[Comparison], Word]
Combine = Callable[[Sequence[Word]], Word]  # of the comparisons with all others
ComparisonKey = tuple[str, str, str]  # two configurations in alphabetical order, name of the measure


class Evidence:
    """A reproduction with its statements, as the evaluators use it.

    Comparisons have ``adjusted_p`` = ``p`` until ``corrected``, which first collects all comparisons that the
    statements ask for. An evaluator must therefore ask for the same comparisons whatever their results are.
    """

    def __init__(
        self,
        reproduction: Reproduction,
        statements: Sequence[Statement],
        evaluate: Callable[[Statement, "Evidence"], Verdict],
    ) -> None:
        self.reproduction = reproduction
        self.statements = {statement.id: statement for statement in statements}
        self._evaluate = evaluate
        self._verdicts: dict[str, Verdict] = {}
        self._asked: dict[ComparisonKey, float | None] = {}
        self._adjusted: dict[ComparisonKey, float] = {}
        self._spreads: dict[str, Spread] = {}  # by the name of a measure

    def corrected(self) -> "Evidence":
        """Copy this evidence with p values corrected by Holm's method."""
        assert self.verdicts is not None  # judging collects the comparisons
        other = copy(self)
        p_values = {key: p for key, p in self._asked.items() if p is not None}
        other._verdicts, other._adjusted = {}, dict(zip(p_values, holm(list(p_values.values())), strict=True))
        return other

    def row(self, id: str) -> Reported:
        """The table row of a configuration."""
        return self.reproduction[id].reported

    def id_of_figure(self, figure: str) -> str:
        """The configuration that a figure shows; "none" if no row of the table names the figure."""
        return next((each.id for each in self.reproduction.configurations if figure in each.reported.figures), "none")

    def verdict(self, id: str) -> Verdict:
        """The verdict on another statement, such as a reason for this one."""
        if id not in self._verdicts:
            self._verdicts[id] = self._evaluate(self.statements[id], self)
        return self._verdicts[id]

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdict on each statement, in order."""
        return tuple(map(self.verdict, self.statements))

    def trainings(self, id: str) -> tuple[JudgedTraining, ...]:
        """Our complete trainings, one per seed; none in a quick reproduction."""
        return () if self.reproduction.quick else self.reproduction[id].whole

    def pooled(self, id: str, of_first_epoch: bool = False) -> tuple[JudgedTraining, ...]:
        """The complete trainings, ours and those by d2l of the shape, or all that have one epoch; none without ours."""
        ours = self.reproduction[id].runs if of_first_epoch else self.trainings(id)
        theirs = d2l_trainings(self.row(id))
        return (*ours, *(theirs if of_first_epoch else whole(theirs))) if ours else ()

    def missing(self, *ids: str) -> str:
        """A sentence on why the configurations can't be judged; "" if each has a complete training."""
        if self.reproduction.quick:
            return "A quick reproduction trains for a few epochs only, so it judges no perplexity."
        for id in ids:
            if not self.trainings(id):
                epochs = max((run.epochs for run in self.reproduction[id].runs), default=0)
                return f"{id} is not trained to the end: {epochs} of {protocol_epochs(self.row(id))} epochs."
        return ""

    def without_training(self, statement: Statement, *ids: str) -> Verdict:
        """The open verdict on a statement about configurations that lack a complete training, or its texts."""
        needs = [id for id in ids if not self.trainings(id)] or ids
        part = "a reproduction without --quick" if self.reproduction.quick else f"training {listed(needs)} to the end"
        return Verdict(statement, Word.OPEN, self.missing(*ids) or "Our trainings have recorded no texts.", part)

    def _measured(self, id: str, measure: Measure) -> list[tuple[JudgedTraining, float]]:
        values = ((run, measure.of(run)) for run in self.pooled(id, measure.of_first_epoch))
        return [(run, value) for run, value in values if value is not None and isfinite(value)]

    def values(self, id: str, measure: Measure) -> list[float]:
        """The measure of each training that has it, ours first, then d2l's."""
        return [value for _, value in self._measured(id, measure)]

    def seeds(self, id: str, measure: Measure = LAST_TRAIN) -> str:
        """The number of trainings with the measure, such as "3 seeds and 5 of d2l's"."""
        runs = [run for run, _ in self._measured(id, measure)]
        ours = sum(run.run_id != "" for run in runs)
        return counted(ours, "seed") + (f" and {len(runs) - ours} of d2l's" if ours < len(runs) else "")

    def mean(self, id: str, measure: Measure) -> Estimate:
        """The mean of a measure over seeds with its 95 % interval; needs at least one value."""
        return estimate(self.values(id, measure), logarithmic=measure.logarithmic, spread=self.spread(measure))

    def spread(self, measure: Measure) -> Spread:
        """The standard deviation of a single seed, of the logarithm if the measure is logarithmic, pooled."""
        if measure.name not in self._spreads:
            values = [self._scaled(configuration.id, measure) for configuration in self.reproduction.configurations]
            self._spreads[measure.name] = pooled_spread(values)
        return self._spreads[measure.name]

    def _scaled(self, id: str, measure: Measure) -> Floats:
        values = np.asarray(self.values(id, measure), float)
        return np.log(values) if measure.logarithmic else values

    def compare(self, first: str, second: str, measure: Measure) -> Comparison:
        """Compare a measure of two configurations, which must both have values."""
        one, other = self._scaled(first, measure), self._scaled(second, measure)
        found, p = difference(one, other, self.spread(measure))
        key = (min(first, second), max(first, second), measure.name)
        self._asked[key] = p
        return Comparison(
            first=first,
            second=second,
            means=(self.mean(first, measure).mean, self.mean(second, measure).mean),
            difference=Estimate(*map(expm1, (found.mean, *(found.ends or ())))) if measure.logarithmic else found,
            relative=measure.logarithmic,
            seeds=(len(one), len(other)),
            p=p,
            adjusted_p=self._adjusted.get(key, p),
        )

    def compared(
        self,
        name: str,
        measure: Measure,
        statement: Statement,
        judge: Judge,
        combine: Combine = all_of,
        ids: Sequence[str] = (),
    ) -> Part:
        """The part of a statement that its first configuration (or that of ``ids``) differs so from the others."""
        first, *others = ids or statement.configurations
        if lacking := [id for id in (first, *others) if not self.values(id, measure)]:
            verdict = self.without_training(statement, *lacking)
            return Part(name, Word.OPEN, verdict.because, (verdict.part,))
        known = [self.compare(first, id, measure) for id in others]
        because = f"{measure.name[0].upper()}{measure.name[1:]} {'; '.join(map(str, known))}."
        needs = tuple(comparison.seeds_needed for comparison in known if judge(comparison) == Word.OPEN)
        return Part(name, combine(list(map(judge, known))), because, needs)
