"""Prune trials of the two-objective search by their validation curves. Imports neither Optuna nor torch.

A trial is pruned when even an optimistic continuation of its validation curve stays above a perplexity that another
trial has reached with at most as many MACs. Domhan et al. (IJCAI 2015) stop a training whose extrapolated curve will
not beat the best one; Chandrashekaran and Lane (ECML PKDD 2017) extrapolate by the curves of earlier trials instead of
a family of functions. Earlier curves show what such a function does not: how much is still gained at the end of the
cosine schedule, and how long a deep network stays at the letter frequencies before it learns more.

Shapes: N finished trials, E epochs of a trial's budget, e epochs trained so far. Curves are compared as logarithms
(nats) of the lowest perplexity so far, since the lowest one is a trial's result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, isfinite, log

import numpy as np

from pipeline.config import PRUNED

MACS_WEIGHT = 0.1  # distance in nats between two curves whose MACs differ by a factor of e


@dataclass(frozen=True)
class FinishedCurve:
    """The validation perplexity after each epoch of a complete trial, and its MACs per character."""

    macs_per_char: int
    val_perplexities: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.macs_per_char < 1:
            raise ValueError(f"macs_per_char is {self.macs_per_char}; it must be at least 1")
        _check(self.val_perplexities)


@dataclass(frozen=True)
class PruningRule:
    """How cautiously to prune; the defaults lost nothing in ``tests/benchmarks/bench_hopeless.py``.

    ``min_finished``: complete trials before the first trial is pruned.
    ``min_epochs``: epochs before a trial is pruned; one point does not show whether a curve has just started to fall.
    ``neighbours``: number of most similar complete trials; the one that gained most is the continuation.
    ``slack``: share added to that gain, since the best of a few trials is not the best possible.
    ``noise``: nats added to it as well, since another seed ends at another perplexity.
    """

    min_finished: int = 10
    min_epochs: int = 2
    neighbours: int = 5
    slack: float = 0.2
    noise: float = 0.02

    def __post_init__(self) -> None:
        if not 1 <= self.neighbours <= self.min_finished:
            raise ValueError(f"neighbours is {self.neighbours}; it must be 1 to min_finished ({self.min_finished})")
        if self.min_epochs < 1:
            raise ValueError(f"min_epochs is {self.min_epochs}; it must be 1 or more")
        for name in ("slack", "noise"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 0 or more")

    def reason_to_stop(
        self, curve: Sequence[float], epochs: int, macs_per_char: int, finished: Sequence[FinishedCurve]
    ) -> str:
        """The reason to prune a trial with these e validation perplexities, out of ``epochs``; "" to continue it.

        A trial continues if its optimistic continuation is no worse than the finished trials with at most its MACs, if
        there are too few epochs or finished trials (``min_epochs``, ``min_finished``), or if no finished curve was as
        high at this epoch, so that its continuation is unknown. A finished curve of another length counts as a
        perplexity reached, but not as a continuation. The order of ``finished`` does not matter. Raises ValueError for
        a perplexity that is below 1 or not finite.
        """
        _check(curve)
        done = len(curve)
        cheaper = [trial for trial in finished if trial.macs_per_char <= macs_per_char]
        whole = [trial for trial in finished if len(trial.val_perplexities) == epochs]
        if not self.min_epochs <= done < epochs or not cheaper or len(whole) < self.min_finished:
            return ""
        reached, reached_macs = min((min(trial.val_perplexities), trial.macs_per_char) for trial in cheaper)
        gain = self._largest_gain(curve, macs_per_char, whole)
        optimistic = min(curve) * exp(-gain)
        if optimistic <= reached:
            return ""
        return (
            f"epoch {done} of {epochs} at {min(curve):.2f}; even x {exp(-gain):.3f}, more than the {self.neighbours} "
            f"most similar finished trials gained from there, ends at {optimistic:.2f}, and {reached:.2f} is already "
            f"reached with {reached_macs:,} MACs per character ({macs_per_char:,} here)"
        )

    def _largest_gain(self, curve: Sequence[float], macs_per_char: int, whole: Sequence[FinishedCurve]) -> float:
        """The nats by which the curve may still fall; inf if no finished curve was as high at this epoch."""
        done = len(curve)
        ours = np.minimum.accumulate(np.log(curve))  # (e)
        theirs = np.minimum.accumulate(np.log([trial.val_perplexities for trial in whole]), axis=1)  # (N, E)
        now = theirs[:, done - 1]
        if ours[-1] > now.max() + self.noise:
            return inf
        distance = abs(now - ours[-1])
        if done > 1:  # of two curves at the same height, one may still fall while the other is flat
            distance += abs((theirs[:, done - 2] - now) - (ours[-2] - ours[-1]))
        distance += MACS_WEIGHT * abs(np.log([trial.macs_per_char for trial in whole]) - log(macs_per_char))
        nearest = distance <= np.partition(distance, self.neighbours - 1)[self.neighbours - 1]
        return float((now - theirs[:, -1])[nearest].max()) * (1 + self.slack) + self.noise


@dataclass(frozen=True)
class PruningStop:
    """A pruning rule with a trial's MACs and the finished curves, to be sent to the worker that trains it."""

    rule: PruningRule
    macs_per_char: int
    finished: tuple[FinishedCurve, ...]

    def __call__(self, curve: Sequence[float], epochs: int) -> str:
        """The reason to prune a training with this validation curve, out of ``epochs``; "" to continue it."""
        reason = self.rule.reason_to_stop(curve, epochs, self.macs_per_char, self.finished)
        return f"{PRUNED}: {reason}" if reason else ""


def _check(val_perplexities: Sequence[float]) -> None:
    """Raise ValueError unless all perplexities are finite and at least 1."""
    for value in val_perplexities:
        if not (isfinite(value) and value >= 1):
            raise ValueError(f"val_perplexities has {value}; each must be a finite number of at least 1")
