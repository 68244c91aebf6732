"""Accuracy against size, with nothing trained to find out the size: which polynomial, of how many of the inputs?

A ridge regression of polynomials is fitted to scikit-learn's diabetes data. Its error on held-out rows has to be
measured; its number of coefficients is known beforehand, so the sampler is told it as a function of the parameters.

    python docs/known_cost_example.py
"""

import math
import sys
from typing import Any

import optuna
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from pipeline.known_cost.sampler import KnownCostSampler  # or your copy of the folder

FEATURES, TARGET = load_diabetes(return_X_y=True)
BY_CORRELATION = [2, 8, 3, 7, 6, 9, 4, 5, 0, 1]  # the inputs, the one that says most about the target first


def log10_coefficients(params: dict[str, Any]) -> float:
    """The known objective: monomials of up to ``degree`` in ``inputs`` variables, the constant one included."""
    return math.log10(math.comb(params["inputs"] + params["degree"], params["degree"]))


def objective(trial: optuna.Trial) -> tuple[float, float]:
    """Mean absolute error by cross-validation, which is what costs time, and the size."""
    degree = trial.suggest_int("degree", 1, 4)
    inputs = trial.suggest_int("inputs", 1, 10)
    penalty = trial.suggest_float("penalty", 1e-2, 1e4, log=True)
    model = make_pipeline(PolynomialFeatures(degree, include_bias=False), StandardScaler(), Ridge(penalty))
    chosen = FEATURES[:, BY_CORRELATION[:inputs]]
    error = -cross_val_score(model, chosen, TARGET, cv=5, scoring="neg_mean_absolute_error").mean()
    return float(error), log10_coefficients(trial.params)


def main() -> None:
    sampler = KnownCostSampler(log10_coefficients, max_cost=2.5, seed=0)  # at most 316 coefficients
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=25)
    for trial in sorted(study.best_trials, key=lambda trial: trial.values[1]):
        size = round(10 ** trial.values[1])
        settings = ", ".join(f"{name} {value:.3g}" for name, value in trial.params.items())
        sys.stdout.write(f"{size:4d} coefficients: mean absolute error {trial.values[0]:.1f} ({settings})\n")


if __name__ == "__main__":
    main()
