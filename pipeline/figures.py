"""Pictures, the only door to matplotlib. Each function returns the bytes of a PNG."""

import io
import warnings
from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

TRAIN, VAL, BAR, FAINT = "#1f77b4", "#d62728", "#2ca02c", "#777777"
DOTS_PER_INCH = 150
LARGEST = 1e6  # a perplexity beyond it says no more, and its axis could not be drawn


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for what the font lacks of a text's name
        FigureCanvasAgg(figure).print_png(data)
    return data.getvalue()


def _drawable(perplexities: Sequence[float]) -> list[float]:
    return [min(value, LARGEST) for value in perplexities]


def _plain_log_ticks(axes: Axes, values: Sequence[float]) -> None:
    """A log axis around the values, with ticks at 1, 1.5, 2, 3, ... or fewer of them, as numbers."""
    low, high = min(values) / 1.12, max(values) * 1.12
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8) if high < 20 * low else (1, 2, 5) if high < 500 * low else (1,)
    ticks = [step * 10.0**power for power in decades for step in steps]
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))


def perplexity_curves(
    train: Sequence[float],
    val: Sequence[float],
    best_epoch: int,
    bars: Mapping[str, float],
    title: str,
    sections: str = "measured while training",
) -> bytes:
    """Train and validation perplexity by epoch on a log axis, the gap between them, and horizontal bars to compare.

    ``bars`` maps a label to a perplexity (the n-gram models on the validation text).
    """
    train, val = _drawable(train), _drawable(val)
    epochs = range(1, len(val) + 1)
    figure = Figure(figsize=(8, 5), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.set_yscale("log")
    marker = "o" if len(val) <= 40 else None
    axes.plot(epochs, train, color=TRAIN, marker=marker, markersize=3, label=f"train ({sections})")
    axes.plot(epochs, val, color=VAL, marker=marker, markersize=3, label="validation")
    axes.fill_between(epochs, train, val, color=FAINT, alpha=0.15, label="gap")
    best = val[best_epoch - 1]
    axes.plot([best_epoch], [best], color=VAL, marker="*", markersize=13, linestyle="none")
    label_side = "left" if best_epoch <= len(val) / 2 else "right"
    axes.annotate(
        f"best {best:.3f}", (best_epoch, best), xytext=(0, 10), textcoords="offset points", ha=label_side, color=VAL
    )
    styles: list[Any] = ["--", ":", "-."]
    for (label, value), style in zip(bars.items(), styles, strict=False):
        axes.axhline(value, color=BAR, linestyle=style, linewidth=1.2, label=f"{label} {value:.2f}")
    axes.set(xlabel="epoch", ylabel="perplexity per character")
    axes.set_title(title, parse_math=False)  # a text's name may have a $
    _plain_log_ticks(axes, [*train, *val, *bars.values()])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(which="both", alpha=0.2)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return _png(figure)


def generalisation_gap(train: Sequence[float], val: Sequence[float], title: str) -> bytes:
    """Validation minus train perplexity by epoch: below zero while dropout holds the train figure up."""
    train, val = _drawable(train), _drawable(val)
    epochs = range(1, len(val) + 1)
    gap = [v - t for v, t in zip(val, train, strict=True)]
    figure = Figure(figsize=(8, 3), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.plot(epochs, gap, color=VAL, marker="o" if len(gap) <= 40 else None, markersize=3)
    axes.fill_between(epochs, gap, color=VAL, alpha=0.15)
    axes.set(xlabel="epoch", ylabel="validation - train\nperplexity")
    axes.set_title(title, parse_math=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.2)
    return _png(figure)
