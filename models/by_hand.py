"""torch.nn's GRU and RNN layers for the CPU, with hand-written forward and backward passes over the whole sequence.

On a CPU, torch.nn runs an LSTM through oneDNN in one call, but a GRU or RNN operation by operation, each recorded by
autograd. Here each layer is one ``torch.autograd.Function``: its time loop writes into buffers that are allocated once,
and the gradient of each weight is one matrix product over all time steps. Parameters, their names and the equations are
torch.nn's; results agree up to rounding.

Shapes: T time steps, B batch, I input size, H hidden size, G rows of stacked gates (a multiple of H), L layers.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

tanh_backward = torch.ops.aten.tanh_backward.grad_input


def input_product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x (T, B, I), or ids (T, B) in place of one-hot vectors; weight (G, I), bias (G,) -> x W' + bias (T, B, G)."""
    if x.is_floating_point():
        return F.linear(x, weight, bias)
    return F.embedding(x, weight.t() + bias)


def input_gradients(x: Tensor, gradient: Tensor, weight: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
    """Backward pass of ``input_product``: gradient (T, B, G) of its result -> gradients of x, weight and bias.

    The gradient of x is None for ids.
    """
    if x.is_floating_point():
        return gradient @ weight, weight_gradient(x, gradient), column_sums(gradient)
    one_hot = F.embedding(x, torch.eye(weight.shape[1], dtype=weight.dtype))
    d_weight = weight_gradient(one_hot, gradient)
    return None, d_weight, d_weight.sum(1)


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Gradient (G, I) of the weight W in x W', given x (T, B, I) and the gradient (T, B, G) of the product."""
    return (x.flatten(0, 1).t() @ gradient.flatten(0, 1)).t()  # a quarter faster in fp32 than gradient' x


def column_sums(x: Tensor) -> Tensor:
    """Sum (T, B, G) over time and batch -> (G,), as a product with ones: in bf16, ``Tensor.sum`` is slow."""
    flat = x.flatten(0, 1)
    return flat.new_ones(len(flat)) @ flat


def tanh_(x: Tensor, scratch: Tensor) -> None:
    """tanh in place. In bf16 it is computed in ``scratch``, an fp32 buffer of the same shape: three times as fast."""
    if x.dtype == torch.bfloat16:
        x.copy_(scratch.copy_(x).tanh_())
    else:
        x.tanh_()


def backwards(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield the time steps of tensors (T, ...) together, from the last to the first."""
    return zip(*(reversed(tensor.unbind(0)) for tensor in tensors), strict=True)


class RNNLayer(torch.autograd.Function):
    """h' = tanh(W x + b + U h + c) for all time steps.

    x (T, B, I) or ids (T, B), h (B, H), W (H, I), U (H, H), b (H,), c (H,) -> outputs (T, B, H).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, state: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        outputs = input_product(x, w_ih, b_ih + b_hh)
        recurrent, scratch = w_hh.t().contiguous(), torch.empty(state.shape)
        h = state
        for output in outputs.unbind(0):
            h = output.addmm_(h, recurrent)
            tanh_(h, scratch)
        ctx.save_for_backward(x, state, w_ih, w_hh, outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, state, w_ih, w_hh, outputs = ctx.saved_tensors
        d_preactivation = torch.empty_like(outputs)
        dh = torch.zeros_like(state)
        for d_output, output, d in backwards(d_outputs.contiguous(), outputs, d_preactivation):
            dh.add_(d_output)
            tanh_backward(dh, output, grad_input=d)
            torch.mm(d, w_hh, out=dh)
        dx, dw_ih, db = input_gradients(x, d_preactivation, w_ih)
        before = torch.cat([state[None], outputs[:-1]])
        return dx, dh, dw_ih, weight_gradient(before, d_preactivation), db, db


class GRULayer(torch.autograd.Function):
    """The equations of ``models.cells.GRUCell`` for all time steps; shapes as in ``RNNLayer``, with 3 H gates.

    Backward pass of one step, with the candidate n = h~, its recurrent part e = U_n h + c_n, and the gradient d of h';
    dn, dz and dr are gradients before the tanh and the sigmoids:

    dn = d (1 - z) (1 - n^2)    dz = d (1 - z) (h - n) z    de = dn r    dr = de e (1 - r)    dh = d z + U' (dr, dz, de)
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, state: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        size = state.shape[-1]
        gates = input_product(x, w_ih[: 2 * size], (b_ih + b_hh)[: 2 * size])
        candidates = input_product(x, w_ih[2 * size :], b_ih[2 * size :])
        products = torch.empty_like(candidates)
        states = products.new_empty(len(products) + 1, *state.shape)  # the initial state, then the outputs
        states[0] = state
        u_gates, u_candidate = (part.t().contiguous() for part in w_hh.split([2 * size, size]))
        bias, scratch = b_hh[2 * size :], torch.empty(state.shape)
        parts = (gates, *gates.split(size, -1), candidates, products, states[:-1], states[1:])
        for gate, reset, update, candidate, product, h, output in zip(*(part.unbind(0) for part in parts), strict=True):
            gate.addmm_(h, u_gates).sigmoid_()
            torch.addmm(bias, h, u_candidate, out=product)
            tanh_(candidate.addcmul_(reset, product), scratch)
            torch.lerp(candidate, h, update, out=output)
        ctx.save_for_backward(x, w_ih, w_hh, gates, candidates, products, states)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, d_outputs: Tensor) -> tuple[Tensor | None, ...]:
        x, w_ih, w_hh, gates, candidates, products, states = ctx.saved_tensors
        size, before = states.shape[-1], states[:-1]
        gradients = states.new_empty(*before.shape[:2], 4 * size)  # de, dr, dz, dn
        d_recurrent, d_input = gradients[..., : 3 * size], gradients[..., size:]
        weight = w_hh.roll(size, 0)  # rows in the order of de, dr, dz
        parts = [*gates.split(size, -1), candidates, products, before, d_outputs.contiguous()]
        dh, kept, left, other = (torch.zeros_like(states[0]) for _ in range(4))
        for r, z, n, product, h, d_output, de, dr, dz, dn, d in backwards(
            *parts, *gradients.split(size, -1), d_recurrent
        ):
            dh.add_(d_output)
            torch.mul(dh, z, out=kept)  # d z
            torch.sub(dh, kept, out=left)  # d (1 - z)
            tanh_backward(left, n, grad_input=dn)
            torch.mul(torch.sub(h, n, out=other).mul_(z), left, out=dz)
            torch.mul(dn, r, out=de)
            torch.mul(de, product, out=other)
            torch.addcmul(other, other, r, value=-1, out=dr)
            torch.addmm(kept, d, weight, out=dh)
        dx, dw_ih, db_ih = input_gradients(x, d_input, w_ih)
        dw_hh = weight_gradient(before, d_recurrent).roll(-size, 0)
        db_hh = torch.cat([db_ih[: 2 * size], column_sums(gradients[..., :size])])
        return dx, dh, dw_ih, dw_hh, db_ih, db_hh


def applies(module: nn.Module, by_hand: bool) -> bool:
    """Whether a module with ``by_hand`` set uses the functions above: in training mode, and under bf16 autocast.

    Evaluation in fp32 uses torch.nn, so that it equals that of a loaded model bit for bit.
    """
    return by_hand and (module.training or torch.is_autocast_enabled("cpu"))


class ByHand(nn.Module):
    """Mixin for torch.nn's layers, batch first, that calls ``layer`` where ``applies``; inputs may then be ids."""

    layer: ClassVar[type[torch.autograd.Function]]
    by_hand = False
    num_layers: int
    dropout: float

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, T, I) or ids (B, T), state (L, B, H) -> outputs (B, T, H), state after the last step (L, B, H)."""
        if not applies(self, self.by_hand):
            outputs, last = super().forward(x, state)
            return outputs, last
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else state.dtype
        x, states = x.transpose(0, 1), []
        for index in range(self.num_layers):
            if index:
                x = F.dropout(x, self.dropout, self.training)
            weights = (getattr(self, f"{name}_l{index}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
            inputs = [x.to(dtype) if x.is_floating_point() else x, state[index].to(dtype)]
            x = self.layer.apply(*inputs, *(weight.to(dtype) for weight in weights))
            states.append(x[-1])
        return x.transpose(0, 1), torch.stack(states)


class RNN(ByHand, nn.RNN):  # type: ignore[misc]
    """``nn.RNN``, computed by ``RNNLayer`` if ``by_hand`` is set."""

    layer = RNNLayer


class GRU(ByHand, nn.GRU):  # type: ignore[misc]
    """``nn.GRU``, computed by ``GRULayer`` if ``by_hand`` is set."""

    layer = GRULayer
