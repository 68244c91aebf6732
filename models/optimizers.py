"""torch's optimizers without what they import for torch.compile."""

import inspect
from typing import Any

import torch
from torch.optim import Optimizer


def without_dynamo(optimizer: type[Optimizer]) -> type[Any]:
    """The optimizer without the wrappers for torch.compile, which import torch._dynamo at their first call (1 s)."""
    wrapped = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in wrapped}
    return type(optimizer.__name__, (optimizer,), {**methods, "step": torch.no_grad()(methods["step"])})
