"""Build Optuna's distributions and the sampler that ``--sampler`` names."""

from collections.abc import Callable, Mapping
from math import log10
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from pipeline.config import SearchConfig
from pipeline.search.known_cost.sampler import KnownCostSampler
from pipeline.search.space import LOG_PARAMETERS, PARAMETERS, Range, Space
from pipeline.search.study.storage import FAILURE, REPEATS

NSGA_POPULATION = 10  # its own 50 would not leave the first, random generation in 40 trials

OVER_BUDGET = "over --budget-macs"  # how the reason begins for which a trial was never trained


def is_over_budget(trial: FrozenTrial) -> bool:
    """Whether a trial was not trained because it was over the budget of that time."""
    return str(trial.user_attrs.get(FAILURE, "")).startswith(OVER_BUDGET)


# --- samplers and distributions --------------------------------------------------------------------------------------


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The searched parameters as Optuna has them."""
    found: dict[str, BaseDistribution] = {}
    for name, values in space.searched.items():
        if not isinstance(values, Range):
            found[name] = CategoricalDistribution(values)
        elif PARAMETERS[name] is int:
            found[name] = IntDistribution(int(values.low), int(values.high), log=name in LOG_PARAMETERS)
        else:
            found[name] = FloatDistribution(values.low, values.high, log=name in LOG_PARAMETERS)
    return found


def build_sampler(
    config: SearchConfig, space: Space, macs: Callable[[Mapping[str, Any]], int], vocab_size: int, done: int
) -> BaseSampler:
    """The sampler; Optuna's get the seed plus the number of trials, since they would repeat themselves on resume."""
    seed = config.seed + done
    if config.sampler == "known-cost":
        known_cost: BaseSampler = KnownCostSampler(
            lambda parameters: log10(macs(parameters)),
            max_cost=log10(config.budget_macs) if config.budget_macs else None,
            worst=float(vocab_size),
            ignore=lambda trial: REPEATS in trial.user_attrs or is_over_budget(trial),
            search_space=distributions(space),
            seed=config.seed,
        )
        return known_cost
    samplers: dict[str, Callable[[], BaseSampler]] = {
        "gp": lambda: GPSampler(seed=seed),
        "tpe": lambda: TPESampler(seed=seed),
        "nsga2": lambda: NSGAIISampler(population_size=NSGA_POPULATION, seed=seed),
        "random": lambda: RandomSampler(seed=seed),
        "grid": lambda: RandomSampler(seed=seed),  # asked for nothing: each of its trials is put in line
    }
    return samplers[config.sampler]()
