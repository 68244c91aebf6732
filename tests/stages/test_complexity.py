"""``complexity``: the record of a shape's size in both conventions."""

from mlflow.tracking import MlflowClient

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.stages.complexity import complexity
from pipeline.tracking import artifacts


def test_the_sizes_of_a_shape_are_metrics_and_a_text(store):
    model = ModelConfig("gru", 1, 8)
    run_id = complexity(model, 28, is_recorded=True)["run_id"]
    metrics = MlflowClient().get_run(run_id).data.metrics
    size = closed_form(model, 28)
    assert (metrics["size/parameters"], metrics["size/macs_per_char"]) == (size.parameters, size.macs_per_char)
    assert f"{size.parameters:,}" in artifacts.read_text(run_id, "complexity.txt")
