"""Attributes of a study and its trials: user attributes for people, system attributes for this program.

optuna-dashboard and ``study.trials_dataframe(attrs=("number", "values", "params", "user_attrs"))`` show user attributes
only. In studies of earlier versions all are user attributes; the functions here read both.
"""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

PREFIX = "time-machine-lm:"  # marks our system attributes, beside those of Optuna and its dashboard

# system attributes of a study
PROTOCOL, IDENTITY, PARENT = "protocol", "identity", "mlflow_run_id"
MLFLOW_STORE = "mlflow_store"  # identity of the MLflow store that has its runs
CONFIRMED = "confirmed:"  # prefix of TRIAL:SEED, whose value is the result of a confirmation

# user attributes of a study
TEXT, SPACE, TRAINING = "text", "space", "training"

# user attributes of a trial, beside the results of its training
MODEL, SEED, SAMPLE_TEXT = "model", "seed", "sample_text"
MLFLOW_RUN, RUN_ID = "mlflow_run", "run_id"  # URL and id of its run
MACS, NGRAM_ENTRIES = "macs_per_char", "ngram_entries"  # the latter for a model on top of an n-gram
STOPPED = "stopped"  # why its training stopped early; "" is not stored
FAILURE = "failure"  # why it failed

# system attributes of a trial
PROCESS = "process"  # the process that asked for it
RETRY_OF, REPEATS = "retry_of", "repeats"  # numbers of the lost trial retried, of the trial with equal parameters
LOST, KILLED, KILLS = "lost", "killed", "kills"  # why it is retried; processes killed by it, by earlier tries


def of_study(study: optuna.Study) -> dict[str, Any]:
    """The attributes of a study that this program has set, by name without prefix."""
    return {**_plain_names(study.user_attrs), **_ours(study._storage.get_study_system_attrs(study._study_id))}


def of_trial(trial: FrozenTrial) -> dict[str, Any]:
    """The attributes of a trial that this program has set, by name without prefix."""
    return {**_plain_names(trial.user_attrs), **_ours(trial.system_attrs)}


def has(trial: FrozenTrial, name: str) -> bool:
    """Whether a trial has an attribute; cheaper than ``of_trial``, as a search often checks all trials."""
    return name in trial.user_attrs or PREFIX + name in trial.system_attrs


def set_of_study(study: optuna.Study, name: str, value: Any) -> None:
    """Set a system attribute of a study."""
    study._storage.set_study_system_attr(study._study_id, PREFIX + name, value)


def for_system(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Add the prefix of system attributes to the names."""
    return {PREFIX + name: value for name, value in attributes.items()}


def _ours(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Select the system attributes of this program, by name without prefix."""
    return _plain_names({name: value for name, value in attributes.items() if name.startswith(PREFIX)})


def _plain_names(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the prefix from the names; in older studies, one user attribute has it."""
    return {name.removeprefix(PREFIX): value for name, value in attributes.items()}
