"""Evaluate a model on a text: perplexity and bits per character, from one sum of cross-entropies.

Shapes: N characters or windows, R rows, T time steps, V vocabulary, W mixture weights, n characters of one piece.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import exp, inf, log

import torch
from torch import Tensor
from torch.nn import functional as F

from models.language_model import LanguageModel, with_row_lookup
from models.mixture import KINDS, WEIGHTS, Mixture, mixture_costs, mixture_nats
from models.ngram import KneserNey
from models.on_top_of_ngram import Ngram
from models.recurrent import State

ROW_CHARS = 256  # scored characters of a row

CONTEXT_CHARS = 128  # unscored characters that a row reads before the scored ones

ROWS_AT_ONCE = 512

LARGE_VOCABULARY = 1000  # symbols from which on the product with one-hot vectors dominates the cost of a forward pass

CALIBRATED_NUMBERS = 4_000_000  # log-probabilities (characters x vocabulary) of one piece when an n-gram is calibrated

LOGIT_SCALES = tuple(percent / 100 for percent in range(70, 115, 5))  # candidates of ``calibrate_logits``

LOGITS_AT_ONCE = 8_000_000  # 32 MB: fewer rows at once for a large vocabulary

BLOCK_CHARS, MOST_BLOCKS = 50, 200  # mean costs are recorded of at most so many blocks of at least so many characters

MIXED_AT_ONCE = 200_000  # probabilities of each model at once: they stay in the processor's cache


@dataclass(frozen=True)
class TextScore:
    """Cross-entropy of a text: the sum in nats, and the number of predicted characters."""

    nats: float
    characters: int

    @property
    def perplexity(self) -> float:
        return perplexity(self.nats / self.characters)

    @property
    def bits_per_char(self) -> float:
        return self.nats / self.characters / log(2)


def perplexity(nats_per_char: float) -> float:
    """exp of the mean cross-entropy in nats per character; inf if that overflows, NaN for NaN."""
    try:
        return exp(nats_per_char)
    except OverflowError:
        return inf


@contextmanager
def evaluation_mode(model: LanguageModel) -> Iterator[None]:
    """Evaluation mode without gradients; restores the model's mode at the end of the block."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def score_text(model: LanguageModel, ids: Tensor, row: int = ROW_CHARS, context: int = CONTEXT_CHARS) -> TextScore:
    """Score every character of ``ids`` (N,) but the first, given the characters before it.

    The text is cut into rows of ``row`` characters, which are read in parallel. Each row first reads the ``context``
    characters before it: with 128, a trained model's perplexity is within 0.1 % of that of the text read in one pass (a
    test checks it). Arithmetic is in fp32, whatever the training's. Raises ValueError for fewer than 2 characters, and
    for a context longer than a row.
    """
    nats = 0.0
    with evaluation_mode(model):
        for logits, targets in _logits_of(model, ids, row, context):
            nats += float(F.cross_entropy(logits, targets, reduction="none").cpu().double().sum())
    return TextScore(nats, len(ids) - 1)


def calibrate_logits(model: LanguageModel, ids: Tensor) -> tuple[float, TextScore]:
    """Temperature scaling (Guo et al. 2017, arXiv:1706.04599): the best factor of the logits, and the score with it.

    The factor is the one of LOGIT_SCALES with the lowest cost on ``ids`` (N,), which are read as ``score_text`` does.
    """
    nats = torch.zeros(len(LOGIT_SCALES), dtype=torch.double)
    with evaluation_mode(model):
        for logits, targets in _logits_of(model, ids):
            for index, scale in enumerate(LOGIT_SCALES):
                nats[index] += F.cross_entropy(logits * scale, targets, reduction="none").cpu().double().sum()
    best = int(nats.argmin())
    return LOGIT_SCALES[best], TextScore(float(nats[best]), len(ids) - 1)


