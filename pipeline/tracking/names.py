"""Names of tags and metrics in MLflow, as this version records them and as release 0.1 recorded them.

MLflow's UI hides tags whose names begin with ``mlflow.``. Ours are hidden too, except those that people filter by. In
code and in this project's documentation a tag has its bare name: "corpus.sha256" is recorded as
"mlflow.tmlm.corpus.sha256". Release 0.1 recorded all tags by their bare names, and had other names of metrics.
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
    """Tags as recorded, from their bare names and any values."""
    return {recorded_tag(name): str(value) for name, value in tags.items()}


def with_bare_names(tags: Mapping[str, str]) -> dict[str, str]:
    """Recorded tags of any version, the hidden ones under their bare names as well."""
    hidden = {name.removeprefix(HIDDEN): value for name, value in tags.items() if name.startswith(HIDDEN)}
    return {**tags, **hidden}


def with_new_names(metrics: Mapping[str, float]) -> dict[str, float]:
    """Recorded metrics of any version by this version's names, with the logarithm of the MACs."""
    earlier = {_new_name(name): value for name, value in metrics.items() if name != _new_name(name)}
    renamed = {**earlier, **{name: value for name, value in metrics.items() if name == _new_name(name)}}
    return {LOG10_MACS: log10(renamed[MACS]), **renamed} if renamed.get(MACS) else renamed


def _new_name(metric: str) -> str:
    section, _, name = metric.partition("/")
    if section == "cost":
        return f"{'speed' if name in SPEED else 'size'}/{name}"
    return f"result/{name}" if section == "final" else metric


def in_names_of_each_version(query: str) -> tuple[str, ...]:
    """A search of MLflow in this version's names, and in earlier ones where they differ: it has no ``or``."""
    earlier = query.replace(HIDDEN, "").replace("`result/", "`final/")
    return tuple(dict.fromkeys([query, earlier]))
