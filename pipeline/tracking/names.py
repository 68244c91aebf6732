"""Names of tags in MLflow, whose UI hides those that begin with ``mlflow.``.

Our tags have such names, except those that people filter by. Code and documentation use bare names: "corpus.sha256" is
recorded as "mlflow.tmlm.corpus.sha256".
"""

from collections.abc import Mapping
from typing import Any

HIDDEN = "mlflow.tmlm."
PARENT_RUN = "mlflow.parentRunId"  # MLflow's own: the run that a run is nested in
STEP = "step."  # and a stage: the id of the run of that step of a main job
VISIBLE = ("stage", "corpus", "config_id", "study", "failure", "stopped")


def recorded_tag(name: str) -> str:
    """The name under which a tag is recorded."""
    return name if name in VISIBLE or name.startswith("mlflow.") else HIDDEN + name


def recorded_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as they are recorded, from bare names and values of any type."""
    return {recorded_tag(name): str(value) for name, value in tags.items()}


def bare_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Recorded tags by their bare names."""
    return {name.removeprefix(HIDDEN): value for name, value in tags.items()}
