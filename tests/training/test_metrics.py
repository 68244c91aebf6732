"""The names under which a training's figures are recorded."""

import pytest

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.config import resolve
from pipeline.results import METRICS
from pipeline.training.loop import EpochPoint
from pipeline.training.metrics import epoch_metrics, final_metrics, protocol_of, size_metrics

POINT = EpochPoint(1, 9.0, 8.0, 9.5, 8.5, 0.01, 1.0, 2.0, 100)


def test_pooled_curves_are_those_of_the_report_preset_alone():
    stream, report = epoch_metrics(POINT, "stream"), epoch_metrics(POINT, "report")
    assert (stream["perplexity/train"], stream["perplexity/val"]) == (POINT.train_perplexity, POINT.val_perplexity)
    assert report == {
        **stream,
        "perplexity_pooled/train": POINT.train_perplexity_pooled,
        "perplexity_pooled/val": POINT.val_perplexity_pooled,
    }


def test_final_metrics_have_sections_and_other_fields_are_left_out():
    figures = {name: float(number) for number, name in enumerate(METRICS.values(), start=1)}
    metrics = final_metrics({**figures, "macs_per_char": 1000, "run_id": "abc"})
    assert metrics == {
        **{metric: figures[name] for metric, name in METRICS.items()},
        "size/macs_per_char": 1000,
        "size/log10_macs_per_char": 3.0,
    }
    assert size_metrics(closed_form(ModelConfig("lstm", 1, 128), 28)) == {
        "size/matmul_macs_per_char": 83_456,
        "size/report_parameters": 80_896,
        "size/report_macs": 84_148_224,
    }


@pytest.mark.parametrize(
    ("options", "stopped_by", "is_of_study", "protocol"),
    [
        ({}, "", False, "stream"),
        ({"epochs": 1}, "time", False, "stream"),
        ({"preset": "best"}, "", False, "stream"),
        ({"preset": "report"}, "", False, "report"),
        ({}, "patience", True, "stream"),
        ({"epochs": 1}, "", True, ""),
        ({"train_chars": 50_000}, "", True, ""),
    ],
)
def test_trainings_of_a_study_compare_with_others_if_they_are_as_long(options, stopped_by, is_of_study, protocol):
    assert protocol_of(resolve(options)[1], stopped_by, is_of_study) == protocol
