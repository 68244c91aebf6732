"""N-gram models of orders 1 to N, combined by a gate.

    p(w) proportional to the product over orders n of p_n(w | the n - 1 characters before it) ** g_n

p_n is the Kneser-Ney model of order n. The weights g_n are the outputs of a small network, the gate, which sees how
sure each order is: the entropy and the largest log-probability of its distribution, and its divergence from the next
lower order's. In its second form it also sees how many letters stand in a row before the position. It is a log-linear
interpolation (Klakow 1998) whose weights depend on the position.

The gate learns from the training text, each part of which is predicted by n-grams of the other parts (cross-fitting):
n-grams are overconfident on the text that they were fitted on.

Shapes: B batch, T time steps, N characters of a text, V vocabulary, K orders, E n-grams, C contexts.

What n-grams say about a position is one tensor, the **evidence** (..., K, V + 4): for each order, V log-probabilities
of the next character, three numbers that tell how sure it is, and the id of the first character of its context (the one
n - 1 places back), at most LARGEST_ID, or -1 for a context that the tables lack.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from itertools import chain, islice, pairwise
from math import cos, inf, log, pi
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from models.ngram import KneserNey, as_ids, backoffs, ngrams_of
from models.optimizers import without_dynamo
from models.pruning import pruned

LONGEST = 10  # the largest order
SEEN = 3  # numbers of each order that the gate sees: entropy, largest log-probability, divergence
TOLD = SEEN + 1  # numbers of each order in the evidence beside its distribution
LARGEST_ID = 2048  # of a symbol in the evidence, which float16 has exactly; it stands for all larger ones
FEWEST_SEEING = 20_000  # n-grams of a model, pruned or not, from which on its gate sees letters
LARGEST_DIVERGENCE = 5.0  # nats
GATE_UNITS = 32
MOST_UNITS = 1000  # of a gate that is read: more take minutes to evaluate, as more orders do
MOST_ORDERS = 100
GATE_SCALES = tuple(percent / 100 for percent in range(90, 112, 2))  # candidates of ``NGramModel.calibrate``
PARTS = 20  # folds of a training text, each scored by n-grams of the others
FITTED_NUMBERS = 200_000_000  # of evidence, at most, from which the gate learns: 400 MB
LEAST_PARTS = 4  # of a long text, from which these positions are
MOST_STEPS, PASSES, BATCH = 2400, 8, 1024  # of the gate's training
PEAK_RATE, FINAL_RATE_SHARE, WEIGHT_DECAY = 0.0063, 0.05, 0.05
NUMBERS_AT_ONCE = 600_000  # of evidence: arrays of some MB


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread within the block: small arrays gain nothing from more, and round as on any machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class NGramTables(nn.Module):
    """Fitted Kneser-Ney models of orders 1 to K as tensors, which predict for batches of texts.

    The n-grams of all orders form one trie. Context 0 is the empty one, context i + 1 is n-gram i.

    keys (E,)                    context * V + last character, sorted
    shares, lower_shares (E,)    discounted relative frequency of the last character after its context, from occurrences
                                 and from continuation counts
    backoff, lower_backoff (C,)  what the shares leave in each context

    The tables are not parameters and not in ``state_dict``; ``tensors`` returns what a checkpoint needs. Deep copies
    share them.
    """

    keys: Tensor
    last: Tensor
    first: Tensor
    oldest: Tensor
    shares: Tensor
    backoff: Tensor
    lower_shares: Tensor
    lower_backoff: Tensor

    def __init__(self, fitted: KneserNey) -> None:
        super().__init__()
        self.vocab_size, self.order, self.entries = fitted.vocab_size, fitted.order, fitted.entries
        self.sizes = [len(grams.keys) for grams in fitted.longest]  # n-grams of each order
        self.numbers_per_char = self.order * (self.vocab_size + TOLD)
        self.at_once = max(1, NUMBERS_AT_ONCE // self.numbers_per_char)  # positions
        bases = np.cumsum([0, 1, *self.sizes[:-1]])  # the first context of each order, and the number of contexts
        keys = (grams.keys + base * fitted.vocab_size for grams, base in zip(fitted.longest, bases, strict=False))
        self.missing = int(bases[-1])  # the context that stands for all contexts not in training; it has no n-grams
        register = partial(self.register_buffer, persistent=False)
        register("keys", torch.from_numpy(np.concatenate([*keys])))
        register("last", (self.keys % fitted.vocab_size).int())
        begins = torch.arange(self.missing + 2).mul_(fitted.vocab_size)
        begins = torch.searchsorted(self.keys, begins, out_int32=True)
        register("first", begins)  # n-grams of context i are first[i] to first[i + 1] - 1
        for prefix, orders in (("", fitted.longest), ("lower_", fitted.shorter)):
            shares, backoff = np.zeros(self.entries, np.float32), np.ones(self.missing + 1, np.float32)
            for grams, (start, end) in zip(orders, pairwise(bases.tolist()), strict=False):
                own = shares[end - 1 : end - 1 + len(grams.keys)]
                own[:] = grams.shares
                backoff[start:end] = backoffs(grams.keys // self.vocab_size, own, end - start)
            register(prefix + "shares", torch.from_numpy(shares))
            register(prefix + "backoff", torch.from_numpy(backoff))
        register("oldest", self._oldest())

    def _oldest(self) -> Tensor:
        """The first character of each context (C,), at most LARGEST_ID; -1 for the empty and for the missing one.

        One without a share is missing, too: cross-fitted n-grams have those that occur in the predicted part alone.
        """
        oldest = torch.full((self.missing + 1,), -1.0)
        end = 1
        for size in self.sizes[:-1]:  # the context of an n-gram is the (n - 1)-gram that begins as it does, or empty
            start, end = end, end + size
            shorter = self.keys[start - 1 : end - 1] // self.vocab_size
            last = self.last[start - 1 : end - 1].clamp(max=LARGEST_ID).float()
            known = last.where(shorter == 0, oldest[shorter])
            oldest[start:end] = known.where(self.shares[start - 1 : end - 1] > 0, -1.0)
        return oldest

    @property
    def stored_numbers(self) -> int:
        """The number of shares: one for each n-gram of the largest order, two for each of the others."""
        return 2 * self.entries - self.sizes[-1]

    def tensors(self) -> dict[str, Tensor]:
        """What ``from_tensors`` builds the tables from.

        sizes (K,)                        n-grams of each order
        keys (E,), as int32 if they fit
        shares (E,), lower_shares (E - sizes[-1],)
        """
        keys, lower = self.keys.cpu(), self.entries - self.sizes[-1]
        is_narrow = not len(keys) or int(keys[-1]) < 2**31
        return {
            "sizes": torch.tensor(self.sizes),
            "keys": keys.int() if is_narrow else keys,
            "shares": self.shares.cpu(),
            "lower_shares": self.lower_shares[:lower].cpu().clone(),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], vocab_size: int) -> "NGramTables":
        """Inverse of ``tensors``. Raises KeyError or ValueError for tensors that are not the n-grams of a text."""
        sizes, keys = tensors["sizes"].long().numpy(), tensors["keys"].long().numpy()
        shares, lower = (tensors[name].double().numpy() for name in ("shares", "lower_shares"))
        if sizes.ndim != 1 or not len(sizes) or sizes.min() < 0 or keys.shape != (sizes.sum(),):
            raise ValueError(f"it has keys of shape {keys.shape} for {sizes.tolist()} n-grams of each order")
        bases = np.cumsum([0, 1, *sizes])[: len(sizes) + 1]
        inside = np.repeat(bases[:-1], sizes) * vocab_size <= keys, keys < np.repeat(bases[1:], sizes) * vocab_size
        if not (np.diff(keys) > 0).all() or not np.logical_and(*inside).all():
            raise ValueError("its n-grams are not sorted, or have contexts that do not exist")
        for table, entries in ((shares, len(keys)), (lower, len(keys) - sizes[-1])):
            if table.shape != (entries,) or not ((table >= 0) & (table <= 1)).all():
                raise ValueError(f"it has shares of shape {table.shape} for {entries} n-grams, or not between 0 and 1")
            if np.max(np.bincount(keys[:entries] // vocab_size, table), initial=0) > 1 + 1e-5:
                raise ValueError("it has contexts whose shares add up to more than 1")
        starts = np.cumsum(sizes)[:-1]
        own = np.split(keys - np.repeat(bases[:-1], sizes) * vocab_size, starts)
        by_order = np.split(shares, starts), np.split(lower, starts)[:-1]
        return cls(KneserNey.of_shares(vocab_size, own, *by_order))

    def __deepcopy__(self, memo: dict[int, Any]) -> "NGramTables":
        """The same tensors, which are immutable, in a module that moves to another device alone."""
        twin = copy(self)
        twin._buffers = dict(self._buffers)
        return twin

    @torch.no_grad()
    def forward(self, contexts: Tensor) -> Tensor:
        """contexts (B, T, K) -> evidence (B, T, K, V + 4) for the character after each."""
        evidence = torch.cat([self._evidence(part) for part in contexts.flatten(0, 1).split(self.at_once)])
        return evidence.view(*contexts.shape, -1)

    def about(self, ids: NDArray[np.integer], start: int, end: int) -> Iterator[Tensor]:
        """Yield the evidence (n, K, V + 4) for consecutive positions of ``ids`` (N,), from ``start`` to ``end``."""
        none = torch.zeros(1, self.order - 1, dtype=torch.int64)
        for first in range(start, end, self.at_once):
            last = min(end, first + self.at_once)
            known = torch.from_numpy(as_ids(ids[max(0, first - self.order + 1) : last - 1]))[None]
            yield self(self.contexts(known, none)[:, first - last :])[0]

    def contexts(self, ids: Tensor, before: Tensor) -> Tensor:
        """Contexts (B, T + 1, K) of 0 to K - 1 characters before each of ``ids`` (B, T) and after the last.

        ``before`` (B, K - 1) are those of 1 to K - 1 characters before the first; 0 stands for none.
        """
        first = F.pad(before.masked_fill(before == 0, self.missing), (1, 0))[:, None]
        if ids.shape[1] == 1:  # one search for all orders
            return torch.cat([first, F.pad(self._longer(first[..., :-1], ids[..., None]), (1, 0))], dim=1)
        found = [F.pad(torch.zeros_like(ids), (1, 0))]
        for n in range(1, self.order):
            found.append(torch.cat([first[..., n], self._longer(found[-1][:, :-1], ids)], dim=1))
        return torch.stack(found, dim=-1)

    def _longer(self, contexts: Tensor, ids: Tensor) -> Tensor:
        """The contexts that ``contexts`` (...) become with one more character each, ``ids`` (...)."""
        wanted = contexts * self.vocab_size + ids
        at = torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)
        return torch.where(self.keys[at] == wanted, at + 1, self.missing)

    def _evidence(self, contexts: Tensor) -> Tensor:
        """contexts (N, K) -> evidence (N, K, V + 4)."""
        begin = self.first[contexts.flatten()].long()
        followers = self.first[contexts.flatten() + 1] - begin
        source = torch.repeat_interleave(followers)  # for each n-gram of these contexts, its context's index
        entry = torch.arange(len(source), device=source.device) + (begin - (followers.cumsum(0) - followers))[source]
        at = source * self.vocab_size + self.last[entry]
        size = (*contexts.shape, self.vocab_size)
        by_order, lower_by_order = (
            torch.zeros(size, device=at.device).view(-1).scatter_(0, at, shares[entry]).view(size)
            for shares in (self.shares, self.lower_shares)
        )
        backoff, lower_backoff = self.backoff[contexts, None], self.lower_backoff[contexts, None]
        lower = torch.full((1, 1), 1 / self.vocab_size, device=at.device)
        for n in range(self.order):  # an order's model interpolates with the next lower one of continuation counts
            by_order[:, n].addcmul_(backoff[:, n], lower)
            lower = torch.addcmul(lower_by_order[:, n], lower_backoff[:, n], lower)
        logs = by_order.log()
        lower_logs = F.pad(logs[:, :-1], (0, 0, 1, 0), value=-log(self.vocab_size))
        entropy = -(by_order * logs).sum(-1)
        divergence = (by_order * (logs - lower_logs)).sum(-1).clamp(max=LARGEST_DIVERGENCE)
        told = torch.stack([entropy, logs.amax(-1), divergence, self.oldest[contexts]], dim=-1)
        return torch.cat([logs, told], dim=-1)


def gate_letters(ids: NDArray[np.integer], is_letter: ArrayLike) -> Tensor:
    """Which symbols (V,) are letters, as a gate for a training text ``ids`` (N,) stores it: 0 or 1.

    The symbol LARGEST_ID stands for itself and all above it: it is a letter if most of their occurrences are.
    """
    letters = np.array(is_letter, np.uint8)
    if len(letters) > LARGEST_ID:
        others = np.bincount(ids, minlength=len(letters))[LARGEST_ID:]
        letters[LARGEST_ID] = 2 * others @ letters[LARGEST_ID:] > others.sum()
    return torch.from_numpy(letters)


def sees_letters(most: int) -> bool:
    """Whether the gate of n-grams pruned to ``most`` (0: all) sees letters."""
    return (most or inf) >= FEWEST_SEEING


def gate_inputs(orders: int, sees: bool) -> int:
    """The number of inputs of a gate, which ``sees`` letters or doesn't."""
    return SEEN * orders + orders * sees


