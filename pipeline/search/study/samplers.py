"""Build the sampler that --sampler names; list or draw the configurations of a search space."""

import warnings
from collections.abc import Callable, Iterator
from math import log10
from random import Random
from typing import Any

import numpy as np
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from pipeline.known_cost.sampler import KnownCostSampler
from pipeline.known_cost.space import CandidateSpace
from pipeline.search.study import attributes
from pipeline.search.study.problem import Problem
from pipeline.search.study.space import Space

NSGA_POPULATION = 10  # with Optuna's default of 50, all of 40 trials would be of the first, random generation
OVER_BUDGET = "over budget"  # FAILURE_KIND of a trial that was not trained
LARGEST_LISTED_SPACE = 100_000  # configurations; a larger space is sampled instead of listed
DRAWN = 1000  # configurations of such a space; if none of them is new, it counts as exhausted


def build_sampler(problem: Problem, done: int, is_constrained: bool) -> BaseSampler:
    """Build the sampler that the configuration names.

    ``done``, the number of trials in the study, is added to the seed of Optuna's samplers, which would otherwise repeat
    their proposals when a search is resumed. To known-cost, perplexities above ``max_perplexity`` are no improvement.
    If ``is_constrained``, Optuna's samplers follow the constraints of the trials.
    """
    config = problem.config
    seed = config.seed + done
    if config.sampler == "known-cost":
        return KnownCostSampler(
            lambda parameters: log10(problem.cost(parameters)),
            max_cost=log10(config.budget_macs) if config.budget_macs else None,
            worst=float(problem.vocab_size),
            reference=problem.max_perplexity,
            ignore=lambda trial: attributes.has(trial, attributes.REPEATS) or is_over_budget(trial),
            search_space=problem.space.searched,
            seed=config.seed,
        )
    options: dict[str, Any] = {"seed": seed}
    if is_constrained and not hasattr(FrozenTrial, "constraints"):  # Optuna 5 needs only the trials
        options["constraints_func"] = attributes.constraints
    samplers: dict[str, Callable[[], BaseSampler]] = {
        "gp": lambda: GPSampler(**options),
        "tpe": lambda: TPESampler(multivariate=True, constant_liar=True, **options),
        "nsga2": lambda: NSGAIISampler(population_size=NSGA_POPULATION, **options),
        "random": lambda: RandomSampler(seed=seed),
        "grid": lambda: RandomSampler(seed=seed),  # never used: each trial of a grid is enqueued
    }
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        return samplers[config.sampler]()


def is_over_budget(trial: FrozenTrial) -> bool:
    """Whether a trial was not trained because it was over --budget-macs at that time."""
    return attributes.of_trial(trial).get(attributes.FAILURE_KIND) == OVER_BUDGET


def configurations(space: Space, random: Random) -> Iterator[dict[str, Any]]:
    """List every configuration of a space; of more than LARGEST_LISTED_SPACE, draw DRAWN in place of them.

    They are drawn from the distribution of RandomSampler: log-uniform in hidden size and learning rate.
    """
    points = CandidateSpace(space.searched)
    if points.size() <= LARGEST_LISTED_SPACE:
        chosen = points.enumerate()
    else:
        chosen = points.from_unit(np.array([[random.random() for _ in points.ranges] for _ in range(DRAWN)]))
    return ({**space.fixed, **points.external(point)} for point in chosen)
