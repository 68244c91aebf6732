"""The Pareto front of a search: candidates with estimates over seeds, members (columns: ``results.Member``), picks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf, log, log10
from typing import Any, NamedTuple, cast

import numpy as np

from pipeline.config import COSTS, CostAxis
from pipeline.results import Member
from pipeline.support.pareto import front_mask, hypervolume, knee
from pipeline.support.statistics import Estimate, Spread, estimate, geometric_mean, pooled_spread
from pipeline.training.differences import SEED_SPREADS, are_level

WITHIN = 0.05  # the pick "lean" may be worse than the best perplexity by this share
_BITS = SEED_SPREADS["network against n-grams"]
DEFAULT_SPREAD = Spread((_BITS.deviation or 0.0) * log(2), _BITS.degrees_of_freedom)  # of its log perplexity by seed


class Trial(NamedTuple):
    """A trial as pictures show it; the cost of a failed trial is known too."""

    cell: str
    cost: int
    val_perplexity: float | None  # None: it failed
    on_ngrams: bool = False


@dataclass(frozen=True)
class Candidate:
    """A configuration and its runs, which differ in their seed alone.

    ``val_perplexities`` has one value for each of ``run_ids``, at least one; a run that diverged has infinity, and so
    has the mean. ``test_perplexities`` may be empty, and so may ``ms_per_char``, the milliseconds to generate a
    character, which only pictures show. ``sizes`` are the other figures of a ``Member``, which all runs share.
    """

    name: str
    cell: str
    num_layers: int
    hidden_size: int
    sizes: Mapping[str, Any] = field(hash=False)
    run_ids: tuple[str, ...]
    val_perplexities: tuple[float, ...]
    test_perplexities: tuple[float, ...] = ()
    ms_per_char: tuple[float, ...] = ()

    @property
    def label(self) -> str:
        """The name in pictures, such as lstm 1x64, or lstm 1x32+ngram."""
        return f"{self.cell} {self.num_layers}x{self.hidden_size}{'+ngram' if self.ngram_numbers else ''}"

    @property
    def ngram_numbers(self) -> int:
        """What is stored of n-grams, by a model on top of them."""
        return int(self.sizes["stored_numbers"] - self.sizes["parameters"])

    @property
    def mean_val_perplexity(self) -> float:
        """The geometric mean over the runs; infinite if one of them diverged."""
        return geometric_mean(self.val_perplexities)

    @property
    def run_id(self) -> str:
        """The run to use: the one with the lowest validation perplexity; of equal ones, the first.

        Reported figures are means over all runs, so they do not profit from this choice.
        """
        return self.run_ids[int(np.argmin(self.val_perplexities))]


@dataclass(frozen=True)
class FrontPoint:
    """An evaluated candidate: the search's cost, and geometric means over its seeds with prediction intervals."""

    candidate: Candidate
    cost: int
    val: Estimate
    test: Estimate | None
    on_front: bool

    @property
    def seeds(self) -> int:
        """The number of runs, each with its own seed."""
        return len(self.candidate.run_ids)

    @property
    def member(self) -> Member:
        """The point in the result of a search."""
        shared = {name: getattr(self.candidate, name) for name in ("name", "cell", "num_layers", "hidden_size")}
        figures = {
            **shared,
            **self.candidate.sizes,
            "val_perplexity": self.val.mean,
            "val_perplexity_low": self.val.low,
            "val_perplexity_high": self.val.high,
            "test_perplexity": self.test.mean if self.test else None,
            "run_ids": [run_id for run_id in self.candidate.run_ids if run_id],
        }
        return cast(Member, figures)


@dataclass(frozen=True)
class FrontEstimate:
    """All candidates, ordered by cost, with the area that they dominate and the spread among seeds.

    ``reference`` is (perplexity, cost); ``hypervolume`` is in perplexity times decades of the cost that ``axis`` names.
    ``spread`` is that of log perplexity among the seeds of one configuration, from which the intervals are.
    """

    points: tuple[FrontPoint, ...]
    reference: tuple[float, float]
    hypervolume: float
    spread: Spread
    axis: CostAxis

    @cached_property
    def front(self) -> tuple[FrontPoint, ...]:
        """The points on the front, by the means."""
        return tuple(point for point in self.points if point.on_front)


def evaluate_front(
    candidates: Sequence[Candidate], reference: tuple[float, float], cost: str = "macs"
) -> FrontEstimate:
    """Evaluate the candidates: means over seeds, 95 % prediction intervals, front and hypervolume.

    ``reference`` is (perplexity, cost); nothing worse is on the front. The intervals are those of one more training
    with another seed, by the spread that ``_spread_of_seeds`` gives; without a second seed, there are none.
    """
    axis = COSTS[cost]
    candidates = sorted(candidates, key=lambda c: (axis.of(c.sizes), c.mean_val_perplexity, c.name))
    means = [candidate.mean_val_perplexity for candidate in candidates]
    costs = [axis.of(candidate.sizes) for candidate in candidates]
    on_front = front_mask(costs, means) & (np.array(means) <= reference[0])
    spread = _spread_of_seeds([candidate.val_perplexities for candidate in candidates])
    test_spread = _spread_of_seeds([candidate.test_perplexities for candidate in candidates])
    points = tuple(
        FrontPoint(
            candidate,
            axis.of(candidate.sizes),
            estimate(candidate.val_perplexities, spread=spread, of_next=True),
            estimate(tests, spread=test_spread, of_next=True) if (tests := candidate.test_perplexities) else None,
            bool(is_member),
        )
        for candidate, is_member in zip(candidates, on_front, strict=True)
    )
    area = [(log10(each), mean) for each, mean in zip(costs, means, strict=True)]
    return FrontEstimate(points, reference, hypervolume(area, (log10(reference[1]), reference[0])), spread, axis)


