"""Draw the figures of the report's page; each public function returns a PNG as bytes.

The page has two dozen figures and may be printed: files are small, and series differ by more than their colour.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from math import exp, inf, log
from textwrap import fill
from typing import Any

import numpy as np

from pipeline.report.reproduction import Configuration, Curve
from pipeline.support import plotting
from pipeline.support.plotting import (
    BAR_STYLES,
    CELL_STYLES,
    FAINT,
    INK,
    OTHER_STYLE,
    TRAIN,
    VAL,
    Axes,
    Figure,
    Line,
    add_axes,
    drawable,
    from_edge_to_edge,
    legend_below,
    log_x,
    log_y,
    mean_with_interval,
    new_figure,
    plain_number,
    scatter,
    whole_numbers,
    write_labels,
)
from pipeline.support.statistics import Estimate, estimate

PAGE_DOTS_PER_INCH, PAGE_SHADES = 110, 16

SMALL, SMALLER = 8.5, 7.5  # points

REPORTED = "#8a8a8a"

SERIES: list[tuple[str, str, Any]] = [  # colour (Okabe and Ito), marker, line style
    ("#0072b2", "o", "-"),
    ("#d55e00", "s", (0, (6, 1.5))),
    ("#009e73", "^", (0, (4, 1.2, 1, 1.2))),
    ("#cc79a7", "D", (0, (2, 1))),
    ("#e69f00", "v", "-"),
    ("#56b4e9", "P", (0, (6, 1.5))),
]


def _in_a_line(text: str, longest: int) -> str:
    """A name from a user's table in one line, cut to ``longest`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _literal(text: str, longest: int = 40) -> str:
    """Like ``_in_a_line``, with dollar signs escaped so that matplotlib reads no formula."""
    return _in_a_line(text, longest).replace("$", r"\$")


def _page_figure(width: float, height: float) -> Figure:
    return new_figure(width, height, PAGE_DOTS_PER_INCH)


def _page_axes(figure: Figure, title: str = "", place: Any = 111) -> Axes:
    axes = add_axes(figure, _in_a_line(title, 90), place, SMALL + 1)
    axes.tick_params(labelsize=SMALLER)
    return axes


def _page_labels(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=SMALL)
    axes.set_ylabel(y, fontsize=SMALL)


def _bars_at_the_side(axes: Axes, bars: Mapping[str, float]) -> None:
    """Draw baselines as horizontal lines, labelled right of the axes without overlap; set the log limits first."""
    low, high = np.log(axes.get_ylim())
    line_height, edge = 0.052 * (high - low), -inf
    for (label, value), style in zip(sorted(bars.items(), key=lambda bar: bar[1]), BAR_STYLES, strict=False):
        axes.axhline(value, color=INK, linestyle=style, linewidth=0.9, zorder=1.5)
        text = fill(f"{label} {value:.2f}", 13)
        half = line_height * (text.count("\n") + 1) / 2
        level = max(log(value), edge + half)
        edge = level + half
        side = axes.get_yaxis_transform()
        axes.text(1.012, exp(level), text, transform=side, fontsize=SMALLER - 0.5, va="center", color=INK)


def _say_state(axes: Axes, words: str) -> None:
    box = {"facecolor": "white", "edgecolor": FAINT, "linewidth": 0.6}
    axes.text(0.5, 0.93, _literal(words, 60), transform=axes.transAxes, ha="center", va="top", fontsize=SMALL, bbox=box)


def _mean_curve(configuration: Configuration, curve: Curve) -> list[float]:
    """Mean over seeds after each epoch, clipped to drawable values; empty without a training."""
    curves = [drawable(getattr(run, curve)) for run in configuration.furthest]
    return [estimate(values).mean for values in zip(*curves, strict=False)]


