"""Score a text by mixtures of two models: of a network and an n-gram model, or of any two.

Shapes: N characters, V vocabulary, W mixture weights, n characters of one piece.
"""

from collections.abc import Callable, Iterator

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from models.gated_ngrams import NGramModel
from models.language_model import LanguageModel
from models.mixture import KINDS, WEIGHTS, Mixture, best_mixture, mixture_costs
from pipeline.training.evaluation import ROW_CHARS, cross_entropies, text_costs

MIXED_AT_ONCE = 200_000  # probabilities of each model at once: they stay in the processor's cache
ROWS_AT_ONCE = 8  # of two models, whatever the vocabulary


def costs_with_ngram(
    model: LanguageModel, ngram: NGramModel, ids: Tensor, mixed_at_once: int = MIXED_AT_ONCE, **read: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Score a text once by a network alone, by an n-gram model and by both mixed.

    Returns the network's costs in nats (N - 1,), as ``text_costs``, the n-gram model's, and the total cost (2, W) under
    each mixture. ``read`` are options of ``text_costs``.
    """
    nats, start = torch.zeros(len(KINDS), len(WEIGHTS), dtype=torch.double), 1  # position of the next target
    alone: list[Tensor] = []

    def cost(logits: Tensor, targets: Tensor) -> Tensor:
        nonlocal start
        at_once = max(1, mixed_at_once // logits.shape[1])
        for part, wanted in zip(logits.split(at_once), targets.cpu().split(at_once), strict=True):
            context = min(start, ngram.tables.order - 1)
            by_ngram = ngram.log_probabilities(ids[start - context : start + len(wanted)].numpy(), context)
            mixed = mixture_costs(part.log_softmax(1).cpu(), by_ngram, wanted)
            nats.add_(mixed.sum(1))
            alone.append(mixed[0, :, 0])
            start += len(wanted)
        return cross_entropies(logits, targets)

    return text_costs(model, ids, cost, **read), torch.cat(alone), nats


Read = Callable[[ArrayLike, int], Tensor]
"""(ids (N,), context) -> log-probabilities (N - context, V) from position ``context`` on, as ``NGramModel``'s."""


def reading(model: LanguageModel) -> Read:
    """What a network reads: if the context is whole rows, exactly what ``text_costs`` reads in the whole text."""

    def read(ids: ArrayLike, context: int) -> Tensor:
        logs = text_costs(model, torch.as_tensor(ids), lambda logits, _: logits.log_softmax(1).T)
        return logs.T[context - 1 :].float()

    return read


def costs_of_best_mixture(first: Read, second: Read, val: Tensor, test: Tensor) -> Tensor:
    """Costs in nats (N - 1,) on the ids ``test`` (N,) of the mixture of two models that is the best on ``val``."""
    nats = torch.zeros(len(KINDS), len(WEIGHTS), dtype=torch.double)
    for costs in _mixed(first, second, val):
        nats += costs.sum(1)
    return costs_of_mixture(best_mixture(nats), first, second, test)


def costs_of_mixture(mixture: Mixture, first: Read, second: Read, ids: Tensor, rows: int = ROWS_AT_ONCE) -> Tensor:
    """Costs in nats (N - 1,) on ``ids`` (N,) of a mixture of two models, which read so many rows at once."""
    return torch.cat([mixture.of(costs) for costs in _mixed(first, second, ids, rows)])


def _mixed(first: Read, second: Read, ids: Tensor, rows: int = ROWS_AT_ONCE) -> Iterator[Tensor]:
    """Yield the costs (2, n, W) under every mixture, for one piece of a text (N,) after the other."""
    for start in range(1, len(ids), ROW_CHARS * rows):
        context, end = min(start, ROW_CHARS), start + ROW_CHARS * rows
        text = ids[start - context : end].numpy()
        yield mixture_costs(first(text, context), second(text, context), ids[start:end].long())