def score_mixtures(model: LanguageModel, ngram: KneserNey, ids: Tensor) -> Tensor:
    """Total cost in nats (2, W) of ``ids`` (N,) under each mixture of the two models, as ``mixture_nats`` returns it.

    The text is read as ``score_text`` does; all characters but the first are predicted.
    """
    nats = torch.zeros(len(KINDS), len(WEIGHTS), dtype=torch.double)
    with evaluation_mode(model):
        for pair in _log_probabilities_of_both(model, ngram, ids):
            nats += mixture_nats(*pair)
    return nats


def costs_of(model: LanguageModel, ids: Tensor) -> Tensor:
    """Cost in nats (N - 1,) of each character of ``ids`` (N,) but the first, read as ``score_text`` does."""
    with evaluation_mode(model):
        parts = [F.cross_entropy(logits, targets, reduction="none").cpu() for logits, targets in _logits_of(model, ids)]
    return torch.cat(parts).double()


def costs_of_mixture(model: LanguageModel, ngram: KneserNey, mixture: Mixture, ids: Tensor) -> Tensor:
    """Cost in nats (N - 1,) of each character of ``ids`` (N,) but the first under a mixture of two models."""
    with evaluation_mode(model):
        pairs = _log_probabilities_of_both(model, ngram, ids)
        return torch.cat([mixture.of_each(mixture_costs(*pair)) for pair in pairs])