def training_curves(configuration: Configuration, planned: int, bars: Mapping[str, float], title: str) -> bytes:
    """Training and validation perplexity by epoch on a log axis, with the gap between them.

    Means over seeds are thick, single seeds thin; a star marks the best epoch of each. ``bars`` maps an n-gram model's
    label to its perplexity on the same validation characters. Reported values are grey, at the first and the last of
    the ``planned`` epochs.
    """
    runs, reported = configuration.furthest, configuration.reported
    figure = _page_figure(5.4, 3.7)
    axes = _page_axes(figure, title)
    train, val = _mean_curve(configuration, "train"), _mean_curve(configuration, "val")
    epochs = range(1, len(val) + 1)
    heights = [*bars.values(), *train, *val]
    if runs:
        for run in runs if len(runs) > 1 else ():
            axes.plot(epochs, drawable(run.train)[: len(val)], "--", color=TRAIN, linewidth=0.6, alpha=0.55)
            axes.plot(epochs, drawable(run.val)[: len(val)], color=VAL, linewidth=0.6, alpha=0.55)
        marker = "o" if len(val) == 1 else None
        axes.plot(epochs, train, "--", color=TRAIN, linewidth=1.8, marker=marker, markersize=4, label="training")
        axes.plot(epochs, val, color=VAL, linewidth=1.8, marker=marker, markersize=4, label="validation")
        axes.fill_between(epochs, train, val, color=FAINT, alpha=0.2, linewidth=0, label="gap")
        stars = [(run.best_epoch, *drawable([run.best_val])) for run in runs]
        axes.plot(*zip(*stars, strict=True), "*", color=VAL, mec=INK, mew=0.6, markersize=10, label="best epoch")
    ends = ((1, reported.perplexity_start), (planned, reported.perplexity_end))
    if marks := [(epoch, value) for epoch, value in ends if value is not None]:
        heights += [value for _, value in marks]
        style: dict[str, Any] = {"color": REPORTED, "mec": INK, "mew": 0.6, "markersize": 8, "label": "as reported"}
        axes.plot(*zip(*marks, strict=True), "P", zorder=4, clip_on=False, **style)
    log_y(axes, heights or [1.0, 28.0])
    axes.set_xlim(1 - 0.03 * planned, 1.03 * max(planned, len(val)))
    whole_numbers(axes)
    _bars_at_the_side(axes, bars)
    if configuration.state:
        _say_state(axes, configuration.state)
    _page_labels(axes, "epoch", "perplexity per character")
    legend_below(figure, [axes], 5, SMALLER)
    return plotting.png(figure, PAGE_SHADES)


def configurations_compared(configurations: Sequence[Configuration], bars: Mapping[str, float], title: str) -> bytes:
    """Left: mean curves by epoch, validation thick and training thin. Right: the final figures.

    These are training perplexity after the last epoch, validation perplexity after the last and the best epoch (with
    its 95 % interval over seeds), and the reported value.
    """
    figure = _page_figure(10, 4.1)
    figure.suptitle(_in_a_line(title, 140), fontsize=SMALL + 2, parse_math=False)
    left, right = _page_axes(figure, place=121), _page_axes(figure, place=122)
    heights = list(bars.values())
    for configuration, (colour, marker, line) in zip(configurations, cycle(SERIES), strict=False):
        train, val = _mean_curve(configuration, "train"), _mean_curve(configuration, "val")
        heights += [*train, *val]
        if val:
            every = max(1, len(val) // 6)
            style: dict[str, Any] = {"color": colour, "markevery": (every - 1, every), "markersize": 5}
            epochs = range(1, len(val) + 1)
            left.plot(epochs, val, linestyle=line, marker=marker, linewidth=1.8, label=configuration.label, **style)
            left.plot(epochs, train, linestyle=line, linewidth=0.7, color=colour)
    log_y(left, heights or [1.0, 28.0])
    _bars_at_the_side(left, bars)
    whole_numbers(left)
    left.set_title("validation (thick) and training (thin), by epoch", fontsize=SMALL)
    _page_labels(left, "epoch", "perplexity per character")
    if left.get_legend_handles_labels()[0]:
        left.legend(fontsize=SMALLER, loc="best", handlelength=3.5)
    _dumbbells(right, configurations, bars)
    legend_below(figure, [right], 5, SMALLER)
    return plotting.png(figure, PAGE_SHADES)


def _dumbbells(axes: Axes, configurations: Sequence[Configuration], bars: Mapping[str, float]) -> None:
    """Draw one row per configuration, first on top, with its perplexities on a log axis."""
    rows = range(len(configurations) - 1, -1, -1)
    widths = list(bars.values())
    black: dict[str, Any] = {"mec": INK, "mew": 0.7, "linestyle": "none"}
    for row, configuration in zip(rows, configurations, strict=True):
        runs, reported = configuration.furthest, configuration.reported.perplexity_end
        if reported is not None:
            widths.append(reported)
            axes.plot([reported], [row - 0.22], "P", color=REPORTED, markersize=7, label="as reported", **black)
        if not runs:
            continue
        best = estimate(drawable([run.best_val for run in runs]))
        train, val = (estimate(drawable([getattr(r, c)[-1] for r in runs])).mean for c in ("train", "val"))
        axes.plot([train, val], [row, row], color=FAINT, linewidth=1.2, zorder=1.8)
        axes.plot([train], [row], "o", color="white", markersize=7, label="training, last epoch", **black)
        axes.plot([val], [row], "o", color=VAL, markersize=7, label="validation, last epoch", **black)
        if best.low is not None and best.high is not None:
            axes.plot([best.low, best.high], [row + 0.22] * 2, "|-", color=INK, linewidth=1.2, markersize=7)
        axes.plot([best.mean], [row + 0.22], "*", color=VAL, markersize=10, label="validation, best epoch", **black)
        note = axes.text(best.mean, row + 0.34, f"{best.mean:.2f}", fontsize=SMALLER, ha="center", va="bottom")
        note.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.4})  # keeps it legible over lines
        widths += [train, val, best.mean]
    for value, style in zip(sorted(bars.values()), BAR_STYLES, strict=False):
        axes.axvline(value, color=INK, linestyle=style, linewidth=0.9, zorder=1.5)
    log_x(axes, widths or [1.0, 28.0], plain_number)
    states = [f"\n({configuration.progress})" if configuration.progress else "" for configuration in configurations]
    names = [configuration.label + state for configuration, state in zip(configurations, states, strict=True)]
    axes.set_yticks(rows, names)
    axes.set_ylim(-0.6, len(names) - 0.3)
    axes.set_title("what they came to", fontsize=SMALL)
    _page_labels(axes, "perplexity per character", "")


