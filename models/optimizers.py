"""The optimizers: one function each, which builds torch's optimizer. To add one, write it and a line in OPTIMIZERS.

Importable without torch, as configurations list OPTIMIZERS.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter
    from torch.optim import Optimizer

Build = Callable[["Iterable[Parameter]", float, float], "Optimizer"]  # parameters, learning rate, weight decay


def without_dynamo(optimizer: type[Optimizer]) -> type[Any]:
    """The optimizer without the wrappers for torch.compile, which import torch._dynamo at their first call (1 s)."""
    import torch

    wrapped = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")
    methods = {name: inspect.unwrap(getattr(optimizer, name)) for name in wrapped}
    return type(optimizer.__name__, (optimizer,), {**methods, "step": torch.no_grad()(methods["step"])})


def adamw(parameters: Iterable[Parameter], learning_rate: float, weight_decay: float) -> Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), fused where torch can."""
    from torch.optim import AdamW

    parameters = list(parameters)
    fused = parameters[0].device.type in ("cpu", "cuda")
    options = {"lr": learning_rate, "betas": (0.9, 0.99), "weight_decay": weight_decay, "fused": fused}
    return without_dynamo(AdamW)(parameters, **options)  # type: ignore[no-any-return]


def sgd(parameters: Iterable[Parameter], learning_rate: float, weight_decay: float) -> Optimizer:
    """Gradient descent without momentum and weight decay, as in the report."""
    from torch.optim import SGD

    return without_dynamo(SGD)(parameters, lr=learning_rate)  # type: ignore[no-any-return]


OPTIMIZERS: dict[str, Build] = {"adamw": adamw, "sgd": sgd}


def check_state(build: Build, states: Iterable[tuple[Tensor, dict[str, Tensor]]]) -> None:
    """Raise ValueError unless each parameter's state has this optimizer's names and shapes: torch checks neither."""
    import torch

    tiny = torch.nn.Parameter(torch.zeros(2, 2))
    tiny.grad = torch.zeros(2, 2)
    optimizer = build([tiny], 0.1, 0.0)
    optimizer.step()
    is_like_parameter = {name: value.shape == tiny.shape for name, value in optimizer.state[tiny].items()}
    for parameter, state in states:
        shapes = {name: parameter.shape if alike else torch.Size() for name, alike in is_like_parameter.items()}
        if {name: value.shape for name, value in state.items()} != shapes:
            raise ValueError("the moments of its optimizer are not those of its weights")
