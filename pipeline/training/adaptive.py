"""Adaptive evaluation: a model learns from the characters of the evaluation text that it has scored, never ahead.

    p(c) proportional to the product over members m of p_m(c) ** w_m

network     takes a step after every STEP characters (dynamic evaluation, Krause et al. 2018, arXiv:1709.07432); on top
            of all n-grams, it reads those of ``refitted``
as trained  the n-gram model of the training
refitted    the same, fitted again on the training text and the text so far; its gate stays
cache       the n-gram model of order CACHE_ORDER of the last CACHE_CHARS characters of the text so far

Its weights w and the network's learning rate are chosen on the validation text, in a pass of its own.

Shapes: N, n characters, M members, V vocabulary, K orders.
"""

import time
from collections.abc import Sequence
from copy import deepcopy
from math import inf, log
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from models.gated_ngrams import NGramModel, NGramTables
from models.language_model import LanguageModel, detach
from models.ngram import KneserNey, as_ids
from models.on_top_of_ngram import NgramLanguageModel
from models.recurrent import State
from pipeline.config import PresetName
from pipeline.text.corpus import Corpus
from pipeline.text.ngrams import fitted_ngrams
from pipeline.training.evaluation import perplexity
from pipeline.training.experiment import cross_fitted

STEP, RATES, DECAY, DAMPING = 16, (0.0, 0.001, 0.002), 0.003, 0.1
SCALE_STEPS = 300  # steps over training text that measure the gradients
REFIT_CHARS, MOST_REFITS = 512, 20
CACHE_ORDER, CACHE_CHARS, CACHE_REFIT_CHARS = 5, 10_000, 64
FITTED_CHARS, FITTED_NUMBERS = 20_000, 20_000_000  # validation characters and log-probabilities, at most
RIDGE = 5.0


def adapted(model: LanguageModel) -> list[Tensor]:
    """The weights that learn: not those of an n-gram model's gate, with which validation gets worse."""
    named = model.named_parameters()
    return [weight.requires_grad_() for name, weight in named if not name.startswith("order_gate.")]


def gradient_scales(model: LanguageModel, ids: ArrayLike, prior: Tensor | None) -> list[Tensor]:
    """Root mean square of the gradients of each weight, plus DAMPING times its mean over the tensor.

    ``ids`` (N,) is training text; ``prior`` (N, K, V + 4) replaces the tables' evidence about it.
    """
    text, weights, state = torch.from_numpy(as_ids(ids)), adapted(model), None
    starts = range(0, len(text) - STEP, STEP)
    squares = [torch.zeros_like(weight) for weight in weights]
    for start in starts:
        predicted = slice(start + 1, start + 1 + STEP)
        evidence = None if prior is None else prior[None, predicted]
        _, logits, state = model.network_and_model_logits(text[None, start : start + STEP], state, evidence)
        state = detach(state)
        gradients = torch.autograd.grad(F.cross_entropy(logits[0], text[predicted]), weights)
        for square, gradient in zip(squares, gradients, strict=True):
            square.addcmul_(gradient, gradient, value=1 / len(starts))
    return [root + DAMPING * root.mean() + 1e-10 for root in (square.sqrt() for square in squares)]


class DynamicNetwork:
    """A copy of a network that learns while it reads, by the RMS rule.

    t <- t - rate g / v,  then  t <- t + DECAY (t0 - t)

    with its weights t, the trained ones t0, the gradient g and its scale v (``gradient_scales``).
    """

    def __init__(self, model: LanguageModel, scales: Sequence[Tensor], rate: float) -> None:
        self.model, self.scales, self.rate = deepcopy(model), scales, rate
        self.weights = adapted(self.model)
        self.trained = [weight.detach().clone() for weight in self.weights]
        self.state: State | None = None  # at the latest step

    def log_probabilities(self, text: Tensor) -> Tensor:
        """Log-probabilities (n, V) of the characters since the latest step, after which ``text`` (n + 1,) begins.

        The last of STEP characters makes it take a step.
        """
        _, logits, state = self.model.network_and_model_logits(text[None, :-1], self.state)
        if len(text) > STEP:
            self.state = detach(state)
            gradients = torch.autograd.grad(F.cross_entropy(logits[0], text[1:]), self.weights)
            with torch.no_grad():
                for t, g, v, t0 in zip(self.weights, gradients, self.scales, self.trained, strict=True):
                    t.sub_(self.rate * g / v).lerp_(t0, DECAY)
        return logits[0].detach().log_softmax(-1)