def _best_and_last(axes: Axes, cell: str, x: float, best: Estimate, last: float) -> None:
    """Draw the best epoch's mean (filled), the last epoch's (hollow) and a line between them."""
    colour, marker = CELL_STYLES.get(cell, OTHER_STYLE)
    axes.plot([x, x], [best.mean, last], color=colour, linewidth=0.8)
    axes.plot([x], [last], marker, color="white", mec=colour, label=f"{cell}, last epoch", ls="none", markersize=6)
    mean_with_interval(axes, cell, x, best, label=f"{cell}, best epoch")


def perplexity_against_macs(configurations: Sequence[Configuration], bars: Mapping[str, float], title: str) -> bytes:
    """Scatter of validation perplexity, best (filled) and last epoch (hollow), against MACs per character, log-log.

    Reported values are grey; a configuration without a training is a cross at the upper edge.
    """
    figure = _page_figure(9, 4.8)
    axes = _page_axes(figure, title)
    trained = [configuration for configuration in configurations if configuration.furthest]
    missing = [configuration for configuration in configurations if not configuration.furthest]
    best = [estimate(drawable([run.best_val for run in configuration.furthest])) for configuration in trained]
    last = [estimate(drawable([run.val[-1] for run in configuration.furthest])).mean for configuration in trained]
    grey = [
        (configuration.complexity.macs_per_char, configuration.reported.perplexity_end)
        for configuration in configurations
        if configuration.reported.perplexity_end is not None
    ]
    heights = [*bars.values(), *last, *(point.mean for point in best), *(y for _, y in grey)] or [1.0, 28.0]
    log_x(axes, [configuration.complexity.macs_per_char for configuration in configurations] or [1.0])
    log_y(axes, [*heights, *([1.3 * max(heights)] if missing else [])])
    style: dict[str, Any] = {"color": REPORTED, "mec": INK, "mew": 0.5, "markersize": 6, "zorder": 1.8}
    scatter(axes, grey, "P", label="as reported", **style)
    lines: list[Line] = []
    for configuration, point, end in zip(trained, best, last, strict=True):
        x = configuration.complexity.macs_per_char
        _best_and_last(axes, configuration.reported.cell, x, point, end)
        lines.append(((x, point.mean), (x, end)))
    top = axes.get_ylim()[1] / 1.06
    crosses = [(configuration.complexity.macs_per_char, top) for configuration in missing]
    scatter(axes, crosses, "x", color=INK, label=f"not run ({len(crosses)})")
    _bars_at_the_side(axes, bars)
    _page_labels(axes, "MACs per character, output layer included", "validation perplexity per character")
    legend_below(figure, [axes], 4, SMALLER)
    labels = [
        (_literal(configuration.id) + (f" ({_literal(configuration.state)})" if configuration.state else ""), x, y)
        for configuration, (x, y) in zip((*missing, *trained), (*crosses, *(start for start, _ in lines)), strict=True)
    ]
    dots = [*(end for _, end in lines), *grey]
    write_labels(axes, labels, dots, [*lines, *from_edge_to_edge(axes, bars.values())], keep=8)
    return plotting.png(figure, PAGE_SHADES)
