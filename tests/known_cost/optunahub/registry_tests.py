"""The tests of the package in OptunaHub's registry, which are run from the root of the registry."""

import math
from typing import Any

import optuna
import optunahub

KnownCostSampler = optunahub.load_local_module("samplers/known_cost", registry_root="package/").KnownCostSampler


def log10_weights(params: dict[str, Any]) -> float:
    return math.log10(params["layers"] * params["width"] ** 2)


def objective(trial: optuna.Trial) -> tuple[float, float]:
    layers, width = trial.suggest_int("layers", 1, 4), trial.suggest_int("width", 8, 64, log=True)
    return 1 / width + 0.01 * (layers - 3) ** 2 + 0.02, log10_weights(trial.params)


def test_no_configuration_is_proposed_twice() -> None:
    sampler = KnownCostSampler(log10_weights, seed=0)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=15)
    assert len({tuple(trial.params.values()) for trial in study.trials}) == 15
