"""The stage ``complexity``: count parameters and MACs of a shape, in the conventions of ptflops and the report."""

from dataclasses import asdict
from typing import cast

from models.complexity import measure
from models.config import ModelConfig
from pipeline.results import COMPLEXITY, Complexity
from pipeline.tracking.runs import TrackedRun
from pipeline.tracking.step import Step, run_step
from pipeline.training.metrics import macs_metrics
from pipeline.training.summary import complexity_text


def complexity(model: ModelConfig, vocab_size: int) -> Step[Complexity]:
    """Record the parameters and MACs of a shape, which is not trained."""

    def work(run: TrackedRun) -> Complexity:
        cost = asdict(measure(model, vocab_size))
        run.params({"cell": model.cell, "num_layers": model.num_layers, "hidden_size": model.hidden_size})
        run.constants({f"size/{name}": value for name, value in cost.items()} | macs_metrics(cost["macs_per_char"]))
        text = complexity_text(model, vocab_size, cost)
        run.text("complexity.txt", text)
        run.note(f"```\n{text}```")
        return cast(Complexity, cost)

    inputs = {"model": asdict(model), "vocab_size": vocab_size}
    return run_step(COMPLEXITY, f"{COMPLEXITY}-{model.shape}", inputs, {}, work, reuse=False)
