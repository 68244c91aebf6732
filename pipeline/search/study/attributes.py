"""Attributes of a study and its trials: user attributes for people, system attributes for this program.

optuna-dashboard and the columns ``user_attrs`` of ``study.trials_dataframe()`` show user attributes only.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from pipeline import earlier

PREFIX = "time-machine-lm:"  # marks our system attributes, beside those of Optuna

# system attributes of a study
FORMAT, STUDY_FORMAT = "format", 2  # name of the attribute, and the format that this version reads and writes
PROTOCOL, IDENTITY, PARENT = "protocol", "identity", "mlflow_run_id"
MLFLOW_STORE = "mlflow_store"  # identity of the MLflow store that has its runs
CONFIRMED = "confirmed:"  # prefix of TRIAL:SEED, whose value is the result of a confirmation

MLFLOW_RUN = "mlflow_run"  # user attribute of a study: the address of its run

# user attributes of a trial, beside its costs and the results of its training
MODEL, SEED, SAMPLE_TEXT, RUN_ID = "model", "seed", "sample_text", "run_id"
STOPPED = "stopped"  # why its training stopped early; "" is not stored
FAILURE = "failure"  # why it failed

# system attributes of a trial
STOPPED_BY, FAILURE_KIND = "stopped_by", "failure.kind"  # the facts of which STOPPED and FAILURE are the sentences
REPEATS = "repeats"  # number of the trial with equal parameters
LOSSES = "losses"  # how often it was lost, by cause

# Optuna's own system attribute of a trial: numbers above 0 say that it is not feasible. ``Trial.set_constraint`` of
# Optuna 5 writes a form that the samplers of 4.x do not read; both read this one, so that a study can go on in either.
CONSTRAINTS = "constraints"


def of_study(study: optuna.Study) -> dict[str, Any]:
    """The system attributes of a study that this program has set, by name without prefix."""
    return ours(study._storage.get_study_system_attrs(study._study_id))


def of_trial(trial: FrozenTrial) -> dict[str, Any]:
    """The attributes of a trial, ours without prefix, with the facts that an earlier version recorded in sentences."""
    return earlier.facts({**trial.user_attrs, **ours(trial.system_attrs)})


def has(trial: FrozenTrial, name: str) -> bool:
    """Whether a trial has a system attribute; cheaper than ``of_trial``, as a search often checks all trials."""
    return PREFIX + name in trial.system_attrs


def constraints(trial: FrozenTrial) -> Sequence[float]:
    """The constraints that a trial was told with; none in a study that an earlier version began."""
    return tuple(trial.system_attrs.get(CONSTRAINTS, ()))


def set_of_study(study: optuna.Study, name: str, value: Any) -> None:
    study._storage.set_study_system_attr(study._study_id, PREFIX + name, value)


def set_of_trial(study: optuna.Study, number: int, name: str, value: Any) -> None:
    study._storage.set_trial_system_attr(trial_id(study, number), PREFIX + name, value)


def trial_id(study: optuna.Study, number: int) -> int:
    """The storage's id of a trial."""
    return study._storage.get_trial_id_from_study_id_trial_number(study._study_id, number)


def ours(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Those of our system attributes, by name without prefix."""
    return {name.removeprefix(PREFIX): value for name, value in attributes.items() if name.startswith(PREFIX)}
