"""Mixtures of a network and an n-gram model: one distribution over the next character from both.

linear      p(c) = w p_network(c) + (1 - w) p_ngram(c)
geometric   p(c) proportional to p_network(c)^w p_ngram(c)^(1 - w)

Shapes: N characters of a text, V vocabulary, W weights.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

MixtureKind = Literal["linear", "geometric"]

KINDS: tuple[MixtureKind, ...] = get_args(MixtureKind)
STEPS = 20  # from weight 0, the n-gram alone, to weight 1, the network alone
WEIGHTS = tuple(step / STEPS for step in range(STEPS + 1))  # of the network


@dataclass(frozen=True)
class Mixture:
    """How a network and an n-gram model are mixed; ``weight`` is the network's, one of WEIGHTS."""

    kind: MixtureKind
    weight: float

    def of(self, costs: Tensor) -> Tensor:
        """This mixture's costs in the costs (2, ..., W) under all mixtures: (...)."""
        return costs[KINDS.index(self.kind), ..., WEIGHTS.index(self.weight)]


def best_mixture(nats: Tensor) -> Mixture:
    """The mixture of the lowest cost in the total costs (2, W) of all mixtures."""
    kind, weight = divmod(int(nats.argmin()), len(WEIGHTS))
    return Mixture(KINDS[kind], WEIGHTS[weight])


def mixture_costs(network: Tensor, ngram: Tensor, targets: Tensor) -> Tensor:
    """Costs in nats (2, N, W), in float64, of ``targets`` (N,) under every mixture, from log-probabilities (N, V)."""
    weights = torch.tensor(WEIGHTS)
    by_network, by_ngram = (model.gather(1, targets[:, None]) for model in (network, ngram))
    linear = torch.logaddexp(by_network + weights.log(), by_ngram + (1 - weights).log())
    geometric = by_network * weights + by_ngram * (1 - weights) - _log_normalisers(network, ngram)
    return -torch.stack([linear, geometric]).double()


def _log_normalisers(network: Tensor, ngram: Tensor) -> Tensor:
    """Log of the sum (N, W) over all characters of p_network^w p_ngram^(1 - w).

    From each weight to the next, a character's term is multiplied by the same factor.
    """
    factors = ((network - ngram) / STEPS).exp_()
    terms = ngram.exp()
    sums = [terms.sum(1)]
    for _ in range(STEPS):
        sums.append(terms.mul_(factors).sum(1))
    return torch.stack(sums, dim=1).log_()
