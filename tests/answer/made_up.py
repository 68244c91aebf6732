"""Made-up findings, near to those of The Time Machine."""

from dataclasses import replace
from typing import Any

from pipeline.answer.findings import CountedModel, Findings, Network
from pipeline.answer.plan import Family
from pipeline.support.statistics import Estimate, PairedComparison

ENTRIES = (500, 4_100, 17_000, 49_000, 103_000, 179_000, 275_000)
COUNTED = tuple(
    CountedModel(order, f"{order}-gram", entries, perplexity * 0.98, perplexity, 0.012 * order, 0.03 * order)
    for order, entries, perplexity in zip(range(2, 9), ENTRIES, (9.7, 6.6, 4.59, 3.93, 3.76, 3.72, 3.73), strict=True)
)
GATED = CountedModel(10, "n-grams of orders 1 to 10", 496_000, 3.51, 3.57, 5.2, 0.6)


def network(family: Family, name: str, perplexity: float, **changes: Any) -> Network:
    """A network of three seeds."""
    tests = tuple(perplexity * factor for factor in (0.997, 1.0, 1.004))
    mixed = tuple(perplexity * factor for factor in (0.947, 0.95, 0.954))
    made = Network(family, name, 156_000, 7_700_000, 176_000, tests, mixed, 3.72, 46.0, 0.14)
    return replace(made, **changes)


def comparison(mean: float, seeds: float | None = 0.01, text: float = 0.02) -> PairedComparison:
    """A comparison whose intervals reach so many bits to both sides."""
    over_seeds = Estimate(mean, None, None) if seeds is None else Estimate(mean, mean - seeds, mean + seeds)
    return PairedComparison(over_seeds, Estimate(mean, mean - text, mean + text))


def made_up(**changes: Any) -> Findings:
    texts = ((10_000, 5.4, 5.29), (20_000, 4.84, 4.72), (40_000, 4.4, 4.34), (80_000, 4.0, 4.01), (156_000, 3.66, 3.72))
    sizes = ((16, 3_400, 5.6), (32, 8_900, 4.75), (64, 26_000, 4.2), (128, 84_500, 3.75))
    shorter = ((481_250, 4.3, 2.9), (1_925_000, 3.9, 11.5))
    on_top = ((8, 275_600, 3.59, 2.0), (32, 284_000, 3.565, 4.0), (128, 360_000, 3.5, 25.0))
    trained = [
        *(network("text", "LSTM 1x192", p, text_chars=n, ngram_test=bar) for n, p, bar in texts),
        *(network("budget", "LSTM 1x192", p, read_chars=chars, train_seconds=s) for chars, p, s in shorter),
        *(
            network("size", f"LSTM 1x{units}", p, stored_numbers=n, ms_per_char=0.1 + units / 4000)
            for units, n, p in sizes
        ),
        *(
            network("on top", f"LSTM 1x{units}", p, stored_numbers=n, train_seconds=s, ms_per_char=0.4 + units / 3000)
            for units, n, p, s in on_top
        ),
    ]
    findings = Findings(
        "time-machine", (*COUNTED, GATED), tuple(trained), comparison(-0.023), comparison(-0.1), comparison(-0.09)
    )
    return replace(findings, **changes)
