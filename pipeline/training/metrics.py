"""The metrics of a training: the names under which its curves and further sizes are recorded beside its figures.

MLflow's UI sorts sections by name: the curves (``perplexity/``) come before ``result/``, ``size/`` and ``speed/``. The
UI's charts and columns (``pipeline/tracking/ui/views.py``) refer to these names; a test compares them.
"""

from collections.abc import Mapping
from math import log10
from typing import TYPE_CHECKING, Any

from pipeline.config import ON_REPORTS_TEXT, PresetName, TrainConfig
from pipeline.results import FIGURES, METRICS, Figure

if TYPE_CHECKING:  # so that this module can be imported without torch
    from models.complexity import Complexity
    from pipeline.training.loop import EpochPoint

TRAIN_CURVE, VAL_CURVE = "perplexity/train", "perplexity/val"
POOLED_CURVES = {TRAIN_CURVE: "perplexity_pooled/train", VAL_CURVE: "perplexity_pooled/val"}  # the preset report's
FIRST_HALF_CURVE, SECONDS_CURVE = "perplexity_first_half/train", "training/seconds"
MACS, LOG10_MACS = "size/macs_per_char", "size/log10_macs_per_char"
COMPARABLE = "stream"  # the protocol whose models MLflow's views compare
CURVES = {  # metric of each epoch -> field of EpochPoint
    TRAIN_CURVE: "train_perplexity",
    VAL_CURVE: "val_perplexity",
    "training/learning_rate": "learning_rate",
    "training/gradient_norm": "gradient_norm",
    SECONDS_CURVE: "train_seconds",
    "training/chars_read": "train_chars",
}
REPORT_CURVES = {  # those that only the preset report has
    POOLED_CURVES[TRAIN_CURVE]: "train_perplexity_pooled",
    POOLED_CURVES[VAL_CURVE]: "val_perplexity_pooled",
    FIRST_HALF_CURVE: "train_perplexity_first_half",
}
COMPARED_METRICS = {  # the rows of `tmlm compare`, in order
    TRAIN_CURVE: Figure(label="training perplexity, last epoch"),
    VAL_CURVE: Figure(label="validation perplexity, last epoch"),
    **{metric: FIGURES[name] for metric, name in METRICS.items() if FIGURES[name].label},
}
FURTHER_SIZES = ("matmul_macs_per_char", "report_parameters", "report_macs")


def epoch_metrics(point: "EpochPoint", preset: PresetName) -> dict[str, float]:
    """One point of the curves, recorded after each epoch with the epoch as step."""
    curves = CURVES | REPORT_CURVES if preset == "report" else CURVES
    values = {metric: getattr(point, name) for metric, name in curves.items()}
    return {metric: value for metric, value in values.items() if value is not None}


def final_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """The metrics by which runs are compared, from a training's flat result."""
    metrics = {metric: result[name] for metric, name in METRICS.items() if result.get(name) is not None}
    return metrics | macs_metrics(result["macs_per_char"])


def macs_metrics(macs_per_char: int) -> dict[str, float]:
    """A model's MACs per character and their logarithm, since the UI's scatter charts have no logarithmic axis."""
    return {MACS: float(macs_per_char), LOG10_MACS: log10(macs_per_char)}


def size_metrics(size: "Complexity") -> dict[str, float]:
    """Further sizes: in the report's convention, and without element-wise operations."""
    return {f"size/{name}": getattr(size, name) for name in FURTHER_SIZES}


def split_of(metric: str) -> str | None:
    """The split that a final metric was measured on ("val" or "test"); None for sizes and speeds."""
    name = metric.rpartition("/")[2]
    return next((split for split in ("val", "test") if f"{split}_" in name), None)


def protocol_of(config: TrainConfig, stopped_by: str, is_of_study: bool) -> str:
    """The protocol by which trainings are comparable; "" for a study's training that was cut short.

    A study's training is comparable if it trains on the whole text for as many epochs as a separate training does by
    default, and was not stopped by the time limit.
    """
    if config.preset in ON_REPORTS_TEXT:
        return config.preset
    is_whole = (config.epochs, config.train_chars) == (None, 0) and stopped_by != "time"
    return COMPARABLE if is_whole or not is_of_study else ""
