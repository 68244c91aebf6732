"""Names of tags in MLflow, whose UI hides those that begin with ``mlflow.``.

Ours do, except those that people filter by. Code and documentation use bare names: "corpus.sha256" is recorded as
"mlflow.tmlm.corpus.sha256".
"""

from collections.abc import Mapping
from typing import Any, Literal

HIDDEN = "mlflow.tmlm."
PARENT, COLOUR = "mlflow.parentRunId", "mlflow.runColor"  # which the UI reads
DESCRIPTION = "mlflow.note.content"  # of a run or an experiment, which the UI shows
STEP = "step."  # and a stage: the id of the run of that step of a main job
WEIGHTS = "weights"  # "deleted": of a finished training that keeps its figures alone
VISIBLE = ("stage", "corpus", "config_id", "study", "note", "failure", "stopped")
FailureKind = Literal["error", "stopped", "diverged"]


def recorded_tag(name: str) -> str:
    """The name under which a tag is recorded."""
    return name if name in VISIBLE or name.startswith("mlflow.") else HIDDEN + name


def recorded_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as they are recorded, from bare names and values of any type."""
    return {recorded_tag(name): str(value) for name, value in tags.items()}


def bare_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Recorded tags by their bare names."""
    return {name.removeprefix(HIDDEN): value for name, value in tags.items()}


def failure_tags(reason: str, kind: FailureKind = "error", message: str = "") -> dict[str, str]:
    """The tags of a run that failed: the reason for people, its kind, and the error's own message (default: reason)."""
    return {"failure": reason[:4000], "failure.kind": kind, "failure.message": (message or reason)[:4000]}