def _log_probabilities_of_both(
    model: LanguageModel, ngram: KneserNey, ids: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield log-probabilities (n, V) of the network and of the n-gram model, and targets (n,), in order."""
    at_once = max(1, MIXED_AT_ONCE // model.vocab_size)
    start = 1
    for all_logits, all_targets in _logits_of(model, ids):
        for logits, targets in zip(all_logits.split(at_once), all_targets.cpu().split(at_once), strict=True):
            context = min(start, ngram.order - 1)
            text = ids[start - context : start + len(targets)].numpy()
            yield logits.log_softmax(1).cpu(), torch.from_numpy(ngram.log_probabilities_of_all(text, context)), targets
            start += len(targets)


def _logits_of(
    model: LanguageModel, ids: Tensor, row: int = ROW_CHARS, context: int = CONTEXT_CHARS
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield logits (n, V) and targets (n,) of all predicted characters, in order. Raises as ``score_text`` does."""
    if not 0 <= context <= row:
        raise ValueError(f"a context of {context} characters does not fit before a row of {row}; at most {row} do")
    predicted = len(ids) - 1
    if predicted < 1:
        raise ValueError(f"a text of {len(ids)} characters has nothing to predict; at least 2 are needed")
    if model.vocab_size >= LARGE_VOCABULARY:
        model = with_row_lookup(model)
    device = model.output.weight.device
    rows = max(1, min(ROWS_AT_ONCE, LOGITS_AT_ONCE // (row * model.vocab_size)))
    for starts in torch.arange(0, predicted, row).split(rows):
        state = _state_at(model, ids, starts, context)
        at = (starts[:, None] + torch.arange(row)).clamp(max=predicted - 1)
        logits, _ = model(ids[at].long().to(device), state)
        first, last = int(starts[0]), min(int(starts[-1]) + row, predicted)
        yield logits.flatten(0, 1)[: last - first], ids[first + 1 : last + 1].long().to(device)


def _state_at(model: LanguageModel, ids: Tensor, starts: Tensor, context: int) -> State | None:
    """The initial state of the rows that begin at ``starts`` (R,).

    That is the state after a row's context, and zeros for the row at the start of the text; None if all are zeros.
    """
    later = starts[starts > 0]
    if not len(later) or not context:
        return None
    at = later[:, None] - context + torch.arange(context)
    _, state = model(ids[at].long().to(model.output.weight.device))
    missing = len(starts) - len(later)
    if isinstance(state, tuple):
        return tuple(F.pad(part, (0, 0, missing, 0)) for part in state)
    return F.pad(state, (0, 0, missing, 0))


def score_windows(model: LanguageModel, inputs: Tensor, targets: Tensor, batch_size: int) -> tuple[float, TextScore]:
    """Score windows (N, T), each from a zero state, as the book (d2l.ai) validates.

    Returns the book's perplexity, the mean over batches of exp(mean loss of the batch), and the score of all windows.
    """
    device = model.output.weight.device
    batch_perplexities, nats = [], 0.0
    with evaluation_mode(model):
        for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            logits, _ = model(x.long().to(device))
            loss = float(F.cross_entropy(logits.float().flatten(0, 1), y.long().to(device).flatten()))
            batch_perplexities.append(perplexity(loss))
            nats += loss * y.numel()
    return sum(batch_perplexities) / len(batch_perplexities), TextScore(nats, targets.numel())


def costs_of_windows(model: LanguageModel, inputs: Tensor, targets: Tensor, batch_size: int) -> Tensor:
    """Mean cost in nats per character (N,) of each window of (N, T), read from a zero state."""
    device, costs = model.output.weight.device, []
    with evaluation_mode(model):
        for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
            logits, _ = model(x.long().to(device))
            nats = F.cross_entropy(logits.float().transpose(1, 2), y.long().to(device), reduction="none")
            costs.append(nats.mean(1).cpu().double())
    return torch.cat(costs)


def block_means(costs: Tensor) -> list[float]:
    """Means of consecutive blocks of costs (N,), for a bootstrap over blocks; block sizes differ by at most one."""
    blocks = min(MOST_BLOCKS, max(1, len(costs) // BLOCK_CHARS))
    return [round(float(block.mean()), 5) for block in costs.tensor_split(blocks)]


# --- the control of a model on top of an n-gram ----------------------------------------------------------------------


def calibrate_ngram(ngram: Ngram, ids: Tensor) -> Tensor:
    """Weights (5,) that calibrate an n-gram without a network: p' proportional to p ** (weights . features).

    The features of a distribution p are 1, its entropy, the square of the entropy, its largest log-probability, and the
    share of the contexts of all lengths that are in training. The weights minimise the cross-entropy on the text's
    beginning, CALIBRATED_NUMBERS // V characters.
    """
    log_p, features, targets = next(_calibration_pieces(ngram, ids))
    weights = F.one_hot(torch.tensor(0), features.shape[1]).float().requires_grad_()  # p' = p
    optimizer = torch.optim.LBFGS([weights], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy((features @ weights)[:, None] * log_p, targets)
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach()


@torch.no_grad()
def score_calibrated_ngram(ngram: Ngram, weights: Tensor, ids: Tensor) -> TextScore:
    """Score every character but the first with an n-gram and the weights that ``calibrate_ngram`` returned."""
    nats = 0.0
    for log_p, features, targets in _calibration_pieces(ngram, ids):
        nats += float(F.cross_entropy((features @ weights)[:, None] * log_p, targets, reduction="sum"))
    return TextScore(nats, len(ids) - 1)


@torch.no_grad()
def _calibration_pieces(ngram: Ngram, ids: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield log-probabilities (n, V), features (n, 5) and targets (n,) of consecutive pieces of a text."""
    ngram = ngram.to("cpu")
    size = max(1, CALIBRATED_NUMBERS // ngram.vocab_size)
    for start in range(0, len(ids) - 1, size):
        context = min(start, ngram.order - 1)
        text = ids[start - context : start + size + 1].long()[None]
        targets = text[0, context + 1 :]
        log_p = ngram(text[:, :-1] + 1, len(targets))[0]
        entropy = -(log_p.exp() * log_p).sum(-1)
        known = (ngram.contexts(text[:, :-1] + 1)[0, context:] != ngram.missing).float().mean(-1)
        features = torch.stack([torch.ones_like(entropy), entropy, entropy**2, log_p.amax(-1), known], dim=-1)
        yield log_p, features, targets
