"""Score a text by mixtures of a network and an n-gram model.

Shapes: N characters, V vocabulary, W mixture weights, n characters of one piece.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from models.gated_ngrams import NGramModel
from models.language_model import LanguageModel
from models.mixture import KINDS, WEIGHTS, Mixture, mixture_costs
from pipeline.training.evaluation import cross_entropies, text_costs

MIXED_AT_ONCE = 200_000  # probabilities of each model at once: they stay in the processor's cache


class _WithNgram:
    """Costs of mixtures of a network and ``ngram``, called with logits of consecutive pieces of a text."""

    def __init__(self, ngram: NGramModel, ids: Tensor) -> None:
        self.ngram, self.ids = ngram, ids
        self.start = 1  # position of the next target

    def __call__(self, logits: Tensor, targets: Tensor) -> Iterator[Tensor]:
        """Yield the costs (2, n, W) under every mixture of parts of a piece: logits (n, V), targets (n,)."""
        at_once = max(1, MIXED_AT_ONCE // logits.shape[1])
        for part, wanted in zip(logits.split(at_once), targets.cpu().split(at_once), strict=True):
            context = min(self.start, self.ngram.order - 1)
            text = self.ids[self.start - context : self.start + len(wanted)].numpy()
            by_ngram = self.ngram.log_probabilities(text, context)
            yield mixture_costs(part.log_softmax(1).cpu(), by_ngram, wanted)
            self.start += len(wanted)


def costs_with_ngram(model: LanguageModel, ngram: NGramModel, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Score a text once by a network alone and mixed with an n-gram model.

    Returns the network's costs in nats (N - 1,), as ``text_costs``, and the total cost (2, W) under each mixture.
    """
    mixed, nats = _WithNgram(ngram, ids), torch.zeros(len(KINDS), len(WEIGHTS), dtype=torch.double)

    def cost(logits: Tensor, targets: Tensor) -> Tensor:
        for costs in mixed(logits, targets):
            nats.add_(costs.sum(1))
        return cross_entropies(logits, targets)

    return text_costs(model, ids, cost), nats


def costs_of_mixture(model: LanguageModel, ngram: NGramModel, mixture: Mixture, ids: Tensor) -> Tensor:
    """Cost in nats (N - 1,) of each character of ``ids`` (N,) but the first under a mixture of two models."""
    mixed = _WithNgram(ngram, ids)
    return text_costs(
        model, ids, lambda logits, targets: torch.cat([mixture.of(each) for each in mixed(logits, targets)])
    )
