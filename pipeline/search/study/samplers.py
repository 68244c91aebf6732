"""Build the sampler that --sampler names, and the Optuna distributions of a search space."""

from collections.abc import Callable, Iterator, Mapping
from math import log10
from random import Random
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from pipeline.config import SearchConfig
from pipeline.search.known_cost.sampler import KnownCostSampler, range_of
from pipeline.search.known_cost.space import CandidateSpace
from pipeline.search.space import LOG_PARAMETERS, PARAMETERS, Range, Space
from pipeline.search.study import attributes
from pipeline.search.study.attributes import FAILURE, REPEATS

NSGA_POPULATION = 10  # with Optuna's default of 50, all of 40 trials would be of the first, random generation
OVER_BUDGET = "over --budget-macs"  # prefix of the failure of a trial that was not trained
LARGEST_LISTED_SPACE = 100_000  # configurations; a larger space is sampled instead of listed


def build_sampler(
    config: SearchConfig, space: Space, macs: Callable[[Mapping[str, Any]], int], vocab_size: int, done: int
) -> BaseSampler:
    """Build the sampler of ``config``.

    ``macs`` computes the MACs per character of parameters. ``done``, the number of trials in the study, is added to the
    seed of Optuna's samplers, which would otherwise repeat their proposals when a search is resumed.
    """
    seed = config.seed + done
    if config.sampler == "known-cost":
        known_cost: BaseSampler = KnownCostSampler(
            lambda parameters: log10(macs(parameters)),
            max_cost=log10(config.budget_macs) if config.budget_macs else None,
            worst=float(vocab_size),
            ignore=lambda trial: attributes.has(trial, REPEATS) or is_over_budget(trial),
            search_space=distributions(space),
            seed=config.seed,
        )
        return known_cost
    samplers: dict[str, Callable[[], BaseSampler]] = {
        "gp": lambda: GPSampler(seed=seed),
        "tpe": lambda: TPESampler(seed=seed),
        "nsga2": lambda: NSGAIISampler(population_size=NSGA_POPULATION, seed=seed),
        "random": lambda: RandomSampler(seed=seed),
        "grid": lambda: RandomSampler(seed=seed),  # never used: each trial of a grid is enqueued
    }
    return samplers[config.sampler]()


def is_over_budget(trial: FrozenTrial) -> bool:
    """Whether a trial was not trained because it was over --budget-macs at that time."""
    return str(trial.user_attrs.get(FAILURE, "")).startswith(OVER_BUDGET)


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Optuna's distributions of the searched parameters."""
    by_name: dict[str, BaseDistribution] = {}
    for name, values in space.searched.items():
        if not isinstance(values, Range):
            by_name[name] = CategoricalDistribution(values)
        elif PARAMETERS[name] is int:
            by_name[name] = IntDistribution(int(values.low), int(values.high), log=name in LOG_PARAMETERS)
        else:
            by_name[name] = FloatDistribution(values.low, values.high, log=name in LOG_PARAMETERS)
    return by_name


def configurations(space: Space) -> Iterator[dict[str, Any]] | None:
    """List every configuration of a space; None if there are more than LARGEST_LISTED_SPACE, or infinitely many."""
    points = _points_of(space)
    if points.size() > LARGEST_LISTED_SPACE:
        return None
    return ({**space.fixed, **points.external(point)} for point in points.enumerate())


def draw(space: Space, random: Random) -> dict[str, Any]:
    """Draw a configuration from the distribution of RandomSampler: log-uniform in hidden size and learning rate."""
    if not space.searched:
        return dict(space.fixed)
    points = _points_of(space)
    (point,) = points.from_unit(np.array([[random.random() for _ in points.ranges]]))
    return {**space.fixed, **points.external(point)}


def _points_of(space: Space) -> CandidateSpace:
    return CandidateSpace({name: range_of(name, distribution) for name, distribution in distributions(space).items()})
