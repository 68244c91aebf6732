"""Score a text by a network together with an n-gram: mixtures of the two, and the calibrated n-gram as a control.

Shapes: N characters, V vocabulary, W mixture weights, n characters of one piece.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from models.language_model import LanguageModel
from models.mixture import KINDS, WEIGHTS, Mixture, mixture_costs
from models.ngram import KneserNey
from models.on_top_of_ngram import Ngram
from pipeline.training.evaluation import TextScore, cross_entropies, text_costs
from pipeline.training.loop import without_dynamo

MIXED_AT_ONCE = 200_000  # probabilities of each model at once: they stay in the processor's cache
CALIBRATED_NUMBERS = 4_000_000  # log-probabilities (characters x vocabulary) of one piece when an n-gram is calibrated


class _WithNgram:
    """Costs of mixtures of a network and ``ngram``, called with logits of consecutive pieces of a text."""

    def __init__(self, ngram: KneserNey, ids: Tensor) -> None:
        self.ngram, self.ids = ngram, ids
        self.start = 1  # position of the next target

    def __call__(self, logits: Tensor, targets: Tensor) -> Iterator[Tensor]:
        """Yield the costs (2, n, W) under every mixture of parts of a piece: logits (n, V), targets (n,)."""
        at_once = max(1, MIXED_AT_ONCE // logits.shape[1])
        for part, wanted in zip(logits.split(at_once), targets.cpu().split(at_once), strict=True):
            context = min(self.start, self.ngram.order - 1)
            text = self.ids[self.start - context : self.start + len(wanted)].numpy()
            by_ngram = torch.from_numpy(self.ngram.log_probabilities_of_all(text, context))
            yield mixture_costs(part.log_softmax(1).cpu(), by_ngram, wanted)
            self.start += len(wanted)


def costs_with_ngram(model: LanguageModel, ngram: KneserNey, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Score a text once by a network alone and mixed with an n-gram.

    Returns the network's costs in nats (N - 1,), as ``text_costs``, and the total cost (2, W) under each mixture.
    """
    mixed, nats = _WithNgram(ngram, ids), torch.zeros(len(KINDS), len(WEIGHTS), dtype=torch.double)

    def cost(logits: Tensor, targets: Tensor) -> Tensor:
        for costs in mixed(logits, targets):
            nats.add_(costs.sum(1))
        return cross_entropies(logits, targets)

    return text_costs(model, ids, cost), nats


def costs_of_mixture(model: LanguageModel, ngram: KneserNey, mixture: Mixture, ids: Tensor) -> Tensor:
    """Cost in nats (N - 1,) of each character of ``ids`` (N,) but the first under a mixture of two models."""
    mixed = _WithNgram(ngram, ids)
    return text_costs(
        model, ids, lambda logits, targets: torch.cat([mixture.of(each) for each in mixed(logits, targets)])
    )


def calibrate_ngram(ngram: Ngram, ids: Tensor) -> Tensor:
    """Weights (5,) that calibrate an n-gram without a network: p' proportional to p ** (weights . features).

    The features of a distribution p are 1, its entropy, the square of the entropy, its largest log-probability, and the
    share of the contexts of all lengths that are in training. The weights minimise the cross-entropy on the text's
    beginning, CALIBRATED_NUMBERS // V characters.
    """
    log_p, features, targets = next(_calibration_pieces(ngram, ids))
    weights = F.one_hot(torch.tensor(0), features.shape[1]).float().requires_grad_()  # p' = p
    optimizer = without_dynamo(torch.optim.LBFGS)([weights], max_iter=50, line_search_fn="strong_wolfe")

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
