"""Pictures, the only door to matplotlib. Each function returns the bytes of a PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, ScalarFormatter

TRAIN, VAL, BAR, FAINT = "#1f77b4", "#d62728", "#2ca02c", "#777777"
DOTS_PER_INCH = 150
LARGEST = 1e6  # a perplexity beyond it says no more, and its axis could not be drawn


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    return data.getvalue()


def _drawable(perplexities: Sequence[float]) -> list[float]:
    return [min(value, LARGEST) for value in perplexities]


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
    axes.annotate(
        f"best {best:.3f}", (best_epoch, best), xytext=(0, 10), textcoords="offset points", ha="right", color=VAL
    )
    styles: list[Any] = ["--", ":", "-."]
    for (label, value), style in zip(bars.items(), styles, strict=False):
        axes.axhline(value, color=BAR, linestyle=style, linewidth=1.2, label=f"{label} {value:.2f}")
    axes.set(title=title, xlabel="epoch", ylabel="perplexity per character")
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(ScalarFormatter() if max(*train, *val) < 10 * min(*train, *val) else NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(which="both", alpha=0.2)
    axes.legend(loc="upper right", frameon=False)
    return _png(figure)


def generalisation_gap(train: Sequence[float], val: Sequence[float], title: str) -> bytes:
    """Validation minus train perplexity by epoch: below zero while dropout holds the train figure up."""
    train, val = _drawable(train), _drawable(val)
    epochs = range(1, len(val) + 1)
    gap = [v - t for v, t in zip(val, train, strict=True)]
    figure = Figure(figsize=(8, 3), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.plot(epochs, gap, color=VAL)
    axes.fill_between(epochs, gap, color=VAL, alpha=0.15)
    axes.set(title=title, xlabel="epoch", ylabel="validation - train")
    axes.set_yscale("symlog", linthresh=1.0)
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.2)
    return _png(figure)