def _spread_of_seeds(perplexities: Sequence[Sequence[float]]) -> Spread:
    """The spread of log perplexity, pooled over the configurations with several seeds, or DEFAULT_SPREAD.

    The one with the wider interval counts, as two or three pairs of seeds may happen to agree.
    """
    pooled = pooled_spread([np.log(each) for each in perplexities])
    if pooled.deviation is None:
        return pooled
    return max(pooled, DEFAULT_SPREAD, key=lambda each: estimate([1.0], spread=each).half)


def hypervolume_by_trial(trials: Sequence[Trial], reference: tuple[float, float]) -> list[float]:
    """The hypervolume after each trial, in perplexity times decades of cost; a failed trial adds nothing.

    ``reference`` is (perplexity, cost).
    """
    points = [(log10(trial.cost), trial.val_perplexity or reference[0]) for trial in trials]
    return [hypervolume(points[: number + 1], (log10(reference[1]), reference[0])) for number in range(len(points))]


@dataclass(frozen=True)
class Pick:
    """A member of the front, and a sentence that justifies the pick with its numbers."""

    point: FrontPoint
    sentence: str

    @property
    def run_id(self) -> str:
        """The run to use."""
        return self.point.candidate.run_id


def describe_point(point: FrontPoint, axis: CostAxis) -> str:
    """Describe a member: gru-1x64 (41,820 MACs per character, validation perplexity 4.61 ± 0.05 over 3 seeds, ...)."""
    seeds = f"over {point.seeds} seeds" if point.seeds > 1 else "with one seed"
    test = f", test {point.test}" if point.test else ""
    cost = f"{point.cost:,} {axis.name}"
    return f"{point.candidate.name} ({cost}, validation perplexity {point.val} {seeds}{test})"


def _costlier(point: FrontPoint, other: FrontPoint, axis: CostAxis, name: str = "") -> str:
    """Compare a member of the front with a costlier one: by how much its cost rises and its perplexity falls."""
    times = other.cost / point.cost
    less = 100 * (1 - other.val.mean / point.val.mean)
    factor = f"{times:.3g}" if times < 100 else f"{times:,.0f}"
    return f"{name or other.candidate.name} needs {factor} times as many {axis.short} for {less:.2g} % less perplexity"


def picks(evaluated: FrontEstimate) -> dict[str, Pick]:
    """Pick members of the front: lean, knee and best, in this order; empty without a front.

    ``lean`` has the lowest cost among those within 5 % of the best mean validation perplexity, ``knee`` lies furthest
    below the chord of the front in (log10 cost, log perplexity), and ``best`` has the lowest mean validation
    perplexity. One member may be picked several times.
    """
    front, axis = evaluated.front, evaluated.axis
    if not front:
        return {}
    best = min(front, key=lambda point: point.val.mean)  # the first of equals, which has the lowest cost
    lean = next(point for point in front if point.val.mean <= (1 + WITHIN) * best.val.mean)
    bend = front[knee([(log10(point.cost), log(point.val.mean)) for point in front])]
    first = front[0]
    percent = f"{100 * WITHIN:.0f} %"

    if lean is best:
        of_lean = f"is the best, and nothing smaller is within {percent} of it"
    else:
        of_lean = f"is the smallest within {percent} of the best; {_costlier(lean, best, axis)}"

    of_bend = "is the knee"
    if len(front) == 1:
        of_bend += ": the front has no other"
    elif bend is first:
        of_bend += ": the smallest, as nothing lies below the chord of the front"
    else:
        of_bend += f": {_costlier(first, bend, axis, 'it')} than {first.candidate.name}"
    if bend is not best:
        of_bend += f"; {_costlier(bend, best, axis)}"

    of_best = "has the lowest validation perplexity of "
    of_best += f"{len(evaluated.points)} configurations" if len(evaluated.points) > 1 else "one configuration"
    every = [point.candidate.val_perplexities for point in evaluated.points if point.val.mean < inf]
    lowest = best.candidate.val_perplexities
    others = [point.candidate for point in front if point is not best]
    if rivals := [each.name for each in others if are_level(each.val_perplexities, lowest, every)]:
        of_best += f"; the seeds leave open whether it is better than {' and '.join(rivals[-2:])}"

    chosen = {"lean": (lean, of_lean), "knee": (bend, of_bend), "best": (best, of_best)}
    return {name: Pick(point, f"{describe_point(point, axis)} {said}.") for name, (point, said) in chosen.items()}
