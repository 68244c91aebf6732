"""What the sentences compare: the costs of each character of the test text, n-gram models of a given size, and rows.

Shapes: S seeds, N characters.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.complexity import GATE_MACS, evidence_macs_per_char, ngram_macs_per_char
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.ngram import Ints, KneserNey, NGrams, as_ids, ngram_label
from models.packing import packed_ngrams
from models.pruning import pruned
from pipeline.answer.findings import BLOCK_CHARS, COMPARED, MeasuredModel, Unit
from pipeline.answer.plan import Planned
from pipeline.support.statistics import PairedComparison, paired
from pipeline.text.corpus import Corpus
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
from pipeline.training.evaluation import text_costs
from pipeline.training.mixing import Read, costs_of_best_mixture, reading

Bits = NDArray[np.float64]
"""Costs (S, N) in bits of each character of the test text; (1, N) of what has no seeds."""

ADAPTED_CHARS, ADAPTED_NUMBERS = 50_000, 25_000_000  # characters and probabilities of the test text, read adaptively
PRUNED_ORDERS = (5, 6, 7)
GATED_FROM = 50_000  # numbers or bytes from which pruned n-grams of all orders may be better than those of one
STEPS_TO_SIZE, SMALLEST_SHARE, LARGEST_SHARE = 5, 0.96, 0.99  # of the search for a number of n-grams; of a size


def in_bits(nats: Sequence[Tensor]) -> Bits:
    """Costs (N,) in nats, by seed."""
    return np.asarray(torch.stack(list(nats)) / np.log(2))


def bits_of_systems(
    corpus: Corpus, networks: Sequence[LanguageModel], on_top: Sequence[LanguageModel]
) -> dict[str, Bits]:
    """Costs of all systems that do not adapt.

    ``networks`` are the default network by seed, ``on_top`` the largest one on top of n-grams. Two networks are mixed
    for each seed and the one before; what they gain on average is subtracted from the seed's own cost, so that an
    interval over seeds contains a seed's whole effect.
    """
    val, test = (torch.from_numpy(corpus.split("stream", split)) for split in ("val", "test"))
    ngram, by_seed = corpus.ngram("stream"), [text_costs(each, test) for each in networks]
    order, vocab_size = corpus.baselines("stream")["val"].best_order, len(corpus.vocabulary)
    single = NGramModel(NGramTables(KneserNey(corpus.baseline_text("stream"), vocab_size, order)), None)

    def mixed(first: Read, second: Read = ngram.log_probabilities) -> Tensor:
        return costs_of_best_mixture(first, second, val, test)

    reads = [reading(each) for each in networks]
    nats = {
        "network": by_seed,
        "n-grams": [ngram.costs(test.numpy())],
        "mixed": [mixed(each) for each in reads],
        "on top": [text_costs(each, test) for each in on_top],
        "two n-grams": [mixed(single.log_probabilities)],
    }
    if len(networks) > 1:
        nats["two networks"] = [
            mixed(reads[seed - 1], reads[seed]) + (by_seed[seed] - by_seed[seed - 1]) / 2 for seed in range(len(reads))
        ]
    return {system: in_bits(each) for system, each in nats.items()}


def adaptive_bits(corpus: Corpus, networks: Sequence[LanguageModel]) -> tuple[dict[str, Bits], dict[str, float]]:
    """Costs of the network by seed, the n-grams, and both, all adaptive, and their CPU milliseconds a character.

    Each chooses its rate and weights on the validation text. The n-grams read each text once, for all seeds.
    """
    vocab_size, val = len(corpus.vocabulary), validation_text(corpus, "stream")
    test = as_ids(corpus.split("stream", "test")[: min(ADAPTED_CHARS, ADAPTED_NUMBERS // vocab_size)])
    val_targets, targets = (torch.from_numpy(ids[1:]) for ids in (val, test))

    def read(learners: Sequence[DynamicNetwork], ids: Ints, counts: bool = False) -> tuple[Tensor, float]:
        model, began = adaptive_model(learners, corpus, "stream", len(ids), counts), time.process_time()
        return model.read(ids), 1e3 * (time.process_time() - began) / (len(ids) - 1)

    counts_val, _ = read([], val, counts=True)
    counts, ms = read([], test, counts=True)
    by_ngrams = mixed_costs(counts, fit_weights(counts_val, val_targets), targets)
    nats, milliseconds = {"adaptive n-grams": [by_ngrams]}, {"adaptive n-grams": ms}
    for network in networks:
        scales = scales_of(network, corpus, "stream")
        tried, _ = read([DynamicNetwork(network, scales, rate) for rate in RATES], val)
        for system, others in {"adaptive network": 0, "adaptive both": counts.shape[1]}.items():
            rate, weights = chosen(tried, counts_val[:, :others], val_targets)
            learned, own_ms = read([DynamicNetwork(network, scales, rate)], test)
            costs = mixed_costs(torch.cat([learned, counts[:, :others]], dim=1), weights, targets)
            nats.setdefault(system, []).append(costs)
            milliseconds[system] = own_ms + (ms if others else 0)
    return {system: in_bits(each) for system, each in nats.items()}, milliseconds


def paired_comparisons(bits: Mapping[str, Bits]) -> dict[str, PairedComparison]:
    """Compare what was measured, on the characters that both have read."""
    found = {}
    for key in COMPARED:
        first, second = (bits.get(system) for system in key.split(" against "))
        if first is not None and second is not None:
            end = min(first.shape[1], second.shape[1])
            found[key] = paired(first[:, :end] - second[:, :end], BLOCK_CHARS)
    return found


def system_models(
    known: Mapping[str, MeasuredModel],
    single: MeasuredModel,
    bits: Mapping[str, Bits],
    ms_per_char: Mapping[str, float],
    symbols: int,
) -> dict[str, MeasuredModel]:
    """What the sentences compare, with its costs, of which the "network", the "n-grams" and that "on top" are known.

    ``single`` is the n-gram model of the best single order, ``ms_per_char`` are those of what adapts.
    A mixture costs what its models do and 2 V MACs. A network that learns costs its MACs three times, forward and
    twice as many backward, and two for each weight at every step; the n-grams that learn are two models of all orders
    and the cache.
    """
    network, ngrams, found = known["network"], known["n-grams"], dict(known)
    pairs = {"mixed": (network, ngrams), "two networks": (network, network), "two n-grams": (single, ngrams)}
    learning = {
        "adaptive network": 3 * network.macs_per_char + 2 * network.stored_numbers // STEP,
        "adaptive n-grams": 2 * ngrams.macs_per_char + evidence_macs_per_char(symbols, CACHE_ORDER, is_gated=False),
    }
    learning["adaptive both"] = sum(learning.values()) + 4 * symbols
    for system in sorted(bits.keys() - found.keys()):
        test = tuple((2 ** bits[system].mean(1)).tolist())
        if system in learning:
            found[system] = MeasuredModel(system, test, learning[system], ms_per_char[system])
        else:
            first, second = pairs[system]
            found[system] = MeasuredModel(
                name=f"{system}, mixed" if system != "mixed" else f"{first.name} and n-grams, mixed",
                test=test,
                macs_per_char=first.macs_per_char + second.macs_per_char + 2 * symbols,
                ms_per_char=first.ms_per_char + second.ms_per_char,
                stored_numbers=first.stored_numbers + second.stored_numbers,
                shipped_bytes=first.shipped_bytes + second.shipped_bytes,
            )
    return found


def ngram_row(ngrams: NGramModel, test: float, ms_per_char: float, fit_seconds: float | None = None) -> MeasuredModel:
    """An n-gram model with its costs; it is pruned if the ``fit_seconds`` are not known."""
    name = ngram_label(ngrams.order, is_gated=ngrams.gate is not None)
    return MeasuredModel(
        name=f"{name} pruned to {ngrams.entries:,}" if fit_seconds is None else name,
        test=(test,),
        macs_per_char=ngram_macs_per_char(ngrams),
        ms_per_char=ms_per_char,
        stored_numbers=ngrams.stored_numbers,
        shipped_bytes=len(packed_ngrams(ngrams)),
        fit_seconds=fit_seconds,
    )


def network_row(planned: Planned, results: Sequence[Mapping[str, Any]], ms_per_char: float) -> MeasuredModel:
    """A network with its costs, from its results by seed."""
    result, is_on_top = results[0], planned.family == "on top"
    part = f" on {planned.text_chars:,}" if planned.train.train_chars else " on top" if is_on_top else ""
    return MeasuredModel(
        name=f"{planned.model.cell.upper()} {planned.model.num_layers}x{planned.model.hidden_size}{part}",
        test=tuple(each["test_perplexity"] for each in results),
        macs_per_char=result["macs_per_char"],
        ms_per_char=ms_per_char,
        stored_numbers=result["stored_numbers"],
        shipped_bytes=round(median(each["shipped_bytes"] for each in results)),
        fit_seconds=fmean(each["train_seconds"] for each in results),
        family=planned.family,
        text_chars=planned.text_chars,
        ngram_test=result["ngram_test_perplexity"],
    )


def rival(corpus: Corpus, ngrams: Sequence[NGrams], unit: Unit, limit: int) -> NGramModel:
    """The pruned n-gram model of at most this size that is the best on validation.

    It is of a single order, or for a large size maybe of all orders with a gate. ``ngrams`` are those of the training
    text, of orders 1 to LONGEST.
    """
    val, found = corpus.split("stream", "val"), []

    def pruned_to(order: int, most: int) -> NGramModel:
        tables = NGramTables(pruned(ngrams[:order], len(corpus.vocabulary), most))
        return NGramModel(tables, OrderGate(LONGEST) if order == LONGEST else None)

    for order in (*PRUNED_ORDERS, LONGEST) if limit >= GATED_FROM else PRUNED_ORDERS:
        is_gated = order == LONGEST
        most = (limit - GATE_MACS) // 2 if is_gated else limit
        if unit == "bytes":
            most = _most(partial(pruned_to, order), limit)
        found.append(corpus.ngram("stream", most) if is_gated else pruned_to(order, most))
    return min(found, key=lambda each: float(each.costs(val).mean()))


def _most(pruned_to: Callable[[int], NGramModel], limit: int) -> int:
    """The number of n-grams of the largest model of nearly ``limit`` bytes."""
    fits, most = 1, limit // 2
    for _ in range(STEPS_TO_SIZE):
        model = pruned_to(most)
        size = len(packed_ngrams(model))
        if size <= LARGEST_SHARE * limit:
            fits = max(fits, most)
            if size > SMALLEST_SHARE * limit or model.entries < most:
                break
        most = max(1, round(most * (LARGEST_SHARE + SMALLEST_SHARE) / 2 * limit / size))
    return fits
