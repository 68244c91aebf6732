"""BoTorch's way to a known second objective, as an Optuna sampler for the comparison. Needs the benchmark group.

Noisy expected hypervolume improvement (Daulton et al. 2021, arXiv:2105.08195) in its form without vanishing gradients
(Ament et al. 2023, arXiv:2310.20708). The models: a SingleTaskGP with BoTorch's own priors on the unknown objective
(the log of the value), and a GenericDeterministicModel, which is the log10 of the cost itself. BoTorch maximises, so
both signs are turned. The reference point is inferred from what was observed, as BoTorch does where none is given;
running trials are its pending points. The first 2 (d + 1) points are Sobol's, as in BoTorch's tutorials. The
candidates are 1,024 random points and 16 neighbours of each observed point that nothing dominates.
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.deterministic import GenericDeterministicModel
from botorch.models.model import ModelList
from botorch.optim import optimize_acqf_discrete
from botorch.sampling.index_sampler import IndexSampler
from botorch.sampling.list_sampler import ListSampler
from botorch.sampling.normal import SobolQMCNormalSampler
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from botorch.utils.multi_objective.pareto import is_non_dominated
from gpytorch.mlls import ExactMarginalLogLikelihood
from numpy.typing import NDArray
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc
from torch import Tensor

from pipeline.known_cost.space import CandidateSpace, Distribution

Array = NDArray[np.float64]
RANDOM_CANDIDATES, NEIGHBOURS, WIDTH, MONTE_CARLO = 1024, 16, 0.1, 64


class BoTorchSampler(BaseSampler):
    """For two objectives, both to be small: an unknown one and the known cost of a trial's parameters.

    Args:
        cost: the known objective.
        space: the parameters.
        seed: of everything random.
        enqueued: number of first trials that are enqueued; None: Sobol points come first.
    """

    def __init__(
        self,
        cost: Callable[[dict[str, Any]], float],
        space: Mapping[str, BaseDistribution],
        seed: int,
        enqueued: int | None,
    ) -> None:
        self.cost = cost
        self.distributions = dict(space)
        self.space = CandidateSpace(cast(dict[str, Distribution], self.distributions))
        self.seed = seed
        startup = 2 * (len(space) + 1) if enqueued is None else enqueued
        sobol = qmc.Sobol(len(space), seed=np.random.default_rng(seed))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the number of points is no power of two
            self.start = self.space.from_unit(sobol.random(startup))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.distributions

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return RandomSampler(self.seed).sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if "fixed_params" in trial.system_attrs:
            return {}
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if trial.number < len(self.start) or len(finished) < 2:  # the spread of one value is no scale
            return self.space.external(self.start[trial.number % len(self.start)])
        running = [t for t in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) if t.number < trial.number]
        observed = np.array([self.internal(t.params) for t in finished])
        pending = np.array([self.internal(t.params) for t in running]).reshape(len(running), observed.shape[1])
        return self.space.external(self.best(observed, np.array([t.values for t in finished]), pending, trial.number))

    def internal(self, params: dict[str, Any]) -> Array:
        """Convert the parameters of an objective to a point."""
        return np.array([range_.to_internal_repr(params[name]) for name, range_ in self.space.ranges.items()])

    def encoded(self, points: Array) -> Tensor:
        """Inputs of the model (N, D): numbers in [0, 1], categories as indicators."""
        columns = []
        for column, range_ in zip(self.space.to_unit(points).T, self.space.ranges.values(), strict=True):
            levels = np.arange(len(range_.choices)) if isinstance(range_, CategoricalDistribution) else None
            columns.append(column[:, None] if levels is None else (column[:, None] == levels).astype(float))
        return torch.tensor(np.concatenate(columns, axis=1), dtype=torch.float64)

    def candidates(self, best: Array, random: np.random.Generator) -> Array:
        """Points (N, D) to choose from; ``best`` are those that nothing dominates."""
        near = np.repeat(best, NEIGHBOURS, axis=0)
        step = WIDTH * random.standard_normal(near.shape)
        moved = self.space.from_unit(np.clip(self.space.to_unit(near) + step, 0, 1))
        moved[:, self.space.categorical()] = near[:, self.space.categorical()]
        return np.vstack([self.space.from_unit(random.random((RANDOM_CANDIDATES, best.shape[1]))), moved])

    def best(self, observed: Array, values: Array, pending: Array, number: int) -> Array:
        """The candidate of greatest improvement after ``observed`` points with their values (M, 2)."""
        draws, seed = torch.Size([MONTE_CARLO]), 1000 * self.seed + number
        torch.manual_seed(seed)
        y = -torch.tensor(values, dtype=torch.float64)
        best = is_non_dominated(y)
        choices = self.candidates(observed[best.numpy()], np.random.default_rng((self.seed, number)))
        x, choices_x, pending_x = map(self.encoded, (observed, choices, pending))
        known: dict[tuple[float, ...], float] = {}
        for points, inputs in ((choices, choices_x), (observed, x), (pending, pending_x)):
            costs = (-self.cost(self.space.external(point)) for point in points)
            known |= {tuple(row): cost for row, cost in zip(inputs.tolist(), costs, strict=True)}

        def cost(points: Tensor) -> Tensor:
            flat = [known[tuple(row)] for row in points.reshape(-1, points.shape[-1]).tolist()]
            return torch.tensor(flat, dtype=points.dtype).reshape(*points.shape[:-1], 1)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            unknown = SingleTaskGP(x, y[:, :1])
            fit_gpytorch_mll(ExactMarginalLogLikelihood(unknown.likelihood, unknown))
            improvement = qLogNoisyExpectedHypervolumeImprovement(
                model=ModelList(unknown, GenericDeterministicModel(cost)),
                ref_point=infer_reference_point(y[best]),
                X_baseline=x,
                X_pending=pending_x if len(pending) else None,
                sampler=ListSampler(SobolQMCNormalSampler(draws, seed=seed), IndexSampler(draws, seed=seed)),
                prune_baseline=True,
            )
            chosen, _ = optimize_acqf_discrete(improvement, q=1, choices=choices_x, unique=False)
        found: Array = choices[int((choices_x == chosen).all(dim=1).nonzero()[0])]
        return found
