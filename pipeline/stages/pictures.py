"""Plots of one training: perplexity curves and the generalisation gap."""

from collections.abc import Mapping, Sequence

from pipeline.pages import plotting
from pipeline.pages.drawing import drawable
from pipeline.pages.plotting import FAINT, TRAIN, VAL


def perplexity_curves(
    train: Sequence[float], val: Sequence[float], best_epoch: int, baselines: Mapping[str, float], title: str
) -> bytes:
    """A PNG of training and validation perplexity by epoch on a log axis, with the baselines as horizontal lines."""
    train, val = drawable(train), drawable(val)
    epochs = range(1, len(val) + 1)
    figure = plotting.new_figure(8, 5)
    axes = plotting.add_axes(figure, title)
    plotting.log_y(axes, [*train, *val, *baselines.values()])
    marker = "o" if len(val) <= 40 else None
    axes.plot(epochs, train, color=TRAIN, marker=marker, markersize=3, label="train (measured while training)")
    axes.plot(epochs, val, color=VAL, marker=marker, markersize=3, label="validation")
    axes.fill_between(epochs, train, val, color=FAINT, alpha=0.15, label="gap")
    best = val[best_epoch - 1]
    axes.plot([best_epoch], [best], color=VAL, marker="*", markersize=13, linestyle="none")
    label_side = "left" if best_epoch <= len(val) / 2 else "right"
    axes.annotate(
        f"best {best:.3f}", (best_epoch, best), xytext=(0, 10), textcoords="offset points", ha=label_side, color=VAL
    )
    plotting.baseline_lines(axes, baselines)
    axes.set(xlabel="epoch", ylabel="perplexity per character")
    plotting.whole_numbers(axes)
    plotting.legend_below(figure, [axes], 3)
    return plotting.png(figure)


def generalisation_gap(train: Sequence[float], val: Sequence[float], title: str) -> bytes:
    """A PNG of validation minus training perplexity by epoch; negative while dropout raises the training perplexity."""
    train, val = drawable(train), drawable(val)
    epochs = range(1, len(val) + 1)
    gap = [v - t for v, t in zip(val, train, strict=True)]
    figure = plotting.new_figure(8, 3)
    axes = plotting.add_axes(figure, title)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.plot(epochs, gap, color=VAL, marker="o" if len(gap) <= 40 else None, markersize=3)
    axes.fill_between(epochs, gap, color=VAL, alpha=0.15)
    axes.set(xlabel="epoch", ylabel="validation - train\nperplexity")
    plotting.whole_numbers(axes)
    return plotting.png(figure)