class OrderGate(nn.Module):
    """Weights of the orders at each position, from the last TOLD columns of the evidence: one tanh layer.

    Its inputs are SEEN standardised numbers of each order and, if ``is_letter`` (V,) says which symbols are letters, a
    one-hot vector of the number of letters in a row before the position: in the orders' contexts, from the last
    character back to the first that is none or that the tables lack. Before training, all weights are 1 / K.
    """

    mean: Tensor
    deviation: Tensor
    is_letter: Tensor | None

    def __init__(self, orders: int, is_letter: Tensor | None = None, units: int | None = None) -> None:
        super().__init__()
        units = units or GATE_UNITS
        self.hidden = nn.Linear(gate_inputs(orders, is_letter is not None), units)
        self.output = nn.Linear(units, orders)
        nn.init.zeros_(self.output.weight)
        nn.init.constant_(self.output.bias, 1 / orders)
        self.register_buffer("mean", torch.zeros(SEEN * orders))
        self.register_buffer("deviation", torch.ones(SEEN * orders))
        self.register_buffer("is_letter", is_letter)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], orders: int, vocab_size: int) -> "OrderGate":
        """The gate with this ``state_dict``. Raises KeyError, ValueError or RuntimeError if it is that of no gate."""
        weights, letters = tensors["hidden.weight"], tensors.get("is_letter")
        if weights.shape[1:] != (gate_inputs(orders, letters is not None),):
            raise ValueError(f"its gate has weights of shape {[*weights.shape]} for {orders} orders")
        if letters is not None:
            if letters.shape != (vocab_size,) or not ((letters == 0) | (letters == 1)).all():
                raise ValueError(f"its gate does not say by 0 or 1 for each of {vocab_size} symbols if it is a letter")
            letters = letters.byte()
        if orders > MOST_ORDERS or len(weights) > MOST_UNITS:
            raise ValueError(
                f"its gate has {len(weights):,} units for {orders:,} orders; at most {MOST_UNITS:,} and {MOST_ORDERS}"
            )
        gate = cls(orders, letters, len(weights))
        gate.load_state_dict(tensors)  # raises RuntimeError for other names or shapes
        if not (gate.mean.isfinite() & gate.deviation.isfinite() & (gate.deviation > 0)).all():
            raise ValueError("its gate has a mean or deviation that is not finite, or a deviation that is not positive")
        return gate

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of each layer."""
        return [(layer.in_features, layer.out_features) for layer in (self.hidden, self.output)]

    def forward(self, evidence: Tensor) -> Tensor:
        """evidence (..., K, V + 4) -> weights (..., K)."""
        inputs = (evidence[..., -TOLD:-1].flatten(-2) - self.mean) / self.deviation
        if self.is_letter is not None:
            ids = evidence[..., 1:, -1].long()  # the characters before, from the last one back, or -1
            in_row = (self.is_letter[ids.clamp(min=0)] * (ids >= 0)).cumprod(-1).sum(-1)
            inputs = torch.cat([inputs, F.one_hot(in_row.long(), ids.shape[-1] + 1)], dim=-1)
        weights: Tensor = self.output(torch.tanh(self.hidden(inputs)))
        return weights


def combined(weights: Tensor, evidence: Tensor) -> Tensor:
    """Weights (..., K), evidence (..., K, V + 4) -> weighted sums (..., V) of the log-probabilities."""
    return torch.einsum("...k,...kv->...v", weights, evidence[..., :-TOLD])


class NGramModel(nn.Module):
    """A model that only counts: the orders of ``tables`` combined by a gate, or without one the largest order alone."""

    def __init__(self, tables: NGramTables, gate: OrderGate | None) -> None:
        super().__init__()
        self.tables, self.gate = tables, gate

    @property
    def gate_numbers(self) -> int:
        """The number of the gate's parameters, and of its MACs for a character."""
        return sum(parameter.numel() for parameter in self.gate.parameters()) if self.gate else 0

    @property
    def stored_numbers(self) -> int:
        """All shares and the gate's parameters; without a gate one share for each n-gram."""
        return self.tables.stored_numbers + self.gate_numbers if self.gate else self.tables.entries

    @torch.no_grad()
    def log_probabilities(self, ids: ArrayLike, context: int = 0) -> Tensor:
        """ids (N,) -> natural log-probabilities (N - context, V) of every character at positions ``context`` to N - 1.

        Those at position i are given the order - 1 characters (or fewer) before i in ``ids``.
        """
        text = np.asarray(ids)
        return torch.cat([self.combine(evidence) for evidence in self.tables.about(text, context, len(text))])

    def combine(self, evidence: Tensor) -> Tensor:
        """evidence (..., K, V + 4) -> log-probabilities (..., V)."""
        if self.gate is None:
            return evidence[..., -1, :-TOLD]
        return combined(self.gate(evidence), evidence).log_softmax(-1)

    @one_thread()
    @torch.no_grad()
    def costs(self, ids: NDArray[np.integer]) -> Tensor:
        """Cost in nats (N - 1,), in float64, of each character of ``ids`` (N,) but the first, which is only context."""
        costs = [-self.combine(each).gather(1, to[:, None])[:, 0].double() for each, to in self._predicted(ids)]
        return torch.cat(costs)

    @one_thread()
    @torch.no_grad()
    def calibrate(self, ids: NDArray[np.integer]) -> float:
        """Temperature scaling (Guo et al. 2017, arXiv:1706.04599) of the gate: multiply its weights by a factor.

        It is the one of GATE_SCALES with the lowest cost on ``ids`` (N,). Returns that cost, in nats per character.
        """
        assert self.gate is not None
        totals = torch.zeros(len(GATE_SCALES), dtype=torch.double)
        for evidence, targets in self._predicted(ids):
            sums = combined(self.gate(evidence), evidence)
            for at, scale in enumerate(GATE_SCALES):
                totals[at] += F.cross_entropy(scale * sums, targets, reduction="sum")
        best = int(totals.argmin())
        for parameter in self.gate.output.parameters():
            parameter.mul_(GATE_SCALES[best])
        return float(totals[best]) / (len(ids) - 1)

    def _predicted(self, ids: NDArray[np.integer]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the evidence (n, K, V + 4) for each character of ``ids`` (N,) but the first, and the character (n,)."""
        targets = torch.from_numpy(as_ids(ids[1:])).split(self.tables.at_once)
        return zip(self.tables.about(ids, 1, len(ids)), targets, strict=True)


class CrossFitted:
    """Evidence about a training text from n-grams that were not fitted on what they predict.

    ``tables`` are fitted on ``parts`` of the text, spans (start, end) in order. Each part is predicted by n-grams of
    the other parts, pruned to the ``most`` best (0: all), and the text between parts by ``tables`` themselves.
    """

    def __init__(
        self, ids: NDArray[np.integer], tables: NGramTables, parts: Sequence[tuple[int, int]], most: int = 0
    ) -> None:
        self.ids, self.tables, self.parts, self.most = ids, tables, parts, most
        self.numbers_per_char = tables.numbers_per_char
        self._span = (0, 0)
        self._filled = torch.empty(0)

    def __call__(self, start: int, end: int) -> Tensor:
        """Evidence (end - start, K, V + 4) in float16 at each position of a span; the latest span is cached."""
        if self._span != (start, end):
            self._filled = torch.empty(0)  # freed before the next one is allocated
            self._filled, self._span = self.at([(start, end)]), (start, end)
        return self._filled

    def at(self, spans: Sequence[tuple[int, int]]) -> Tensor:
        """Evidence (n, K, V + 4) in float16 at all positions of ``spans``, which are in order."""
        order, vocab_size = self.tables.order, self.tables.vocab_size
        ngrams = list(ngrams_of(np.concatenate([self.ids[a:b] for a, b in self.parts]), vocab_size, order))
        filled = torch.empty(sum(b - a for a, b in spans), order, vocab_size + TOLD, dtype=torch.float16)
        done = at = between = 0  # filled; where the latest part ends in the concatenated parts, and in the text

        def fill(tables: NGramTables, wanted: list[tuple[int, int]]) -> None:
            nonlocal done
            for start, end in wanted:
                for evidence in tables.about(self.ids, start, end):
                    filled[done : done + len(evidence)] = evidence
                    done += len(evidence)

        for start, end in [*self.parts, (len(self.ids), len(self.ids))]:
            fill(self.tables, _overlaps(spans, between, start))
            if wanted := _overlaps(spans, start, end):
                others = (grams.without(at, at + end - start) for grams in ngrams)
                tables = NGramTables(pruned(others, vocab_size, self.most))
                if spans[-1][1] <= end:
                    ngrams.clear()  # of no further use, and as large as the tables
                fill(tables, wanted)
                del tables  # before the next ones are made
            at, between = at + end - start, end
        return filled


def _overlaps(spans: Sequence[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """The parts of ``spans`` that lie within ``start`` to ``end``."""
    within = [(max(start, a), min(end, b)) for a, b in spans]
    return [(a, b) for a, b in within if a < b]


def contiguous_parts(characters: int) -> list[tuple[int, int]]:
    """Split a text of this length into PARTS spans (start, end) of about equal length."""
    edges = np.linspace(0, characters, PARTS + 1).astype(int).tolist()
    return list(pairwise(edges))


class Sample(NamedTuple):
    """Cross-fitted evidence (n, K, V + 4) about the positions of a text in ``sampled_spans``, and the characters."""

    evidence: Tensor
    targets: Tensor

    @torch.no_grad()
    def distributions(self, model: NGramModel) -> Tensor:
        """The model's distributions (n, V) of the characters at these positions, in float16."""
        pieces = self.evidence.split(model.tables.at_once)
        return torch.cat([model.combine(piece.float()).exp().half() for piece in pieces])


@one_thread()
def sample_of(ids: NDArray[np.integer], tables: NGramTables, most: int = 0) -> Sample:
    """All positions of the text ``ids`` (N,), or evenly spaced parts of a long one, with the evidence about them.

    ``tables`` are fitted on that text and pruned to ``most`` (0: all).
    """
    parts, spans = contiguous_parts(len(ids)), sampled_spans(len(ids), tables.numbers_per_char)
    evidence = CrossFitted(ids, tables, parts, most).at(spans)
    return Sample(evidence, torch.from_numpy(np.concatenate([as_ids(ids[a:b]) for a, b in spans])))


def sampled_spans(characters: int, numbers_per_char: int) -> list[tuple[int, int]]:
    """The spans (start, end) of a training text of this length about which ``sample_of`` has evidence."""
    parts, longest = contiguous_parts(characters), FITTED_NUMBERS // numbers_per_char
    number = min(PARTS, max(LEAST_PARTS, longest * PARTS // characters))
    chosen = [parts[at * PARTS // number] for at in range(number)]
    return [(start, min(end, start + max(1, longest // number))) for start, end in chosen]


@one_thread()
@torch.random.fork_rng(devices=[])  # the gate's initial weights would advance the caller's generator
def fit_gate(sample: Sample, is_letter: Tensor | None) -> OrderGate:
    """Train a gate on a sample of a training text. The result depends on that and on ``is_letter`` alone."""
    torch.manual_seed(0)
    evidence, targets = sample
    gate = OrderGate(evidence.shape[1], is_letter)
    seen = evidence[..., -TOLD:-1].flatten(1).float()
    gate.mean, gate.deviation = seen.mean(0), seen.std(0) + 1e-3
    optimizer = without_dynamo(torch.optim.AdamW)(gate.parameters(), weight_decay=WEIGHT_DECAY, fused=True)
    steps = min(MOST_STEPS, PASSES * -(-len(targets) // BATCH))
    batches = chain.from_iterable(torch.randperm(len(targets)).split(BATCH) for _ in range(PASSES))
    for done, batch in enumerate(islice(batches, steps)):
        falling = 0.5 * (1 + cos(pi * done / steps))
        optimizer.param_groups[0]["lr"] = PEAK_RATE * (FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * falling)
        of_batch = evidence[batch].float()
        loss = F.cross_entropy(combined(gate(of_batch), of_batch), targets[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return gate.requires_grad_(False)
