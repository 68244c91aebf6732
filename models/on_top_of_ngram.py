"""NgramLanguageModel: a recurrent network that corrects the predictions of an n-gram model.

Shapes: B batch, T time steps, N characters of a text, V vocabulary, H hidden size, E n-grams, C contexts,
K = order - 1 characters of context.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.config import ModelConfig
from models.language_model import LanguageModel
from models.ngram import KneserNey, ngrams_of
from models.recurrent import State, parts_of, state_of

PARTS = 20  # folds of a training text, each scored by an n-gram model fitted on the others
POSITIONS_AT_ONCE = 8192  # scored at once: their n-grams take some 10 MB


class Ngram(nn.Module):
    """A fitted Kneser-Ney model as tensors, which predicts for batches of texts.

    The n-grams of all orders form one trie. Context 0 is the empty one, context i + 1 is n-gram i.

    keys (E,)      context * V + last character, sorted
    shares (E,)    discounted relative frequency of the last character after its context
    backoff (C,)   probability that the discounts free in each context

    The tables are not parameters and not in ``state_dict``; ``tensors`` returns what a checkpoint needs. Deep copies of
    a model share them.
    """

    keys: Tensor
    shares: Tensor
    backoff: Tensor
    last: Tensor
    first: Tensor
    unigram: Tensor

    def __init__(self, keys: Tensor, shares: Tensor, backoff: Tensor, vocab_size: int, order: int) -> None:
        super().__init__()
        self.vocab_size, self.order = vocab_size, order
        self.missing = len(backoff)  # the context that stands for all contexts not in training; it has no n-grams
        begin = torch.searchsorted(keys, vocab_size * torch.arange(self.missing + 2))
        unigram = torch.full((vocab_size,), float(backoff[0]) / vocab_size)
        unigram[keys[: begin[1]]] += shares[: begin[1]]
        tables = {
            "keys": keys,
            "shares": shares,
            "backoff": F.pad(backoff, (0, 1), value=1.0),
            "last": keys % vocab_size,
            "first": begin,  # n-grams of context i are first[i] to first[i + 1] - 1
            "unigram": unigram,
        }
        for name, table in tables.items():
            self.register_buffer(name, table, persistent=False)

    @classmethod
    def of(cls, model: KneserNey) -> "Ngram":
        """The tables of a fitted model."""
        of_order, base = [], 0
        for grams in model.orders:
            of_order.append(grams.keys + base * model.vocab_size)
            base += len(grams.backoff)
        shares, backoff = (
            torch.from_numpy(np.concatenate([getattr(grams, name) for grams in model.orders]).astype(np.float32))
            for name in ("shares", "backoff")
        )
        return cls(torch.from_numpy(np.concatenate(of_order)), shares, backoff, model.vocab_size, model.order)

    def tensors(self) -> dict[str, Tensor]:
        """What ``from_tensors`` builds the model from; the keys as int32 if they fit."""
        is_narrow = not len(self.keys) or int(self.keys[-1]) < 2**31
        return {
            "keys": self.keys.int() if is_narrow else self.keys,
            "shares": self.shares,
            "backoff": self.backoff[:-1],
            "order": torch.tensor(self.order),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], vocab_size: int) -> "Ngram":
        """Inverse of ``tensors``. Raises KeyError or ValueError for tensors that are not a valid n-gram model."""
        keys, shares, backoff = tensors["keys"].long(), tensors["shares"], tensors["backoff"]
        order = int(tensors["order"])
        if order < 1 or not len(keys) == len(shares) >= len(backoff) - 1 >= 0 or keys.dim() * backoff.dim() != 1:
            raise ValueError(f"its {order}-gram has {len(keys)} keys, {len(shares)} shares and {len(backoff)} contexts")
        if not len(keys) or not (keys.diff() > 0).all() or keys[0] < 0 or keys[-1] >= len(backoff) * vocab_size:
            raise ValueError("its n-grams are not sorted, or have contexts that do not exist")
        if not all(((part >= 0) & (part <= 1)).all() for part in (shares, backoff)):
            raise ValueError("its n-gram tables have values that are not probabilities")
        return cls(keys, shares.float(), backoff.float(), vocab_size, order)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Ngram":
        return self  # immutable

    @property
    def entries(self) -> int:
        """The number of stored n-grams, of all orders."""
        return len(self.keys)

    @torch.no_grad()
    def forward(self, text: Tensor, steps: int) -> Tensor:
        """Log-probabilities (B, steps, V) of the characters after each of the last ``steps`` characters of ``text``.

        ``text`` (B, >= steps) holds ids + 1, and 0 where there is no character.
        """
        contexts = self.contexts(text)[:, -steps:]
        parts = [self._probabilities(part) for part in contexts.flatten(0, 1).split(POSITIONS_AT_ONCE)]
        return torch.cat(parts).log().view(len(text), steps, self.vocab_size)

    def contexts(self, text: Tensor) -> Tensor:
        """Contexts (B, T, order) of 0 to K characters that end at each character of ``text`` (B, T)."""
        ending = torch.zeros_like(text)
        found = [ending]
        for n in range(1, self.order):
            before = ending if n == 1 else F.pad(ending[:, :-1], (1, 0), value=self.missing)
            wanted = before * self.vocab_size + text - 1
            at = torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)
            ending = torch.where((self.keys[at] == wanted) & (text > 0), at + 1, self.missing)
            found.append(ending)
        return torch.stack(found, dim=-1)

    def _probabilities(self, contexts: Tensor) -> Tensor:
        """contexts (N, order) -> probabilities (N, V).

        Each order's shares are weighted by the product of the backoffs of all longer contexts.
        """
        products = self.backoff[contexts].flip(1).cumprod(1).flip(1)
        weights = F.pad(products[:, 1:], (0, 1), value=1.0)
        probabilities = weights[:, :1] * self.unigram
        longer, weights = contexts[:, 1:].flatten(), weights[:, 1:].flatten()
        begin = self.first[longer]
        counts = self.first[longer + 1] - begin
        source = torch.repeat_interleave(counts)  # for each n-gram of these contexts, its context's index in ``longer``
        entry = torch.arange(len(source), device=source.device) + (begin - (counts.cumsum(0) - counts))[source]
        row = torch.div(source, max(1, self.order - 1), rounding_mode="floor")
        at = row * self.vocab_size + self.last[entry]
        probabilities.view(-1).index_add_(0, at, self.shares[entry] * weights[source])
        return probabilities


class NgramLanguageModel(LanguageModel):
    """A LanguageModel on top of an n-gram model (``on_top_of="ngram"``), with the same interface.

    own    = W h + b                                                  logits of the network alone (V,)
    logits = (c + u.h) own + (a + v.h) log p_ngram(. | context)       with the hidden state h (H,)

    W, b, u and v start at zero, a and c at one, so that an untrained model predicts as the n-gram does. The state is a
    tuple of the recurrent layers' tensors and one more (1, B, K): ids + 1 of the latest characters, 0 for none.
    """

    def __init__(self, config: ModelConfig, vocab_size: int, ngram: Ngram) -> None:
        super().__init__(config, vocab_size)
        self.gates = nn.Linear(config.hidden_size, 2)  # u and v, c and a
        for parameter in (*self.output.parameters(), self.gates.weight):
            nn.init.zeros_(parameter)
        nn.init.ones_(self.gates.bias)
        self.ngram = ngram

    def initial_state(self, batch_size: int) -> State:
        """The state before the first character: all zeros."""
        hidden = super().initial_state(batch_size)
        latest = torch.zeros(1, batch_size, self.ngram.order - 1, dtype=torch.int64, device=self.output.weight.device)
        return (*parts_of(hidden), latest)

    def network_and_model_logits(
        self, ids: Tensor, state: State | None = None, prior: Tensor | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """Logits (B, T, V) of the network alone and of the model, and the new state; arguments as for ``forward``.

        ``prior`` (B, T, V) replaces the n-gram's log-probabilities in training: the n-gram was fitted on that text.
        """
        *parts, latest = self.initial_state(len(ids)) if state is None else state
        hidden, after = self.hidden_states(ids, state_of(tuple(parts)))
        text = torch.cat([latest[0], ids + 1], dim=1)
        if prior is None:
            prior = self.ngram(text, ids.shape[1])
        own = self.logits(hidden)
        own_gate, ngram_gate = self.gates(hidden).float().split(1, dim=-1)
        logits = own_gate * own.float() + ngram_gate * prior.float()
        latest = text[:, ids.shape[1] :][None]
        return own, logits, (*parts_of(after), latest)

    @torch.no_grad()
    def scale_logits(self, factor: float) -> None:
        """Multiply all logits from now on by a factor, by scaling the weights of the two gates."""
        for parameter in self.gates.parameters():
            parameter.mul_(factor)


def language_model(config: ModelConfig, vocab_size: int, ngram: Ngram | None) -> LanguageModel:
    """A new model of this configuration; ``ngram`` is the n-gram that it is on top of, if any."""
    if config.on_top_of == "nothing":
        return LanguageModel(config, vocab_size)
    assert ngram is not None
    return NgramLanguageModel(config, vocab_size, ngram)


class CrossFitted:
    """Log-probabilities of a training text by n-gram models that were not fitted on what they score (cross-fitting).

    ``ngram`` is fitted on ``parts`` of the text, spans (start, end) in order. Each part is scored by a model fitted on
    the other parts, and the text between parts by ``ngram`` itself. The network so learns to correct an n-gram that is
    as uncertain as on a new text.
    """

    def __init__(self, ids: NDArray[np.integer], ngram: KneserNey, parts: Sequence[tuple[int, int]]) -> None:
        self.ids, self.ngram, self.parts = ids, ngram, parts
        self._span = (0, 0)
        self._filled = torch.empty(0)

    def __call__(self, start: int, end: int) -> Tensor:
        """Log-probabilities (end - start, V) in float16 at each position of a span; the latest span is cached."""
        if self._span != (start, end):
            self._filled = torch.empty(0)  # freed before the next one is allocated
            self._filled, self._span = self._fill(start, end), (start, end)
        return self._filled

    def _fill(self, start: int, end: int) -> Tensor:
        vocab_size, order = self.ngram.vocab_size, self.ngram.order
        ngrams = list(ngrams_of(np.concatenate([self.ids[a:b] for a, b in self.parts]), vocab_size, order))
        filled = np.empty((end - start, vocab_size), dtype=np.float16)
        at, between = 0, 0  # where the latest part ends, in the concatenated parts and in the text
        for part_start, part_end in [*self.parts, (len(self.ids), len(self.ids))]:
            self._score(self.ngram, between, part_start, start, filled)
            if max(start, part_start) < min(end, part_end):
                model = KneserNey.without(ngrams, vocab_size, at, at + part_end - part_start)
                self._score(model, part_start, part_end, start, filled)
            at, between = at + part_end - part_start, part_end
        return torch.from_numpy(filled)

    def _score(self, model: KneserNey, start: int, end: int, offset: int, filled: NDArray[np.float16]) -> None:
        """Score the positions ``start`` to ``end`` that ``filled`` covers; it begins at position ``offset``."""
        first, last = max(start, offset), min(end, offset + len(filled))
        if first < last:
            context = min(first, model.order - 1)
            scored = model.log_probabilities_of_all(self.ids[first - context : last], context)
            filled[first - offset : last - offset] = scored


def contiguous_parts(characters: int) -> list[tuple[int, int]]:
    """Split a text of this length into PARTS spans (start, end) of about equal length."""
    edges = np.linspace(0, characters, PARTS + 1).astype(int).tolist()
    return list(pairwise(edges))
