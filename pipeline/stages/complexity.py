"""The stage ``complexity``: count parameters and MACs of a shape, in the conventions of ptflops and the report."""

from dataclasses import asdict
from typing import cast

from models.complexity import measure
from models.config import ModelConfig
from pipeline.results import COMPLEXITY, Complexity
from pipeline.stages.sentences import complexity_text
from pipeline.training.metrics import macs_metrics


def complexity(model: ModelConfig, vocab_size: int, is_recorded: bool) -> Complexity:
    """Count the parameters and MACs of a shape, which is not trained; with ``is_recorded``, in a run."""
    cost = asdict(measure(model, vocab_size))
    if not is_recorded:
        return cast(Complexity, cost)
    from pipeline.tracking import artifacts, runs, step  # imported here, as MLflow takes long to import

    key = step.step_key(COMPLEXITY, {"model": asdict(model), "vocab_size": vocab_size})
    with runs.tracked_run(COMPLEXITY, f"{COMPLEXITY}-{model.shape}", {"step_key": key}) as run:
        run.params({"cell": model.cell, "num_layers": model.num_layers, "hidden_size": model.hidden_size})
        run.constants({f"size/{name}": value for name, value in cost.items()} | macs_metrics(cost["macs_per_char"]))
        text = complexity_text(model, vocab_size, cost)
        run.text("complexity.txt", text)
        run.describe(f"```\n{text}```")
        result = {"run_id": run.id, **cost}
        run.json(artifacts.RESULT_FILE, result)
    return cast(Complexity, result)
