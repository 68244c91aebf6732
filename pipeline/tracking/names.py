"""Names of tags and metrics in MLflow, as this version and release 0.1 record them.

MLflow's UI hides tags whose names begin with ``mlflow.``. Our tags have such names, except those that people filter by.
Code and documentation use bare names: "corpus.sha256" is recorded as "mlflow.tmlm.corpus.sha256". Release 0.1 recorded
all tags under their bare names, and metrics under other names.
"""

from collections.abc import Mapping
from math import log10
from typing import Any

from pipeline.training.metrics import LOG10_MACS, MACS, SPEED

HIDDEN = "mlflow.tmlm."

VISIBLE = ("stage", "corpus", "config_id", "study", "failure", "stopped")


def recorded_tag(name: str) -> str:
    """The name under which a tag is recorded."""
    return name if name in VISIBLE or name.startswith("mlflow.") else HIDDEN + name


def recorded_tags(tags: Mapping[str, Any]) -> dict[str, str]:
    """Tags as they are recorded, from bare names and values of any type."""
    return {recorded_tag(name): str(value) for name, value in tags.items()}


def with_bare_names(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags recorded by any version, with the hidden ones also under their bare names."""
    hidden = {name.removeprefix(HIDDEN): value for name, value in tags.items() if name.startswith(HIDDEN)}
    return {**tags, **hidden}


def with_new_names(metrics: Mapping[str, float]) -> dict[str, float]:
    """Metrics recorded by any version under this version's names, with the logarithm of the MACs."""
    earlier = {_new_name(name): value for name, value in metrics.items() if name != _new_name(name)}
    renamed = {**earlier, **{name: value for name, value in metrics.items() if name == _new_name(name)}}
    return {LOG10_MACS: log10(renamed[MACS]), **renamed} if renamed.get(MACS) else renamed


def _new_name(metric: str) -> str:
    section, _, name = metric.partition("/")
    if section == "cost":
        return f"{'speed' if name in SPEED else 'size'}/{name}"
    return f"result/{name}" if section == "final" else metric


def in_names_of_each_version(query: str) -> tuple[str, ...]:
    """A query in this version's names and, if they differ, in earlier ones: MLflow's search syntax has no ``or``."""
    earlier = query.replace(HIDDEN, "").replace("`result/", "`final/")
    return tuple(dict.fromkeys([query, earlier]))
