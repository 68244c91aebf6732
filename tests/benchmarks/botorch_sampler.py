"""BoTorch's way to a known second objective, as an Optuna sampler for the comparison. Needs the benchmark group.

Noisy expected hypervolume improvement (Daulton et al. 2021, arXiv:2105.08195) in its form without vanishing gradients
(Ament et al. 2023, arXiv:2310.20708). The models: a SingleTaskGP with BoTorch's own priors on log perplexity, and a
GenericDeterministicModel, which is log10 MACs itself. BoTorch maximises, so both signs are turned; the objective takes
the perplexity out of its logarithm, so that the hypervolume is the one that is compared. The first 2 (d + 1) points are
Sobol's, as in BoTorch's tutorials. The candidates are the shapes with 67 widths, one unit or 5 % apart; where the
learning rate is a parameter, 1,024 random points and 16 neighbours of each observed point that nothing dominates.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.acquisition.multi_objective.objective import GenericMCMultiOutputObjective
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.models.deterministic import GenericDeterministicModel
from botorch.models.model import ModelList
from botorch.optim import optimize_acqf_discrete
from botorch.sampling.index_sampler import IndexSampler
from botorch.sampling.list_sampler import ListSampler
from botorch.sampling.normal import SobolQMCNormalSampler
from gpytorch.mlls import ExactMarginalLogLikelihood
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor

from tests.benchmarks.surface import CELLS, LAYERS, RATES, UNITS

Shape = dict[str, Any]
RANDOM_CANDIDATES, NEIGHBOURS, MONTE_CARLO = 1024, 16, 64
WIDTHS = sorted({round(width) for width in np.geomspace(*UNITS, 75).tolist()})


def _unit(value: float, low: float, high: float) -> float:
    return math.log(value / low) / math.log(high / low)


def encoded(shapes: Sequence[Shape], with_rate: bool) -> Tensor:
    """(N, 5 or 6): the cell as three indicators, then layers, log units and log learning rate between 0 and 1."""
    rows = []
    for shape in shapes:
        row = [float(shape["cell"] == cell) for cell in CELLS]
        row += [(shape["num_layers"] - LAYERS[0]) / (LAYERS[1] - LAYERS[0]), _unit(shape["hidden_size"], *UNITS)]
        rows.append([*row, _unit(shape["learning_rate"], *RATES)] if with_rate else row)
    return torch.tensor(rows, dtype=torch.float64)


def decoded(unit: Sequence[float]) -> Shape:
    """A point of the unit cube (3 or 4 numbers) as parameters, each integer equally likely in its own scale."""
    low, high = UNITS[0] - 0.5, UNITS[1] + 0.5
    shape: Shape = {
        "cell": CELLS[min(int(unit[0] * len(CELLS)), len(CELLS) - 1)],
        "num_layers": min(LAYERS[0] + int(unit[1] * (LAYERS[1] - LAYERS[0] + 1)), LAYERS[1]),
        "hidden_size": min(max(round(low * (high / low) ** unit[2]), UNITS[0]), UNITS[1]),
    }
    if len(unit) == 4:
        shape["learning_rate"] = min(max(RATES[0] * (RATES[1] / RATES[0]) ** unit[3], RATES[0]), RATES[1])
    return shape


def out_of_logarithm(samples: Tensor, X: Tensor | None = None) -> Tensor:  # noqa: N803 (BoTorch's name)
    """(..., 2) of minus log perplexity and minus log10 MACs -> minus perplexity and minus log10 MACs."""
    return torch.stack([-torch.exp(-samples[..., 0]), samples[..., 1]], dim=-1)


class BoTorchSampler(BaseSampler):
    """``log10_macs`` is a function of the parameters; ``reference`` is (perplexity, log10 MACs)."""

    def __init__(
        self, log10_macs: Callable[[Shape], float], reference: tuple[float, float], with_rate: bool, seed: int
    ) -> None:
        self.log10_macs, self.with_rate, self.seed = log10_macs, with_rate, seed
        self.reference = torch.tensor([-reference[0], -reference[1]], dtype=torch.float64)
        dimensions = 4 if with_rate else 3
        self.startup = 2 * (dimensions + 1)
        sobol = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=seed)
        self.start_points = [decoded(unit) for unit in sobol.draw(self.startup, dtype=torch.float64).tolist()]
        self.fallback = RandomSampler(seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return intersection_search_space(study.get_trials(deepcopy=False))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if trial.number < self.startup:
            return self.start_points[trial.number] if search_space else {}
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return self.best([dict(t.params) for t in trials], [(t.values[0], t.values[1]) for t in trials], trial.number)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Only the first trial comes here: Optuna knows no space before it."""
        return self.start_points[trial.number][param_name]

    def candidates(self, observed: Sequence[Shape], values: Sequence[tuple[float, float]], number: int) -> list[Shape]:
        if not self.with_rate:
            return [
                {"cell": cell, "num_layers": layers, "hidden_size": units}
                for cell in CELLS
                for layers in range(LAYERS[0], LAYERS[1] + 1)
                for units in WIDTHS
            ]
        random = np.random.default_rng((self.seed, number))
        found = [decoded(unit) for unit in random.random((RANDOM_CANDIDATES, 4))]
        for shape, (value, cost) in zip(observed, values, strict=True):
            if any(v <= value and c <= cost and (v, c) != (value, cost) for v, c in values):
                continue
            for step in random.normal(0, 0.1, (NEIGHBOURS, 2)):
                units = min(max(round(shape["hidden_size"] * (UNITS[1] / UNITS[0]) ** step[0]), UNITS[0]), UNITS[1])
                rate = min(max(shape["learning_rate"] * (RATES[1] / RATES[0]) ** step[1], RATES[0]), RATES[1])
                found.append({**shape, "hidden_size": units, "learning_rate": rate})
        return found

    def best(self, observed: list[Shape], values: list[tuple[float, float]], number: int) -> Shape:
        """The candidate of greatest improvement after ``observed`` shapes with their (perplexity, log10 MACs)."""
        draws, seed = torch.Size([MONTE_CARLO]), 1000 * self.seed + number
        torch.manual_seed(seed)
        x = encoded(observed, self.with_rate)
        y = torch.tensor([[-math.log(value)] for value, _ in values], dtype=torch.float64)
        choices = self.candidates(observed, values, number)
        choices_x = encoded(choices, self.with_rate)
        known = {tuple(row): -self.log10_macs(shape) for shape, row in zip(choices, choices_x.tolist(), strict=True)}
        known |= {tuple(row): -cost for (_, cost), row in zip(values, x.tolist(), strict=True)}

        def cost(points: Tensor) -> Tensor:
            flat = [known[tuple(row)] for row in points.reshape(-1, points.shape[-1]).tolist()]
            return torch.tensor(flat, dtype=points.dtype).reshape(*points.shape[:-1], 1)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            perplexity = SingleTaskGP(x, y)
            fit_gpytorch_mll(ExactMarginalLogLikelihood(perplexity.likelihood, perplexity))
            improvement = qLogNoisyExpectedHypervolumeImprovement(
                model=ModelList(perplexity, GenericDeterministicModel(cost)),
                ref_point=self.reference,
                X_baseline=x,
                sampler=ListSampler(SobolQMCNormalSampler(draws, seed=seed), IndexSampler(draws, seed=seed)),
                objective=GenericMCMultiOutputObjective(out_of_logarithm),
                prune_baseline=True,
            )
            chosen, _ = optimize_acqf_discrete(improvement, q=1, choices=choices_x, unique=False)
        return choices[int((choices_x == chosen).all(dim=1).nonzero()[0])]
