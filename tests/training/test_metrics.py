"""The names under which a training's figures are recorded."""

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.training.loop import EpochPoint
from pipeline.training.metrics import COST, FINAL, epoch_metrics, final_metrics, size_metrics

POINT = EpochPoint(1, 9.0, 8.0, 9.5, 8.5, 0.01, 1.0, 2.0, 100)


def test_pooled_curves_are_those_of_the_report_preset_alone():
    stream, report = epoch_metrics(POINT, "stream"), epoch_metrics(POINT, "report")
    assert (stream["perplexity/train"], stream["perplexity/val"]) == (POINT.train_perplexity, POINT.val_perplexity)
    assert report == {
        **stream,
        "perplexity_pooled/train": POINT.train_perplexity_pooled,
        "perplexity_pooled/val": POINT.val_perplexity_pooled,
    }


def test_final_figures_and_costs_have_prefixes_and_others_are_left_out():
    figures = {name: float(number) for number, name in enumerate((*FINAL, *COST))}
    metrics = final_metrics({**figures, "run_id": "abc"})
    assert metrics == {f"final/{name}": figures[name] for name in FINAL} | {
        f"cost/{name}": figures[name] for name in COST
    }


def test_sizes_are_those_of_the_reports_convention_and_of_the_trained_model():
    size = closed_form(ModelConfig("lstm", 1, 128), 28)
    assert size_metrics(size, 84_000) == {
        "cost/matmul_macs_per_char": 83_456,
        "cost/report_parameters": 80_896,
        "cost/report_macs": 84_148_224,
        "cost/trained_parameters": 84_000,
    }
