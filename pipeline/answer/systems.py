"""What the sentences compare: the costs of each character of the test text, n-gram models of a given size, and rows.

Shapes: S seeds, N characters.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.complexity import evidence_macs_per_char, fit_macs, gate_numbers, ngram_macs_per_char
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.ngram import Ints, NGrams, as_ids, ngram_label
from models.packing import packed_ngrams
from models.pruning import pruned
from pipeline.answer.findings import COMPARED, COVERAGE, MeasuredModel, Unit
from pipeline.answer.plan import DEFAULT_PLAN, AnswerPlan, Planned
from pipeline.support.statistics import PairedComparison, block_bootstrap, jackknife, over_seeds_and_text
from pipeline.text.corpus import Corpus
from pipeline.text.ngrams import fitted_ngrams, letters_of_gate
from pipeline.training.adaptive import (
    CACHE_ORDER,
    RATES,
    STEP,
    DynamicNetwork,
    adaptive_model,
    chosen,
    fit_weights,
    mixed_costs,
    scales_of,
    validation_text,
)
from pipeline.training.differences import BOOTSTRAP_CHARS, compared
from pipeline.training.evaluation import text_costs
from pipeline.training.mixing import costs_of_best_mixture, reading

Bits = NDArray[np.float64]
"""Costs (S, N) in bits of each character of the test text; (1, N) of what has no seeds."""

ADAPTED_NUMBERS = 25_000_000  # probabilities of the test text, read adaptively
GATED_FROM = 50_000  # numbers or bytes from which pruned n-grams of all orders may be better than those of one
STEPS_TO_SIZE, FILLED = 10, 0.985  # of the search for a number of n-grams; the part of a size that they fill
GATE_BYTES = 300  # by which a trained gate is larger than an untrained one, at most


def in_bits(nats: Sequence[Tensor]) -> Bits:
    """Costs (N,) in nats, by seed."""
    return np.asarray(torch.stack(list(nats)) / np.log(2))


def bits_of_systems(
    corpus: Corpus, networks: Sequence[LanguageModel], on_top: Sequence[LanguageModel]
) -> dict[str, Bits]:
    """Costs of all systems that do not adapt; ``networks`` are the default network by seed, ``on_top`` the largest one.

    Two networks are mixed for each pair of the seeds, in the order of ``combinations``.
    """
    val, test = (torch.from_numpy(corpus.split("stream", split)) for split in ("val", "test"))
    ngram, reads = fitted_ngrams(corpus, "stream"), [reading(network) for network in networks]
    nats = {
        "network": [text_costs(network, test) for network in networks],
        "n-grams": [ngram.costs(test.numpy())],
        "mixed": [costs_of_best_mixture(each, ngram.log_probabilities, val, test) for each in reads],
        "on top": [text_costs(model, test) for model in on_top],
    }
    if len(networks) > 1:
        nats["two networks"] = [costs_of_best_mixture(*pair, val, test) for pair in combinations(reads, 2)]
    return {system: in_bits(each) for system, each in nats.items()}


class Adaptive(NamedTuple):
    """Costs of adaptive systems; their CPU milliseconds a character; the MACs of the n-grams' refits a character."""

    bits: dict[str, Bits]
    ms_per_char: dict[str, float]
    refit_macs_per_char: int


