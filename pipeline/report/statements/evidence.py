"""The evidence of the recorded trainings: values over seeds, their spread, and comparisons of configurations.

The rules are the same for every statement:

Trainings. Our trainings count if they have all the epochs of the report's protocol; a quick reproduction has none. The
    recorded trainings by d2l itself of the same shape (data/d2l_curves.csv) are further seeds, for every measure that
    they have, if at least one of ours counts.
Intervals. A mean over seeds has the 95 % interval of Student's t, with the standard deviation of a single seed pooled
    over all configurations and its degrees of freedom. Perplexities are averaged as logarithms, gaps as they are.
Differences. Welch's test (Biometrika 34, 1947) over the seeds of both sides; for a side with one seed, or with equal
    values, the pooled standard deviation is used. Holm's correction (Scandinavian Journal of Statistics 6, 1979) is
    over all comparisons that the statements of a kind ask for.
Perplexities. All are of the protocol's text and split, averaged as in the book (the mean over batches of exp of the
    batch's loss), unless the name of the measure says otherwise. Only perplexities of the same average are compared.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from math import expm1, isfinite

import numpy as np

from models.complexity import Complexity
from pipeline.config import resolve
from pipeline.report.checks import d2l_curves
from pipeline.report.reproduction import RecordedTraining, Reproduction
from pipeline.report.statements.bounds import Bounds
from pipeline.report.statements.table import Statement, report_statements
from pipeline.report.statements.verdicts import OPEN, Comparison, Verdict
from pipeline.report.table import Reported
from pipeline.support.statistics import Estimate, Floats, Spread, difference, estimate, holm, pooled_spread
from pipeline.support.wording import counted, listed


@dataclass(frozen=True)
class Measure:
    """A number of a training, None or infinite if the training lacks it; ``logarithmic`` measures compare by ratio.

    ``name`` identifies the measure and any bound that it depends on; sentences show it. ``epochs`` is the number of
    epochs after which it is measured, so that unfinished trainings with as many count. None measures complete trainings
    after all epochs of the protocol.
    """

    name: str
    of: Callable[[RecordedTraining], float | None]
    logarithmic: bool = True
    epochs: int | None = None


FIRST_HALF = Measure("training perplexity over the first half epoch", lambda run: run.first_half, epochs=1)

FIRST_TRAIN = Measure("training perplexity over the first epoch", lambda run: run.train[0], epochs=1)

FIRST_VAL = Measure("validation perplexity after the first epoch", lambda run: run.val[0], epochs=1)

LAST_TRAIN = Measure("training perplexity at the last epoch", lambda run: run.train[-1])

LAST_VAL = Measure("validation perplexity at the last epoch", lambda run: run.val[-1])

BEST_VAL = Measure("best validation perplexity", lambda run: run.best_val)

BEST_POOLED = Measure(
    "pooled validation perplexity at the best epoch",
    lambda run: run.best_val_pooled if run.val_pooled else None,
)

LAST_GAP = Measure("gap at the last epoch", lambda run: run.val[-1] - run.train[-1], logarithmic=False)


def protocol_epochs(reported: Reported) -> int:
    """The number of epochs of the report's protocol."""
    epochs = resolve({"preset": "report", **reported.model})[1].epochs
    assert epochs is not None
    return epochs


@cache
def d2l_trainings(reported: Reported) -> tuple[RecordedTraining, ...]:
    """The recorded trainings of a row's shape by d2l itself, one per seed; only their curves are known."""
    curves = d2l_curves().get(reported.id, {"train": (), "val": ()})
    return tuple(
        RecordedTraining(
            run_id="",
            seed=seed,
            status="d2l",
            epochs_planned=protocol_epochs(reported),
            train=tuple(train),
            val=tuple(val),
            train_pooled=(),
            val_pooled=(),
            train_seconds=0.0,
        )
        for seed, (train, val) in enumerate(zip(curves["train"], curves["val"], strict=True))
    )