class AdaptiveModel:
    """Networks and n-gram models that read a text once, in pieces of any lengths, and learn from it.

    ``train`` (N,) is the text on which ``ngram`` was fitted, ``every`` the number of characters between two refits, a
    multiple of STEP. Without ``counts``, the networks are the only members, and there are no refits; ``fitted_numbers``
    are the shares that all refits have computed.
    """

    def __init__(
        self, networks: Sequence[DynamicNetwork], ngram: NGramModel, train: ArrayLike, every: int, counts: bool = True
    ) -> None:
        self.networks, self.as_trained, self.train, self.every = networks, ngram, as_ids(train), every
        self.refitted, self.refits, self.counts, self.fitted_numbers = ngram, 0, counts, 0
        self.cache: NGramModel | None = None
        self.text = as_ids([])

    def read(self, ids: ArrayLike) -> Tensor:
        """Log-probabilities (n, M, V) of the characters ``ids`` (n,) by every member, the networks first.

        The first character of the text is only context, and left out.
        """
        members = len(self.networks) + 3 * self.counts
        left, parts = as_ids(ids), [torch.empty(0, members, self.as_trained.tables.vocab_size)]
        if not len(self.text):
            self.text, left = left[:1], left[1:]
        while len(left):
            scored = len(self.text) - 1
            if self.counts and scored and scored % self.every == 0:
                self.refitted = self._fitted(np.append(self.train, self.text), self.as_trained.tables.order)
                self.refitted.gate, self.refits = self.as_trained.gate, self.refits + 1
                latest = torch.from_numpy(self.text[None, -self.refitted.tables.order : -1])  # the last is not yet read
                for network in self.networks:
                    model, state = network.model, network.state
                    if isinstance(model, NgramLanguageModel) and not model.config.ngrams and state is not None:
                        network.state = model.use_tables(self.refitted.tables, state, latest)
            if self.counts and scored and scored % CACHE_REFIT_CHARS == 0:
                self.cache = self._fitted(self.text[-CACHE_CHARS:], CACHE_ORDER)
            until_step = STEP - scored % STEP
            self.text = np.append(self.text, left[:until_step])
            parts.append(self._members(min(len(left), until_step)))
            left = left[until_step:]
        return torch.cat(parts)

    def _fitted(self, ids: NDArray[np.int64], order: int) -> NGramModel:
        tables = NGramTables(KneserNey(ids, self.as_trained.tables.vocab_size, order))
        self.fitted_numbers += tables.stored_numbers
        return NGramModel(tables, None)

    def _members(self, count: int) -> Tensor:
        """Log-probabilities (n, M, V) of the latest ``count`` characters."""
        start = len(self.text) - count
        since_step = torch.from_numpy(self.text[(start - 1) // STEP * STEP :])
        members = [network.log_probabilities(since_step)[-count:] for network in self.networks]
        for ngram in (self.as_trained, self.refitted, self.cache) if self.counts else ():
            if ngram is None:  # all characters are alike
                members.append(torch.zeros_like(members[0]).log_softmax(-1))
            else:
                context = min(start, ngram.tables.order - 1)
                members.append(ngram.log_probabilities(self.text[start - context :], context))
        return torch.stack(members, dim=1)


def mixed_costs(members: Tensor, weights: Tensor, targets: Tensor) -> Tensor:
    """Costs in nats (n,), in float64, of ``targets`` (n,) under log-probabilities (n, M, V) with weights (M,)."""
    return F.cross_entropy(torch.einsum("m,nmv->nv", weights, members), targets, reduction="none").double()


def fit_weights(members: Tensor, targets: Tensor) -> Tensor:
    """Weights (M,) of the lowest cost. A ridge, RIDGE nats for a change by 1, keeps them near the first member."""
    from scipy.optimize import minimize  # imported here: takes 0.3 s

    start = torch.eye(members.shape[1], dtype=torch.float64)[0]

    def nats(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = torch.from_numpy(at.copy()).requires_grad_()
        total = mixed_costs(members, weights.float(), targets).sum() + RIDGE * (weights - start).square().sum()
        (slope,) = torch.autograd.grad(total, weights)
        return total.item(), slope.numpy()

    return torch.from_numpy(minimize(nats, start.numpy(), jac=True, method="BFGS").x).float()


def chosen(networks: Tensor, others: Tensor, targets: Tensor) -> tuple[float, Tensor]:
    """The learning rate and the weights (1 + M,) of the lowest cost.

    ``networks`` (n, R, V) are log-probabilities by a network that learns at each of RATES, ``others`` (n, M, V) those
    by the other members.
    """
    lowest, found = inf, (0.0, torch.empty(0))
    for rate, network in zip(RATES, networks.split(1, dim=1), strict=True):
        members = torch.cat([network, others], dim=1)
        weights = fit_weights(members, targets)
        if (nats := float(mixed_costs(members, weights, targets).sum())) < lowest:
            lowest, found = nats, (rate, weights)
    return found


def scales_of(model: LanguageModel, corpus: Corpus, preset: PresetName, most: int = SCALE_STEPS) -> list[Tensor]:
    """The gradients' scales of a model over at most so many steps in the middle of its training text."""
    train = corpus.split(preset, "train")
    steps = min(most, (len(train) - 1) // STEP)
    start = (len(train) - 1 - STEP * steps) // 2
    end = start + STEP * steps + 1
    prior = None
    if isinstance(model, NgramLanguageModel):
        prior = cross_fitted(corpus, preset, model.config.ngrams).at([(start, end)])
    return gradient_scales(model, train[start:end], prior)


def adaptive_model(
    networks: Sequence[DynamicNetwork], corpus: Corpus, preset: PresetName, characters: int, counts: bool = True
) -> AdaptiveModel:
    """A model that will read a text of so many characters."""
    every = max(REFIT_CHARS, STEP * -(-characters // (MOST_REFITS * STEP)))
    return AdaptiveModel(networks, fitted_ngrams(corpus, preset), corpus.baseline_text(preset), every, counts)


def validation_text(corpus: Corpus, preset: PresetName, most: int = FITTED_CHARS) -> NDArray[np.int64]:
    """The part of the validation text on which rate and weights are chosen: at most so many characters."""
    return as_ids(corpus.split(preset, "val")[: min(most, FITTED_NUMBERS // (6 * len(corpus.vocabulary)))])


def adaptive_figures(model: LanguageModel, corpus: Corpus, preset: PresetName, ids: ArrayLike) -> dict[str, Any]:
    """Score a text (N,) adaptively, from the trained weights and the training text on; CPU milliseconds are its own."""
    scales, val = scales_of(model, corpus, preset), validation_text(corpus, preset)
    tried = [DynamicNetwork(model, scales, rate) for rate in RATES]
    read = adaptive_model(tried, corpus, preset, len(val)).read(val)
    rate, weights = chosen(read[:, :-3], read[:, -3:], torch.from_numpy(val[1:]))

    text = torch.from_numpy(as_ids(ids))
    reader = adaptive_model([DynamicNetwork(model, scales, rate)], corpus, preset, len(text))
    started, nats = time.process_time(), 0.0
    for piece in text.split(REFIT_CHARS):
        members = reader.read(piece)
        nats += float(mixed_costs(members, weights, piece[-len(members) :]).sum())
    characters = len(text) - 1
    return {
        "adaptive_perplexity": perplexity(nats / characters),
        "adaptive_bits_per_char": nats / characters / log(2),
        "adaptive_ms_per_char": 1e3 * (time.process_time() - started) / characters,
        "refits": reader.refits,
    }