def adaptive_bits(
    corpus: Corpus, networks: Sequence[LanguageModel], did: Callable[[float], None], plan: AnswerPlan = DEFAULT_PLAN
) -> Adaptive:
    """Costs of the network by seed, the n-grams, and both, all adaptive; ``did`` gets parts of the 2 + 2 S readings.

    Each chooses its rate and weights on the validation text. The n-grams read each text once, for all seeds.
    """
    vocab_size, val = len(corpus.vocabulary), validation_text(corpus, "stream", plan.fitted_chars)
    test = as_ids(corpus.split("stream", "test")[: min(plan.adapted_chars, ADAPTED_NUMBERS // vocab_size)])
    val_targets, targets = (torch.from_numpy(ids[1:]) for ids in (val, test))

    def read(learners: Sequence[DynamicNetwork], ids: Ints, counts: bool = False) -> tuple[Tensor, float, int]:
        model, began, parts = adaptive_model(learners, corpus, "stream", len(ids), counts), time.process_time(), []
        for piece in np.split(ids, range(1, len(ids), 32 * STEP)):  # the first character is only context
            parts.append(model.read(piece))
            did(len(piece) / len(ids))
        return torch.cat(parts), 1e3 * (time.process_time() - began) / (len(ids) - 1), model.fitted_numbers

    counts_val, *_ = read([], val, counts=True)
    counts, ms, fitted_numbers = read([], test, counts=True)
    by_ngrams = mixed_costs(counts, fit_weights(counts_val, val_targets), targets)
    nats, milliseconds = {"adaptive n-grams": [by_ngrams]}, {"adaptive n-grams": ms}
    for network in networks:
        scales = scales_of(network, corpus, "stream", plan.scale_steps)
        tried, *_ = read([DynamicNetwork(network, scales, rate) for rate in RATES], val)
        for system, others in {"adaptive network": 0, "adaptive both": counts.shape[1]}.items():
            rate, weights = chosen(tried, counts_val[:, :others], val_targets)
            learned, own_ms, _ = read([DynamicNetwork(network, scales, rate)], test)
            costs = mixed_costs(torch.cat([learned, counts[:, :others]], dim=1), weights, targets)
            nats.setdefault(system, []).append(costs)
            milliseconds[system] = own_ms + (ms if others else 0)
    bits = {system: in_bits(each) for system, each in nats.items()}
    return Adaptive(bits, milliseconds, round(fit_macs(fitted_numbers) / len(targets)))


def paired_comparisons(bits: Mapping[str, Bits]) -> dict[str, PairedComparison]:
    """Compare what was measured, on the characters that both have read."""
    found = {}
    for key, (first, second) in COMPARED.items():
        if bits.keys() >= {first, second}:
            if "two networks" in (first, second):
                found[key] = _with_two_networks(bits, first, second)
            else:
                found[key] = compared(key, bits[first], bits[second], COVERAGE)
    return found


def _with_two_networks(bits: Mapping[str, Bits], first: str, second: str) -> PairedComparison:
    """A comparison with the mixtures of two networks, which share seeds: by a jackknife, from three seeds on."""
    seeds = range(len(bits["network"]))
    seeds_of: dict[str, list[tuple[int, ...]]] = {"n-grams": [()], "two networks": [*combinations(seeds, 2)]}

    def mean(system: str, left_out: int | None) -> Bits:
        """The mean costs (N,) of a system over its rows without a seed."""
        rows = zip(bits[system], seeds_of.get(system, [(seed,) for seed in seeds]), strict=True)
        found: Bits = np.mean([row for row, of in rows if left_out not in of], axis=0)
        return found

    every = mean(first, None) - mean(second, None)
    leaving_out = [float((mean(first, seed) - mean(second, seed)).mean()) for seed in seeds] if len(seeds) > 2 else []
    by_seeds = jackknife(float(every.mean()), leaving_out, COVERAGE)
    return over_seeds_and_text(by_seeds, block_bootstrap(every, BOOTSTRAP_CHARS, COVERAGE), len(seeds) - 1)


def system_models(
    known: Mapping[str, MeasuredModel], bits: Mapping[str, Bits], adaptive: Adaptive, symbols: int
) -> dict[str, MeasuredModel]:
    """What the sentences compare, with its costs, of which the "network", the "n-grams" and that "on top" are known.

    A mixture costs what its models do and 2 V MACs. A network that learns costs its MACs three times, forward and
    twice as many backward, and two for each weight at every step; the n-grams that learn are two models of all orders
    and the cache, with their refits spread over the characters.
    """
    network, ngrams, found = known["network"], known["n-grams"], dict(known)
    cache_macs = evidence_macs_per_char(symbols, CACHE_ORDER, is_gated=False)
    learning = {
        "adaptive network": 3 * network.macs_per_char + 2 * network.stored_numbers // STEP,
        "adaptive n-grams": 2 * ngrams.macs_per_char + cache_macs + adaptive.refit_macs_per_char,
    }
    learning["adaptive both"] = sum(learning.values()) + 4 * symbols
    for system in sorted(bits.keys() - found.keys()):
        test = tuple((2 ** bits[system].mean(1)).tolist())
        if system in learning:
            found[system] = MeasuredModel(system, test, learning[system], adaptive.ms_per_char[system])
        else:
            other = network if system == "two networks" else ngrams
            found[system] = MeasuredModel(
                name=f"{system}, mixed" if system != "mixed" else f"{network.name} and n-grams, mixed",
                test=test,
                macs_per_char=network.macs_per_char + other.macs_per_char + 2 * symbols,
                ms_per_char=network.ms_per_char + other.ms_per_char,
                stored_numbers=network.stored_numbers + other.stored_numbers,
                shipped_bytes=network.shipped_bytes + other.shipped_bytes,
            )
    return found


def ngram_row(ngrams: NGramModel, test: float, ms_per_char: float, fit_seconds: float | None = None) -> MeasuredModel:
    """An n-gram model with its costs; it is pruned if the ``fit_seconds`` are not known."""
    name = ngram_label(ngrams.tables.order, is_gated=ngrams.gate is not None)
    return MeasuredModel(
        name=f"{name} pruned to {ngrams.tables.entries:,}" if fit_seconds is None else name,
        test=(test,),
        macs_per_char=ngram_macs_per_char(ngrams),
        ms_per_char=ms_per_char,
        stored_numbers=ngrams.stored_numbers,
        shipped_bytes=len(packed_ngrams(ngrams)),
        fit_seconds=fit_seconds,
        order=ngrams.tables.order,
    )


def network_row(planned: Planned, results: Sequence[Mapping[str, Any]], ms_per_char: float) -> MeasuredModel:
    """A network with its costs, from its results by seed."""
    result, is_on_top = results[0], planned.family == "on top"
    part = f" on {planned.text_chars:,}" if planned.train.train_chars else " on top" if is_on_top else ""
    shape = planned.model.label
    return MeasuredModel(
        name=f"{shape}{part}",
        test=tuple(each["test_perplexity"] for each in results),
        macs_per_char=result["macs_per_char"],
        ms_per_char=ms_per_char,
        stored_numbers=result["stored_numbers"],
        shipped_bytes=round(fmean(each["shipped_bytes"] for each in results)),
        fit_seconds=fmean(each["train_seconds"] for each in results),
        family=planned.family,
        text_chars=planned.text_chars,
        ngram_test=result["ngram_test_perplexity"],
        shape=shape,
        hidden_size=planned.model.hidden_size,
    )


def rivals(
    corpus: Corpus, ngrams: Sequence[NGrams], unit: Unit, limits: Sequence[int], orders: Sequence[int]
) -> list[NGramModel]:
    """For each of these sizes the pruned n-gram model that fills it, and is the best on validation.

    A model of bytes serves all sizes of which it fills FILLED. ``ngrams`` are those of the training text, of orders 1
    to LONGEST; pruned are those of ``orders``.
    """
    found: list[tuple[int, NGramModel]] = []
    for limit in limits:
        least = round(FILLED * limit) if unit == "bytes" else limit
        same = [model for size, model in found if least <= size <= limit]
        model = same[0] if same else _rival(corpus, ngrams, unit, limit, orders)
        found.append((len(packed_ngrams(model)) if unit == "bytes" else limit, model))
    return [model for _, model in found]


def _rival(corpus: Corpus, ngrams: Sequence[NGrams], unit: Unit, limit: int, orders: Sequence[int]) -> NGramModel:
    """The pruned n-gram model that fills a size: of a single order, or for a large size maybe of all, with a gate."""
    val, found = corpus.split("stream", "val"), []

    def pruned_to(order: int, most: int) -> NGramModel:
        tables, gate = NGramTables(pruned(ngrams[:order], len(corpus.vocabulary), most)), None
        if order == LONGEST:
            gate = OrderGate(LONGEST, letters_of_gate(corpus, "stream", most))
            torch.nn.init.normal_(gate.output.weight)  # takes nearly the bytes of a trained one
        return NGramModel(tables, gate)

    for order in (*orders, LONGEST) if limit >= GATED_FROM else orders:
        is_gated = order == LONGEST
        most = (limit - gate_numbers(limit // 2)) // 2 if is_gated else limit
        if unit == "bytes":
            most = _most(partial(pruned_to, order), FILLED * limit, limit - GATE_BYTES * is_gated)
        found.append(fitted_ngrams(corpus, "stream", most) if is_gated else pruned_to(order, most))
    return min(found, key=lambda each: float(each.costs(val).mean()))


def _most(pruned_to: Callable[[int], NGramModel], least: float, limit: int) -> int:
    """The number of n-grams of a model of ``least`` to ``limit`` bytes, or of the largest one if all are smaller."""
    fits, most = 1, limit // 2
    for _ in range(STEPS_TO_SIZE):
        model = pruned_to(most)
        size = len(packed_ngrams(model))
        if size <= limit:
            fits = max(fits, most)
            if size >= least or model.tables.entries < most:
                break
        most = max(1, round(most * (least + limit) / 2 / size))
    return fits
