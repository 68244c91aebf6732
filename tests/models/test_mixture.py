"""Mixtures of a network and an n-gram: their closed forms, their ends, and which one is chosen."""

from itertools import product

import pytest
import torch
from torch import Tensor

from models.mixture import KINDS, WEIGHTS, Mixture, MixtureKind, best_mixture, mixture_costs

SIZE, VOCAB = 40, 5


def log_distributions(seed: int) -> torch.Tensor:
    return torch.randn(SIZE, VOCAB, generator=torch.Generator().manual_seed(seed)).mul(3).log_softmax(1)


NETWORK, NGRAM = log_distributions(0), log_distributions(1)
TARGETS = torch.randint(0, VOCAB, (SIZE,), generator=torch.Generator().manual_seed(2))


def distributions(kind: MixtureKind, weight: float) -> torch.Tensor:
    """The equations of the module's docstring."""
    network, ngram = NETWORK.double(), NGRAM.double()
    if kind == "linear":
        return weight * network.exp() + (1 - weight) * ngram.exp()
    return (weight * network + (1 - weight) * ngram).softmax(1)


def mixture_nats(*models_and_targets: Tensor) -> Tensor:
    return mixture_costs(*models_and_targets).sum(1)


@pytest.mark.parametrize(("kind", "weight"), product(KINDS, (0.0, 0.05, 0.3, 0.5, 0.95, 1.0)))
def test_the_cost_is_that_of_the_equations(kind, weight):
    expected = -distributions(kind, weight)[torch.arange(SIZE), TARGETS].log().sum()
    cost = Mixture(kind, weight).of(mixture_nats(NETWORK, NGRAM, TARGETS))
    assert float(cost) == pytest.approx(float(expected), rel=1e-5)


def test_the_best_mixture_has_the_lowest_cost():
    nats = torch.full((len(KINDS), len(WEIGHTS)), 9.0)
    nats[1, 7] = 8.0
    assert best_mixture(nats) == Mixture("geometric", 0.35)


def test_a_character_that_a_model_rules_out_leaves_the_costs_finite():
    never = torch.full((SIZE, VOCAB), -300.0).scatter(1, (TARGETS[:, None] + 1) % VOCAB, 0.0)
    assert mixture_nats(never, NGRAM, TARGETS).isfinite().all()
