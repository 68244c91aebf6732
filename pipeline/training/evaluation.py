"""Evaluate a model: the cost of each character of a text (``text_costs``) or of each window (``score_windows``).

Shapes: N characters or windows, R rows, T time steps, V vocabulary, n characters of one piece.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import exp, inf

import torch
from torch import Tensor
from torch.nn import functional as F

from models.language_model import LanguageModel, with_row_lookup
from models.recurrent import State, parts_of, state_of

ROW_CHARS = 256  # scored characters of a row
CONTEXT_CHARS = 128  # unscored characters that a row reads before the scored ones
ROWS_AT_ONCE = 512
LARGE_VOCABULARY = 1000  # symbols from which on the product with one-hot vectors dominates the cost of a forward pass
LOGIT_SCALES = tuple(percent / 100 for percent in range(70, 115, 5))  # candidates of ``calibrate_logits``
LOGITS_AT_ONCE = 8_000_000  # 32 MB: fewer rows at once for a large vocabulary
BLOCK_CHARS, MOST_BLOCKS = 50, 200  # mean costs are recorded of at most so many blocks of at least so many characters

Cost = Callable[[Tensor, Tensor], Tensor]
"""(logits (n, V), targets (n,)) -> costs (..., n) in nats; called with one piece of a text after the other."""


def perplexity(nats_per_char: float) -> float:
    """exp of the mean cross-entropy in nats per character; inf if that overflows, NaN for NaN."""
    try:
        return exp(nats_per_char)
    except OverflowError:
        return inf


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Compute in bf16 where autocast does, or in fp32; whether and how the caller autocasts does not matter."""
    torch.clear_autocast_cache()  # of weights in bf16, which outlives a nested block
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield


@contextmanager
def evaluation_mode(model: LanguageModel, precision: str = "fp32") -> Iterator[None]:
    """Evaluation mode without gradients; restores the model's mode at the end of the block."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(model.output.weight.device, precision):
            yield
    finally:
        model.train(was_training)


def cross_entropies(logits: Tensor, targets: Tensor) -> Tensor:
    """Cost in nats (n,) of each target (n,) under logits (n, V)."""
    return F.cross_entropy(logits, targets, reduction="none")


def text_costs(
    model: LanguageModel,
    ids: Tensor,
    cost: Cost = cross_entropies,
    *,
    row: int = ROW_CHARS,
    context: int = CONTEXT_CHARS,
    logits_at_once: int = LOGITS_AT_ONCE,
) -> Tensor:
    """Costs in nats (..., N - 1), in float64, of each character of ``ids`` (N,) but the first, given those before it.

    The text is cut into rows of ``row`` characters, which are read in parallel. Each row first reads the ``context``
    characters before it: with 128, a trained model's perplexity is within 0.1 % of that of the text read in one pass (a
    test checks it); a context is at most as long as a row. Arithmetic is in fp32, whatever the training's.
    """
    predicted, device, costs = len(ids) - 1, model.output.weight.device, []
    rows = max(1, min(ROWS_AT_ONCE, logits_at_once // (row * model.vocab_size)))
    with evaluation_mode(model):
        if model.vocab_size >= LARGE_VOCABULARY:
            model = with_row_lookup(model)
        for starts in torch.arange(0, predicted, row).split(rows):
            state = _state_at(model, ids, starts, context)
            at = (starts[:, None] + torch.arange(row)).clamp(max=predicted - 1)
            logits, _ = model(ids[at].to(device), state)
            first, last = int(starts[0]), min(int(starts[-1]) + row, predicted)
            targets = ids[first + 1 : last + 1].long().to(device)
            costs.append(cost(logits.flatten(0, 1)[: last - first], targets).cpu())
    return torch.cat(costs, dim=-1).double()


def calibrate_logits(model: LanguageModel, ids: Tensor) -> tuple[float, Tensor]:
    """Temperature scaling (Guo et al. 2017, arXiv:1706.04599): the best factor of the logits, and the costs with it.

    The factor is the one of LOGIT_SCALES with the lowest cost on ``ids`` (N,), which are read as ``text_costs`` does.
    """

    def at_each_scale(logits: Tensor, targets: Tensor) -> Tensor:
        return torch.stack([cross_entropies(logits * scale, targets) for scale in LOGIT_SCALES])

    return min(
        zip(LOGIT_SCALES, text_costs(model, ids, at_each_scale), strict=True), key=lambda scaled: float(scaled[1].sum())
    )


def _state_at(model: LanguageModel, ids: Tensor, starts: Tensor, context: int) -> State | None:
    """The initial state of the rows that begin at ``starts`` (R,).

    That is the state after the ``context`` characters before a row, and zeros for the row at the start of the text;
    None if all are zeros.
    """
    later = starts[starts > 0]
    if not len(later):
        return None
    at = later[:, None] - context + torch.arange(context)
    _, state = model(ids[at].to(model.output.weight.device))
    missing = len(starts) - len(later)
    return state_of(tuple(F.pad(part, (0, 0, missing, 0)) for part in parts_of(state)))


def score_windows(
    model: LanguageModel, inputs: Tensor, targets: Tensor, batch_size: int, precision: str = "fp32"
) -> tuple[float, float, Tensor]:
    """Score windows (N, T), each from a zero state, as the book (d2l.ai) validates.

    Returns the book's perplexity, the mean over batches of exp(mean cost); the pooled one; and the costs (N,), means in
    nats per character of each window, in float64.
    """
    device = model.output.weight.device
    losses, costs = [], []
    with evaluation_mode(model, precision):
        for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            logits, y = model(x.to(device))[0].float(), y.long().to(device)
            losses.append(float(F.cross_entropy(logits.flatten(0, 1), y.flatten())))
            costs.append(F.cross_entropy(logits.transpose(1, 2), y, reduction="none").mean(1).cpu().double())
    nats = sum(loss * each.numel() for loss, each in zip(losses, targets.split(batch_size), strict=True))
    book = sum(map(perplexity, losses)) / len(losses)
    return book, perplexity(nats / targets.numel()), torch.cat(costs)


def block_means(costs: Tensor) -> list[float]:
    """Means of consecutive blocks of costs (N,), for a bootstrap over blocks; block sizes differ by at most one."""
    blocks = min(MOST_BLOCKS, max(1, len(costs) // BLOCK_CHARS))
    return [round(float(block.mean()), 5) for block in costs.tensor_split(blocks)]
