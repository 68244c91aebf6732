"""The costs of each character of the test text under all that the sentences compare, and n-gram models of a given size.

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
from models.ngram import BASELINE_ORDERS, KneserNey, NGrams, ngram_label, predicted_bits_per_char
from models.packing import packed_ngrams, unpacked_ngrams
from models.pruning import pruned
from pipeline.answer.findings import BLOCK_CHARS, COMPARED, Model, System, Unit
from pipeline.support.statistics import PairedComparison, paired
from pipeline.text.corpus import Corpus
from pipeline.training.adaptive import CACHE_ORDER, STEP, Side, adaptive_scores
from pipeline.training.evaluation import text_costs
from pipeline.training.mixing import ReadNetwork, costs_of_best_mixture
from pipeline.training.timing import generation_ms_per_char

Bits = Mapping[System, NDArray[np.float64]]
"""Costs (S, N) in bits of each character of the test text; (1, N) of what has no seeds."""

ADAPTIVE: dict[Side, System] = {
    "network": "adaptive network",
    "both": "adaptive both",
    "n-grams": "adaptive n-grams",
}
SIDES: tuple[Side, ...] = tuple(ADAPTIVE)
ADAPTED_CHARS = 50_000  # of the test text that are read adaptively, at most
PRUNED_ORDERS = range(4, 9)
BYTES_AN_NGRAM = 1.6  # about, of a single order
GATED_FROM = 50_000  # numbers or bytes from which pruned n-grams of all orders may be better than those of one
STEPS_TO_SIZE, SMALLEST_SHARE, LARGEST_SHARE = 5, 0.96, 0.99  # of the search for a number of n-grams; of a size


def bits_of_systems(
    corpus: Corpus, networks: Sequence[LanguageModel], on_top: Sequence[LanguageModel]
) -> tuple[Bits, dict[System, float]]:
    """Costs in bits of each character of the test text, and the CPU milliseconds a character of what reads adaptively.

    ``networks`` are the default network by seed, ``on_top`` the largest one on top of n-grams. Two networks are mixed
    for each seed and the next; what they gain on average is subtracted from the seed's own cost, so that an interval
    over seeds contains a seed's whole effect.
    """
    val, test = (torch.from_numpy(corpus.split("stream", split)) for split in ("val", "test"))
    ngram, by_seed = corpus.ngram("stream"), torch.stack([text_costs(each, test) for each in networks])
    order, symbols = corpus.baselines("stream")["val"].best_order, len(corpus.vocabulary)
    single = NGramModel(NGramTables(KneserNey(corpus.baseline_text("stream"), symbols, order)), None)
    readers = [ReadNetwork(each) for each in networks]
    nats: dict[System, Tensor] = {
        "network": by_seed,
        "n-grams": ngram.costs(test.numpy())[None],
        "mixed": torch.stack([costs_of_best_mixture(each, ngram, val, test) for each in readers]),
        "on top": torch.stack([text_costs(each, test) for each in on_top]),
        "two n-grams": costs_of_best_mixture(single, ngram, val, test)[None],
    }
    if len(networks) > 1:
        seconds = [*range(1, len(networks)), 0]
        mixed = [costs_of_best_mixture(readers[a], readers[b], val, test) for a, b in enumerate(seconds)]
        nats["two networks"] = by_seed + torch.stack(mixed) - (by_seed + by_seed[seconds]) / 2
    read = [
        adaptive_scores(
            each, corpus, "stream", test[:ADAPTED_CHARS].numpy(), SIDES if each is networks[0] else SIDES[:2]
        )
        for each in networks
    ]
    for side in SIDES:
        nats[ADAPTIVE[side]] = torch.stack([scores[side].costs for scores in read if side in scores])
    bits = {name: np.asarray(each / np.log(2)) for name, each in nats.items()}
    return bits, {ADAPTIVE[side]: read[0][side].ms_per_char for side in SIDES}


def compared(bits: Bits) -> dict[tuple[System, System], PairedComparison]:
    """Compare what was measured, on the characters that both have read."""
    known = [pair for pair in COMPARED if pair[0] in bits and pair[1] in bits]
    length = {pair: min(bits[each].shape[1] for each in pair) for pair in known}
    return {
        (first, second): paired(bits[first][:, :end] - bits[second][:, :end], BLOCK_CHARS)
        for (first, second), end in length.items()
    }


def system_models(
    network: Model,
    counted: Sequence[Model],
    on_top: Model,
    corpus: Corpus,
    bits: Bits,
    adaptive_ms: Mapping[System, float],
) -> dict[System, Model]:
    """What the sentences compare, with its costs.

    A mixture costs what its models do and 2 V MACs. A network that learns costs its MACs three times, forward and
    twice as many backward, and two for each weight at every step; the n-grams that learn are two models of all orders
    and the cache. What learns keeps the training text, too, so its size is not told.
    """
    ngrams, vocab_size = counted[-1], len(corpus.vocabulary)
    single = counted[corpus.baselines("stream")["val"].best_order - BASELINE_ORDERS[0]]
    cache = evidence_macs_per_char(vocab_size, CACHE_ORDER, is_gated=False)
    by_network = 3 * network.macs_per_char + 2 * network.size("numbers") // STEP
    by_ngrams = 2 * ngrams.macs_per_char + cache + 3 * vocab_size

    def perplexities(system: System) -> tuple[float, ...]:
        return tuple((2 ** bits[system].mean(1)).tolist())

    def mixed(name: str, first: Model, second: Model, system: System) -> Model:
        return Model(
            name=f"{name}, mixed",
            test=perplexities(system),
            macs_per_char=first.macs_per_char + second.macs_per_char + 2 * vocab_size,
            ms_per_char=first.ms_per_char + second.ms_per_char,
            stored_numbers=first.size("numbers") + second.size("numbers"),
            shipped_bytes=first.size("bytes") + second.size("bytes"),
        )

    def adaptive(name: str, macs: int, system: System) -> Model:
        return Model(f"{name}, adaptive", perplexities(system), macs, adaptive_ms[system])

    found: dict[System, Model] = {
        "network": network,
        "n-grams": ngrams,
        "on top": on_top,
        "mixed": mixed(f"{network.name} and n-grams", network, ngrams, "mixed"),
        "two n-grams": mixed(f"{single.name} and n-grams", single, ngrams, "two n-grams"),
    }
    if "two networks" in bits:
        found["two networks"] = mixed(f"two seeds of {network.name}", network, network, "two networks")
    return found | {
        "adaptive network": adaptive(network.name, by_network, "adaptive network"),
        "adaptive n-grams": adaptive("n-grams", by_ngrams, "adaptive n-grams"),
        "adaptive both": adaptive("both", by_network + by_ngrams + vocab_size, "adaptive both"),
    }


# --- n-gram models, and their sizes ----------------------------------------------------------------------------------


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
    """The n-gram model of at most this size that is the best on validation, as shipped if the unit is bytes.

    ``ngrams`` are those of the training text, of orders 1 to LONGEST. They are pruned, and of a single order, or for a
    large size maybe of all orders with a gate.
    """
    symbols, val = corpus.vocabulary, corpus.split("stream", "val")
    is_large = limit >= GATED_FROM

    def of_order(order: int, most: int) -> KneserNey:
        return pruned(ngrams[:order], len(symbols), most)

    def single(most: int) -> NGramModel:
        return NGramModel(NGramTables(of_order(best, most)), None)

    def untrained(most: int) -> NGramModel:
        return NGramModel(NGramTables(of_order(LONGEST, most)), OrderGate(LONGEST))

    guess = limit if unit == "numbers" else max(1, round(limit / BYTES_AN_NGRAM))
    best = min(PRUNED_ORDERS, key=lambda order: predicted_bits_per_char(of_order(order, guess), val))
    if unit == "numbers":
        found = [single(limit)]
        if is_large:
            found.append(corpus.ngram("stream", (limit - GATE_MACS) // 2))
    else:
        found = [single(_most(single, limit, guess))]
        if is_large:
            found.append(corpus.ngram("stream", _most(untrained, limit, guess * 2 // 3)))
        found = [unpacked_ngrams(packed_ngrams(each), len(symbols), each.gate is not None) for each in found]
    return min(found, key=lambda each: float(each.costs(val).mean()))


def _most(build: Callable[[int], NGramModel], limit: int, guess: int) -> int:
    """The number of n-grams of the largest model of nearly ``limit`` bytes."""
    fits, most = 1, guess
    for _ in range(STEPS_TO_SIZE):
        model = build(most)
        size = len(packed_ngrams(model))
        if size <= LARGEST_SHARE * limit:
            fits = max(fits, most)
            if size > SMALLEST_SHARE * limit or model.entries < most:
                break
        most = max(1, round(most * (LARGEST_SHARE + SMALLEST_SHARE) / 2 * limit / size))
    return fits
