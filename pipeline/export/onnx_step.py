"""Export one step of a language model to ONNX: a character and a state in, logits and the new state out.

This needs the extra ``onnx`` (onnx and onnxscript). The file is kept only if ONNX's reference evaluator agrees with
torch.
"""

import importlib.util
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from models.language_model import LanguageModel, with_row_lookup

EXTRA = ("onnx", "onnxscript")  # packages of the extra
TOLERANCE = 1e-5  # largest absolute difference of a logit or a state from torch's
CHECKED_STEPS = 8  # consecutive steps that are compared with torch

HOW_TO_INSTALL = (
    "With the extra onnx (pip install '.[onnx]' in the checkout), a step of each model is written as ONNX too."
)


class StepModule(nn.Module):
    """ids (B,), parts of the state, each (L, B, H) -> logits (B, V), parts of the new state.

    Shapes: B batch, L layers, H hidden size, V vocabulary size. An LSTM's state has two parts, others have one.
    """

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        logits, new = self.model(ids[:, None], state if len(state) > 1 else state[0])
        return (logits[:, 0], *(new if isinstance(new, tuple) else (new,)))


def onnx_step(model: LanguageModel) -> tuple[bytes, str]:
    """The ONNX file of one step and "", or no bytes and the reason."""
    if model.config.on_top_of != "nothing":
        return b"", "A network on top of n-grams is not exported: ONNX has no operator for their tables."
    if not all(map(importlib.util.find_spec, EXTRA)):
        return b"", HOW_TO_INSTALL
    state = model.initial_state(2)
    parts = dict(zip(("hidden", "cell"), state if isinstance(state, tuple) else (state,), strict=False))
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of packages and operators that are not used here
    try:
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            exported = _export(StepModule(with_row_lookup(model)).eval(), parts)
            difference = _largest_difference(StepModule(model).eval(), exported, parts)
    finally:
        logger.setLevel(level)
    if not difference <= TOLERANCE:
        return b"", f"ONNX differs from torch by {difference:.1g}, more than {TOLERANCE:g}: it was not written."
    return exported, ""


def _export(step: StepModule, parts: Mapping[str, Tensor]) -> bytes:
    """Export with a dynamic batch size; ``parts`` are those of the initial state for a batch of two, by name."""
    program = torch.onnx.export(
        step,
        (torch.zeros(2, dtype=torch.int64), *parts.values()),
        dynamo=True,
        input_names=["ids", *parts],
        output_names=["logits", *(f"next_{name}" for name in parts)],
        dynamic_shapes=({0: "batch"}, tuple({1: "batch"} for _ in parts)),
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")  # stack traces that name folders of this machine
    exported: bytes = model.SerializeToString()
    return exported


def _largest_difference(step: StepModule, exported: bytes, parts: Mapping[str, Tensor]) -> float:
    """The largest absolute difference between ONNX and torch in CHECKED_STEPS steps from a zero state.

    Each continues from its own last state.
    """
    from onnx.reference import ReferenceEvaluator

    evaluator, largest = ReferenceEvaluator(exported), 0.0
    ours, theirs = tuple(parts.values()), [part.numpy() for part in parts.values()]
    for number in range(CHECKED_STEPS):
        ids = torch.tensor([number, number + 1]) % step.model.vocab_size
        logits, *ours_next = step(ids, *ours)
        outputs: list[Any] = list(evaluator.run(None, {"ids": ids.numpy(), **dict(zip(parts, theirs, strict=True))}))
        pairs = zip((logits, *ours_next), outputs, strict=True)
        largest = max(largest, *((mine - torch.from_numpy(other)).abs().max().item() for mine, other in pairs))
        ours, theirs = tuple(ours_next), outputs[1:]
    return largest
