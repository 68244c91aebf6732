"""Attributes of a study and its trials: user attributes for people, system attributes for this program.

optuna-dashboard and ``study.trials_dataframe(attrs=("number", "values", "params", "user_attrs"))`` show user attributes
only. Studies recorded before have all of them as user attributes; the functions here read both.
"""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial

PREFIX = "time-machine-lm:"  # of our names among the system attributes, where Optuna and its dashboard keep theirs

# system attributes of a study
PROTOCOL, IDENTITY, PARENT = "protocol", "identity", "mlflow_run_id"
MLFLOW_STORE = "mlflow_store"  # identity of the MLflow store of its runs
CONFIRMED = "confirmed:"  # prefix, followed by TRIAL:SEED: the result of a confirmation

# user attributes of a study
TEXT, SPACE, TRAINING = "text", "space", "training"

# user attributes of a trial, beside the results of its training
MODEL, SEED, SAMPLE_TEXT = "model", "seed", "sample_text"
MLFLOW_RUN, RUN_ID = "mlflow_run", "run_id"  # the former is a link
MACS, NGRAM_ENTRIES = "macs_per_char", "ngram_entries"  # the latter of a model on top of an n-gram
STOPPED = "stopped"  # why its training ended early
FAILURE = "failure"  # reason

# system attributes of a trial
PROCESS = "process"  # the process that asked for it
RETRY_OF, REPEATS = "retry_of", "repeats"
LOST, KILLED, KILLS = "lost", "killed", "kills"  # why it is retried, whether it was killed, earlier kills
CURVE = "val_perplexities"  # validation perplexity after each epoch


def of_study(study: optuna.Study) -> dict[str, Any]:
    """All attributes of a study that this program has set."""
    return {**_plain_names(study.user_attrs), **_ours(study._storage.get_study_system_attrs(study._study_id))}


def of_trial(trial: FrozenTrial) -> dict[str, Any]:
    """All attributes of a trial that this program has set."""
    return {**_plain_names(trial.user_attrs), **_ours(trial.system_attrs)}


def has(trial: FrozenTrial, name: str) -> bool:
    """Whether a trial has an attribute, without reading the others: a search asks this of all trials, often."""
    return name in trial.user_attrs or PREFIX + name in trial.system_attrs


def set_of_study(study: optuna.Study, name: str, value: Any) -> None:
    """Set a system attribute of a study."""
    study._storage.set_study_system_attr(study._study_id, PREFIX + name, value)


def for_system(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes under the names that they have among the system attributes."""
    return {PREFIX + name: value for name, value in attributes.items()}


def _ours(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return _plain_names({name: value for name, value in attributes.items() if name.startswith(PREFIX)})


def _plain_names(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes without the prefix, which one of older studies has among the user attributes."""
    return {name.removeprefix(PREFIX): value for name, value in attributes.items()}
