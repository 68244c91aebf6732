"""Quality against size: the error of a made-up network is measured with noise, its weights are counted beforehand."""

import math
import random
from typing import Any

import optuna
import optunahub


def log10_weights(params: dict[str, Any]) -> float:
    """The known objective of a trial's parameters."""
    return math.log10(params["layers"] * params["width"] ** 2)


def objective(trial: optuna.Trial) -> tuple[float, float]:
    layers = trial.suggest_int("layers", 1, 4)
    width = trial.suggest_int("width", 8, 256, log=True)
    error = 1 / width + 0.01 * (layers - 3) ** 2 + 0.02
    return error * random.lognormvariate(0, 0.02), log10_weights(trial.params)


if __name__ == "__main__":
    module = optunahub.load_module(package="samplers/known_cost")
    sampler = module.KnownCostSampler(log10_weights, seed=0)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=20)
    for trial in study.best_trials:
        print(trial.values, trial.params)  # noqa: T201