class Evidence:
    """A reproduction with its statements and bounds, as the evaluators use it.

    Comparisons have ``adjusted_p`` = ``p`` until ``corrected``, which first collects all comparisons that the
    statements ask for. An evaluator must therefore ask for the same comparisons whatever their results are.
    """

    def __init__(
        self,
        reproduction: Reproduction,
        statements: Sequence[Statement],
        bounds: Bounds,
        evaluate: Callable[[Statement, "Evidence"], Verdict],
    ) -> None:
        self.reproduction, self.bounds = reproduction, bounds
        self.statements = {statement.id: statement for statement in statements}
        self._evaluate = evaluate
        self._verdicts: dict[str, Verdict] = {}
        self._asked: dict[Key, float | None] = {}
        self._adjusted: Mapping[Key, float] = {}
        self._measures: dict[tuple[str, str], list[tuple[RecordedTraining, float]]] = {}
        self._comparisons: dict[tuple[str, str, str], Comparison] = {}
        self._spreads: dict[str, Spread] = {}
        self._pooled: dict[tuple[str, int | None], tuple[RecordedTraining, ...]] = {}

    def corrected(self, bounds: Bounds | None = None) -> "Evidence":
        """Copy this evidence with p values corrected by Holm's method over each kind, under these or other bounds."""
        first = self._again(bounds or self.bounds, {})
        for id in first.statements:  # collects the comparisons
            first.verdict(id)
        return self._again(first.bounds, first._holm())

    def _again(self, bounds: Bounds, adjusted: Mapping["Key", float]) -> "Evidence":
        """Copy this evidence without its verdicts; caches that depend on the trainings alone are shared."""
        other = copy(self)
        other.bounds, other._adjusted, other._verdicts, other._asked = bounds, adjusted, {}, {}
        return other

    # --- the report ---------------------------------------------------------------------------------------------------

    @property
    def rows(self) -> tuple[Reported, ...]:
        """The table of what the report says of each configuration."""
        return tuple(each.reported for each in self.reproduction.configurations)

    def row(self, id: str) -> Reported:
        """The table row of a configuration."""
        return self.reproduction[id].reported

    def row_of_figure(self, figure: str) -> Reported | None:
        """The table row of the configuration that a figure shows; None if no row names the figure."""
        return next((row for row in self.rows if figure in row.figures), None)

    def complexity(self, id: str) -> Complexity:
        """The measured size of a configuration."""
        return self.reproduction[id].complexity

    def verdict(self, id: str) -> Verdict:
        """The verdict on another statement, such as a reason for this one."""
        if id not in self._verdicts:
            self._verdicts[id] = self._evaluate(self.statements[id], self)
        return self._verdicts[id]

    @property
    def is_of_the_report(self) -> bool:
        """Whether the statements are the coursework report's."""
        return tuple(self.statements.values()) == report_statements()

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The verdict on each statement, in order."""
        return tuple(map(self.verdict, self.statements))

    # --- trainings ----------------------------------------------------------------------------------------------------

    def trainings(self, id: str) -> tuple[RecordedTraining, ...]:
        """Our complete trainings, one per seed, truncated to the protocol's epochs; none in a quick reproduction."""
        epochs = protocol_epochs(self.row(id))
        whole = () if self.reproduction.quick else self.reproduction[id].whole
        return tuple(run.until(epochs) for run in whole if run.epochs >= epochs)

    def pooled(self, id: str, epochs: int | None = None) -> tuple[RecordedTraining, ...]:
        """Our trainings and those by d2l of the shape, truncated to ``epochs``; empty without one of ours.

        By default, ``epochs`` is that of the protocol, and ours are the complete ones.
        """
        if (id, epochs) not in self._pooled:
            runs = self.trainings(id) if epochs is None else self.reproduction[id].runs
            length = epochs or protocol_epochs(self.row(id))
            ours, theirs = (
                tuple(run.until(length) for run in each if run.epochs >= length)
                for each in (runs, d2l_trainings(self.row(id)))
            )
            self._pooled[id, epochs] = (*ours, *theirs) if ours else ()
        return self._pooled[id, epochs]

    def missing(self, *ids: str) -> str:
        """A sentence on why the configurations can't be judged; "" if each has a complete training."""
        if self.reproduction.quick:
            return "A quick reproduction trains for a few epochs only, so it judges no perplexity."
        for id in ids:
            if not self.trainings(id):
                epochs = max((run.epochs for run in self.reproduction[id].runs), default=0)
                return f"{id} is not trained to the end: {epochs} of {protocol_epochs(self.row(id))} epochs."
        return ""

    def lacking(self, statement: Statement, *ids: str) -> Verdict:
        """The open verdict on a statement about configurations that lack a complete training."""
        needs = [id for id in ids if not self.trainings(id)]
        part = "a reproduction without --quick" if self.reproduction.quick else f"training {listed(needs)} to the end"
        return Verdict(statement, OPEN, self.missing(*ids), part)

    def values(self, id: str, measure: Measure) -> list[float]:
        """The measure of each training that has it, ours first, then d2l's."""
        return [value for _, value in self._measured(id, measure)]

    def seeds(self, id: str, measure: Measure = LAST_TRAIN) -> str:
        """The number of trainings with the measure, such as "3 seeds and 5 of d2l's"."""
        ours = sum(run.run_id != "" for run, _ in self._measured(id, measure))
        theirs = len(self._measured(id, measure)) - ours
        return f"{counted(ours, 'seed')} and {theirs} of d2l's" if theirs else counted(ours, "seed")

    def _measured(self, id: str, measure: Measure) -> list[tuple[RecordedTraining, float]]:
        if (id, measure.name) not in self._measures:
            runs = self.pooled(id, measure.epochs)
            values = ((run, measure.of(run)) for run in runs)
            self._measures[id, measure.name] = [(run, x) for run, x in values if x is not None and isfinite(x)]
        return self._measures[id, measure.name]

    # --- means and differences ----------------------------------------------------------------------------------------

    def spread(self, measure: Measure) -> Spread:
        """The standard deviation of a single seed, of the logarithm if the measure is logarithmic, pooled."""
        if measure.name not in self._spreads:
            samples = [self._scaled(each.id, measure) for each in self.reproduction.configurations]
            self._spreads[measure.name] = pooled_spread(samples)
        return self._spreads[measure.name]

    def mean(self, id: str, measure: Measure) -> Estimate:
        """The mean of a measure over seeds with its 95 % interval; needs at least one value."""
        return estimate(self.values(id, measure), logarithmic=measure.logarithmic, spread=self.spread(measure))

    def compare(self, kind: str, first: str, second: str, measure: Measure) -> Comparison:
        """Compare a measure of two configurations, which must both have values, for a statement of this kind."""
        ids = first, second, measure.name
        if ids not in self._comparisons:
            self._comparisons[ids] = self._compared(first, second, measure)
        comparison = self._comparisons[ids]
        key = kind, min(first, second), max(first, second), measure.name
        self._asked[key] = comparison.p
        return replace(comparison, adjusted_p=self._adjusted.get(key, comparison.p))

    def _holm(self) -> dict["Key", float]:
        """The p values of the comparisons asked for, corrected by Holm's method within each kind."""
        adjusted: dict[Key, float] = {}
        for kind in {key[0] for key in self._asked}:
            p_values = {key: p for key, p in self._asked.items() if key[0] == kind and p is not None}
            adjusted |= dict(zip(p_values, holm(list(p_values.values())), strict=True))
        return adjusted

    def _scaled(self, id: str, measure: Measure) -> Floats:
        values = np.asarray(self.values(id, measure), float)
        return np.log(values) if measure.logarithmic else values

    def _compared(self, first: str, second: str, measure: Measure) -> Comparison:
        one, other = self._scaled(first, measure), self._scaled(second, measure)
        found = difference(one, other, self.spread(measure))
        interval = (None if x is None else expm1(x) if measure.logarithmic else x for x in (found.low, found.high))
        mean = expm1(found.mean) if measure.logarithmic else found.mean
        return Comparison(
            first=first,
            second=second,
            measure=measure.name,
            means=(self.mean(first, measure).mean, self.mean(second, measure).mean),
            difference=Estimate(mean, *interval),
            relative=measure.logarithmic,
            seeds=(len(one), len(other)),
            degrees_of_freedom=found.degrees_of_freedom,
            p=found.p,
        )


Key = tuple[str, str, str, str]  # kind of statement, two configurations in alphabetical order, name of the measure
