"""Made-up findings, near to those of The Time Machine."""

from dataclasses import replace
from math import log2
from typing import Any

from pipeline.answer.findings import COMPARED, UNITS, Findings, Model, Rivals, Unit
from pipeline.answer.plan import Family
from pipeline.support.statistics import Estimate, PairedComparison

ENTRIES = (500, 4_100, 17_000, 49_000, 103_000, 179_000, 275_000)
SINGLES = (9.7, 6.6, 4.59, 3.93, 3.76, 3.72, 3.73)


def counted(name: str, perplexity: float, numbers: int, **costs: Any) -> Model:
    """A model that only counts."""
    model = Model(name, (perplexity,), 28 * int(name[0] if name[0].isdigit() else 100), 0.3, numbers, numbers + 3_000)
    return replace(model, **costs)


def network(family: Family, name: str, perplexity: float, **changes: Any) -> Model:
    """A network of three seeds."""
    tests = tuple(perplexity * factor for factor in (0.997, 1.0, 1.004))
    made = Model(name, tests, 178_000, 0.19, 176_000, 170_000, 93.0, family, 156_000, 3.57)
    return replace(made, **changes)


def comparison(mean: float, half: float = 0.02) -> PairedComparison:
    """A comparison whose interval over both reaches so many bits to both sides."""
    both = Estimate(mean, mean - half, mean + half)
    return PairedComparison(both, both, both)


TEXTS = ((10_000, 6.23, 6.19), (40_000, 4.88, 4.87), (156_000, 3.65, 3.57))
SIZES = ((16, 3_400, 5.78), (32, 8_900, 4.84), (64, 26_000, 4.08), (128, 84_500, 3.74))
ON_TOP = ((8, 904_000, 3.52), (32, 912_000, 3.5), (192, 1_080_000, 3.435))
RIVALS: dict[Unit, tuple[float, ...]] = {  # perplexities of the n-grams of each size, from the LSTM 1x16's on
    "numbers": (4.98, 4.39, 3.97, 3.78, 3.67),
    "bytes": (5.47, 4.61, 4.11, 3.83, 3.69),
}
DIFFERENCES = {
    "network against n-grams": 0.032,
    "mixed against n-grams": -0.045,
    "on top against n-grams": -0.056,
    "two networks against n-grams": -0.003,
    "two n-grams against n-grams": -0.001,
    "n-grams against adaptive n-grams": 0.027,
    "adaptive network against adaptive n-grams": 0.037,
}


def made_up(**differences: PairedComparison) -> Findings:
    """Findings with these differences of the network, or the mixture, from the n-grams."""
    trained = [
        *(network("text", f"LSTM 1x192 on {n}", p, text_chars=n, ngram_test=bar) for n, p, bar in TEXTS[:-1]),
        network("text", "LSTM 1x192", TEXTS[-1][1]),
        *(
            network(
                "size", f"LSTM 1x{units}", p, stored_numbers=n, shipped_bytes=n + 600,
                macs_per_char=n, ms_per_char=0.12 + units / 4000,
            )
            for units, n, p in SIZES
        ),
        *(
            network(
                "on top", f"LSTM 1x{units} on top", p, stored_numbers=n,
                macs_per_char=n - 900_000, ms_per_char=0.6 + units / 3000,
            )
            for units, n, p in ON_TOP
        ),
    ]  # fmt: skip
    singles = [
        counted(f"{order}-gram", p, n, ms_per_char=0.2 + order / 30)
        for order, p, n in zip(range(2, 9), SINGLES, ENTRIES, strict=True)
    ]
    every = counted("n-grams of orders 1 to 10", 3.57, 902_000, ms_per_char=0.6)
    systems = {
        "network": trained[2],
        "n-grams": every,
        "on top": trained[-1],
        "mixed": replace(network("text", "mixed", 3.46), family=None),
        "two networks": replace(network("text", "two", 3.56), family=None),
        "two n-grams": counted("two", 3.565, 1_080_000),
        "adaptive network": replace(network("text", "network", 3.6), family=None),
        "adaptive n-grams": counted("adaptive", 3.5, 0),
        "adaptive both": replace(network("text", "both", 3.39), family=None),
    }
    compared = {key: comparison(DIFFERENCES.get(key, -0.04)) for key in COMPARED}
    compared |= {f"{name} against n-grams": each for name, each in differences.items()}
    found = Findings("time-machine", (*singles, every), tuple(trained), (), systems, compared, 0.12)
    rivals = [
        Rivals(
            unit,
            each,
            counted("7-gram pruned", perplexity, each.size("numbers")),
            comparison(log2(found.mean(each).mean / perplexity)),
        )
        for unit in UNITS
        for each, perplexity in zip(found.by_size, RIVALS[unit], strict=True)
    ]
    return replace(found, rivals=tuple(rivals))
