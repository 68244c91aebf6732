"""What the sentences compare: the costs of each character of the test text, n-gram models of a given size, and rows.

Shapes: S seeds, N characters.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.complexity import GATE_MACS, evidence_macs_per_char
from models.gated_ngrams import LONGEST, NGramModel, NGramTables, OrderGate
from models.language_model import LanguageModel
from models.ngram import KneserNey, NGrams, ngram_label
from models.packing import packed_ngrams
from models.pruning import pruned
from pipeline.answer.findings import BLOCK_CHARS, COMPARED, Model, Unit
from pipeline.support.statistics import PairedComparison, paired
from pipeline.text.corpus import Corpus
from pipeline.training.adaptive import CACHE_ORDER, STEP, Side, adaptive_scores
from pipeline.training.evaluation import text_costs
from pipeline.training.mixing import ReadNetwork, costs_of_best_mixture
from pipeline.training.timing import generation_ms_per_char

Bits = NDArray[np.float64]
"""Costs (S, N) in bits of each character of the test text; (1, N) of what has no seeds."""

ADAPTED_CHARS = 50_000  # of the test text that are read adaptively, at most
PRUNED_ORDERS = (5, 6, 7)
GATED_FROM = 50_000  # numbers or bytes from which pruned n-grams of all orders may be better than those of one
STEPS_TO_SIZE, SMALLEST_SHARE, LARGEST_SHARE = 5, 0.96, 0.99  # of the search for a number of n-grams; of a size


def in_bits(nats: Sequence[Tensor]) -> Bits:
    """Costs (N,) in nats, by seed."""
    return np.asarray(torch.stack(list(nats)) / np.log(2))


def bits_of_systems(
    corpus: Corpus, networks: Sequence[LanguageModel], on_top: Sequence[LanguageModel]
) -> tuple[dict[str, Bits], dict[str, float]]:
    """Costs of all systems, and the CPU milliseconds a character of those that are adaptive.

    ``networks`` are the default network by seed, ``on_top`` the largest one on top of n-grams. Two networks are mixed
    for each seed and the next; what they gain on average is subtracted from the seed's own cost, so that an interval
    over seeds contains a seed's whole effect.
    """
    val, test = (torch.from_numpy(corpus.split("stream", split)) for split in ("val", "test"))
    ngram, by_seed = corpus.ngram("stream"), [text_costs(each, test) for each in networks]
    order, vocab_size = corpus.baselines("stream")["val"].best_order, len(corpus.vocabulary)
    single = NGramModel(NGramTables(KneserNey(corpus.baseline_text("stream"), vocab_size, order)), None)
    readers = [ReadNetwork(each) for each in networks]
    nats = {
        "network": by_seed,
        "n-grams": [ngram.costs(test.numpy())],
        "mixed": [costs_of_best_mixture(each, ngram, val, test) for each in readers],
        "on top": [text_costs(each, test) for each in on_top],
        "two n-grams": [costs_of_best_mixture(single, ngram, val, test)],
    }
    if len(networks) > 1:
        nats["two networks"] = [
            costs_of_best_mixture(readers[seed - 1], each, val, test) + (by_seed[seed] - by_seed[seed - 1]) / 2
            for seed, each in enumerate(readers)
        ]
    milliseconds = {}
    for seed, network in enumerate(networks):
        sides: tuple[Side, ...] = ("network", "both") if seed else ("network", "both", "n-grams")
        for side, read in adaptive_scores(network, corpus, "stream", test[:ADAPTED_CHARS].numpy(), sides).items():
            nats.setdefault(f"adaptive {side}", []).append(read.costs)
            milliseconds[f"adaptive {side}"] = read.ms_per_char
    return {system: in_bits(each) for system, each in nats.items()}, milliseconds


def compared(bits: Mapping[str, Bits]) -> dict[str, PairedComparison]:
    """Compare what was measured, on the characters that both have read."""
    found = {}
    for key in COMPARED:
        first, second = (bits.get(system) for system in key.split(" against "))
        if first is not None and second is not None:
            end = min(first.shape[1], second.shape[1])
            found[key] = paired(first[:, :end] - second[:, :end], BLOCK_CHARS)
    return found


def system_models(
    network: Model,
    ngrams: Model,
    single: Model,
    on_top: Model,
    bits: Mapping[str, Bits],
    milliseconds: Mapping[str, float],
    vocab_size: int,
) -> dict[str, Model]:
    """What the sentences compare, with its costs; ``single`` is the n-gram model of the best single order.

    A mixture costs what its models do and 2 V MACs. A network that learns costs its MACs three times, forward and
    twice as many backward, and two for each weight at every step; the n-grams that learn are two models of all orders
    and the cache.
    """
    pairs = {"mixed": (network, ngrams), "two networks": (network, network), "two n-grams": (single, ngrams)}
    learning = {
        "adaptive network": 3 * network.macs_per_char + 2 * network.stored_numbers // STEP,
        "adaptive n-grams": 2 * ngrams.macs_per_char + evidence_macs_per_char(vocab_size, CACHE_ORDER, is_gated=False),
    }
    learning["adaptive both"] = sum(learning.values()) + 4 * vocab_size
    found = {"network": network, "n-grams": ngrams, "on top": on_top}
    for system in sorted(bits.keys() - found.keys()):
        test = tuple((2 ** bits[system].mean(1)).tolist())
        if system in learning:
            found[system] = Model(system, test, learning[system], milliseconds[system])
        else:
            first, second = pairs[system]
            found[system] = Model(
                name=f"{system}, mixed" if system != "mixed" else f"{first.name} and n-grams, mixed",
                test=test,
                macs_per_char=first.macs_per_char + second.macs_per_char + 2 * vocab_size,
                ms_per_char=first.ms_per_char + second.ms_per_char,
                stored_numbers=first.stored_numbers + second.stored_numbers,
                shipped_bytes=first.shipped_bytes + second.shipped_bytes,
            )
    return found


def ngram_row(ngrams: NGramModel, test: float, fit_seconds: float | None = None, is_pruned: bool = False) -> Model:
    """An n-gram model with its costs.

    It stores one number for each n-gram of a single order; with a gate one for each share, and the gate's.
    """
    tables, is_gated = ngrams.tables, ngrams.gate is not None
    name = ngram_label(tables.order, None if is_gated else tables.order)
    (ms_per_char,) = generation_ms_per_char([ngrams])
    return Model(
        name=f"{name} pruned to {tables.entries:,}" if is_pruned else name,
        test=(test,),
        macs_per_char=evidence_macs_per_char(tables.vocab_size, tables.order, is_gated) + GATE_MACS * is_gated,
        ms_per_char=ms_per_char,
        stored_numbers=2 * tables.entries - tables.sizes[-1] + GATE_MACS if is_gated else tables.entries,
        shipped_bytes=len(packed_ngrams(ngrams)),
        fit_seconds=fit_seconds,
    )


def rival(corpus: Corpus, ngrams: Sequence[NGrams], unit: Unit, limit: int) -> NGramModel:
    """The pruned n-gram model of at most this size that is the best on validation.

    It is of a single order, or for a large size maybe of all orders with a gate. ``ngrams`` are those of the training
    text, of orders 1 to LONGEST.
    """
    vocab_size, val, found = len(corpus.vocabulary), corpus.split("stream", "val"), []
    for order in (*PRUNED_ORDERS, *[LONGEST] * (limit >= GATED_FROM)):
        is_gated = order == LONGEST

        def pruned_to(most: int, order: int = order, gated: bool = is_gated) -> NGramModel:
            tables = NGramTables(pruned(ngrams[:order], vocab_size, most))
            return NGramModel(tables, OrderGate(LONGEST) if gated else None)

        most = (limit - GATE_MACS) // 2 if is_gated else limit
        if unit == "bytes":
            most = _most(pruned_to, limit)
        found.append(corpus.ngram("stream", most) if is_gated else pruned_to(most))
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
