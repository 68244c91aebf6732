"""The metrics of a training: the names under which its curves, its result, its size and its speed are recorded.

The UI sorts sections by name: the curves (``perplexity/``) come before ``result/``, ``size/`` and ``speed/``.

The UI's charts and columns (``pipeline/tracking/ui/views.py``) refer to these names; a test compares them.
"""

from collections.abc import Mapping
from math import log10
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the names alone need no torch
    from models.complexity import Complexity
    from pipeline.config import PresetName
    from pipeline.training.loop import EpochPoint

RESULT = (
    "val_perplexity",
    "test_perplexity",
    "test_bits_per_char",
    "best_epoch",
    "ngram_val_perplexity",
    "ngram_test_perplexity",
    "mixture_val_perplexity",
    "mixture_test_perplexity",
)

CALIBRATED = ("calibrated_ngram_val_perplexity", "calibrated_ngram_test_perplexity")  # of models on top of an n-gram

SIZE = ("parameters", "stored_numbers", "macs_per_char")

SPEED = ("train_seconds", "chars_per_second")

CURVES = (
    "perplexity/train",
    "perplexity/val",
    "perplexity_pooled/train",  # of the report's preset, as are the next two
    "perplexity_pooled/val",
    "perplexity_first_half/train",
    "training/learning_rate",
    "training/gradient_norm",
    "training/seconds",
    "training/chars_read",
)

FURTHER_SIZES = ("matmul_macs_per_char", "report_parameters", "report_macs", "trained_parameters")


def epoch_metrics(point: "EpochPoint", preset: "PresetName") -> dict[str, float]:
    """The curves: recorded after each epoch, with the epoch as step."""
    metrics = {
        "perplexity/train": point.train_perplexity,
        "perplexity/val": point.val_perplexity,
        "training/learning_rate": point.learning_rate,
        "training/gradient_norm": point.gradient_norm,
        "training/seconds": point.train_seconds,
        "training/chars_read": point.train_chars,
    }
    if preset == "report":
        metrics["perplexity_pooled/train"] = point.train_perplexity_pooled
        metrics["perplexity_pooled/val"] = point.val_perplexity_pooled
    if point.train_perplexity_first_half is not None:
        metrics["perplexity_first_half/train"] = point.train_perplexity_first_half
    return metrics


def final_metrics(result: Mapping[str, Any]) -> dict[str, float]:
    """The figures by which runs are compared, from a training's flat result."""
    reached = {f"result/{name}": result[name] for name in RESULT}
    calibrated = {f"result/{name}": result[name] for name in CALIBRATED if name in result}
    sizes = {f"size/{name}": result[name] for name in SIZE}
    sizes["size/log10_macs_per_char"] = log10(result["macs_per_char"])
    return reached | calibrated | sizes | {f"speed/{name}": result[name] for name in SPEED}


def size_metrics(size: "Complexity", trained_parameters: int) -> dict[str, float]:
    """The model's size in the report's convention too, and without element-wise operations."""
    return {
        "size/matmul_macs_per_char": size.matmul_macs_per_char,
        "size/report_parameters": size.report_parameters,
        "size/report_macs": size.report_macs,
        "size/trained_parameters": trained_parameters,
    }
