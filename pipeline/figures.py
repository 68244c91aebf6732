"""Pictures, the only door to matplotlib. Each function returns the bytes of a PNG."""

import io
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle, pairwise
from math import ceil, cos, exp, floor, inf, log, log10, pi, sin
from statistics import median
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pipeline.front import FrontPoint, Judged, Pick, Trial, estimate
from pipeline.pareto import Floats
from pipeline.reported import Reported
from pipeline.reproduced import Configuration, Curve

TRAIN, VAL, BAR, FAINT, INK = "#1f77b4", "#d62728", "#2ca02c", "#777777", "#222222"
CELL_STYLES = {"rnn": ("#1f77b4", "o"), "gru": ("#e07b00", "s"), "lstm": ("#8250b4", "^")}
OTHER_STYLE = ("#17a2a2", "D")  # of a cell that is none of these
BAR_STYLES: list[Any] = ["--", ":", "-."]
DOTS_PER_INCH = 150
LARGEST = 1e6  # a perplexity beyond it says no more, and its axis could not be drawn


def new_figure(width: float, height: float, dots_per_inch: int = DOTS_PER_INCH) -> Figure:
    """An empty figure; width and height are in inches."""
    return Figure(figsize=(width, height), dpi=dots_per_inch, layout="constrained")


def add_axes(figure: Figure, title: str = "", place: Any = 111, title_size: float | None = None) -> Axes:
    """Axes with a grid. The title is written as it is: a text's name may have a $."""
    axes = figure.add_subplot(place)
    axes.set_title(title, fontsize=title_size, parse_math=False)
    axes.grid(alpha=0.2)
    return axes


def png(figure: Figure, shades: int = 256) -> bytes:
    """The figure as a PNG. With 16 shades of each colour it takes half the bytes, and nobody sees it."""
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for what the font lacks of a text's name
        canvas.draw()
    step = 255 // (shades - 1)
    pixels = np.asarray(canvas.buffer_rgba())[:, :, :3].astype(np.uint16)
    reduced = ((pixels + step // 2) // step * step).astype(np.uint8)
    data = io.BytesIO()
    imsave(data, reduced, format="png", pil_kwargs={"optimize": shades < 256})
    return data.getvalue()


def drawable(perplexities: Sequence[float]) -> list[float]:
    return [min(value, LARGEST) for value in perplexities]


def si(value: float) -> str:
    """1500 as 1.5k."""
    size, suffix = next(((s, n) for s, n in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if value >= s), (1.0, ""))
    return f"{value / size:.10g}{suffix}"


def plain_number(value: float) -> str:
    """1500 as 1,500."""
    return f"{value:,.10g}"


def log_y(axes: Axes, values: Sequence[float]) -> None:
    """A log axis around the values, with ticks at 1, 1.5, 2, 3, ... or fewer of them, as numbers."""
    low, high = min(values) / 1.12, max(values) * 1.12
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8) if high < 20 * low else (1, 2, 5) if high < 500 * low else (1,)
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    _number_ticks(axes.yaxis, low, high, steps, plain_number)


def log_x(axes: Axes, values: Sequence[float], number: Callable[[float], str] = si) -> None:
    """A log axis around the values, with ticks at 1, 2, 5, ..., more or fewer of them, as numbers: 2k, 50k, 1M."""
    low, high = min(values) / 1.4, max(values) * 1.4
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8) if high < 20 * low else (1, 2, 5) if high < 5000 * low else (1,)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    _number_ticks(axes.xaxis, low, high, steps, number)


def _number_ticks(axis: Axis, low: float, high: float, steps: Sequence[float], number: Callable[[float], str]) -> None:
    """Ticks at these steps of each decade between low and high."""
    ticks = [step * 10.0**power for power in range(floor(log10(low)), ceil(log10(high)) + 1) for step in steps]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def whole_numbers(axes: Axes) -> None:
    """Ticks of x at whole numbers alone."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def baseline_lines(axes: Axes, bars: Mapping[str, float]) -> None:
    """A horizontal line for each n-gram model (label -> perplexity), named in the legend."""
    for (label, value), style in zip(bars.items(), BAR_STYLES, strict=False):
        axes.axhline(value, color=BAR, linestyle=style, linewidth=1.2, label=f"{label} {value:.2f}")


def legend_below(figure: Figure, axes: Iterable[Axes], columns: int, size: float | str | None = None) -> None:
    """A legend under the figure, in which each label of some axes stands once; none where nothing has a label."""
    entries = {label: line for each in axes for line, label in zip(*each.get_legend_handles_labels(), strict=True)}
    if entries:
        figure.legend(
            entries.values(), entries.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=size
        )


def say(axes: Axes, words: str) -> None:
    """Words in the middle of axes that have nothing to show."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=FAINT)


# --- a training ------------------------------------------------------------------------------------------------------


def perplexity_curves(
    train: Sequence[float],
    val: Sequence[float],
    best_epoch: int,
    bars: Mapping[str, float],
    title: str,
) -> bytes:
    """Train and validation perplexity by epoch on a log axis, the gap between them, and horizontal bars to compare.

    ``bars`` maps a label to a perplexity (the n-gram models on the validation text).
    """
    train, val = drawable(train), drawable(val)
    epochs = range(1, len(val) + 1)
    figure = new_figure(8, 5)
    axes = add_axes(figure, title)
    log_y(axes, [*train, *val, *bars.values()])
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
    baseline_lines(axes, bars)
    axes.set(xlabel="epoch", ylabel="perplexity per character")
    whole_numbers(axes)
    legend_below(figure, [axes], 3)
    return png(figure)


def generalisation_gap(train: Sequence[float], val: Sequence[float], title: str) -> bytes:
    """Validation minus train perplexity by epoch: below zero while dropout holds the train figure up."""
    train, val = drawable(train), drawable(val)
    epochs = range(1, len(val) + 1)
    gap = [v - t for v, t in zip(val, train, strict=True)]
    figure = new_figure(8, 3)
    axes = add_axes(figure, title)
    axes.axhline(0, color=FAINT, linewidth=0.8)
    axes.plot(epochs, gap, color=VAL, marker="o" if len(gap) <= 40 else None, markersize=3)
    axes.fill_between(epochs, gap, color=VAL, alpha=0.15)
    axes.set(xlabel="epoch", ylabel="validation - train\nperplexity")
    whole_numbers(axes)
    return png(figure)


# --- labels beside dots ----------------------------------------------------------------------------------------------

LABEL_DISTANCES = (9, 15, 22, 30, 40)  # points from a dot to its label, and the directions to try, best first
LABEL_ANGLES = (pi / 4, -3 * pi / 4, pi / 2, -pi / 2, 0.0, pi, -pi / 4, 3 * pi / 4)
ASLANT = (pi / 4, -3 * pi / 4, -pi / 4, 3 * pi / 4)  # further off: a level or upright line would run along the front's


def _common(box: Floats, others: Floats) -> float:
    """The area in square pixels that a box (4,) shares with others (N, 4), in sum; a box is left, low, right, high."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(np.prod(np.maximum(sides, 0.0), axis=1).sum())


def _along(start: Floats, end: Floats, half_width: float) -> Floats:
    """Boxes (N, 4) along a straight line between two pixels, which stand for it."""
    parts = ceil(np.linalg.norm(end - start) / (2 * half_width)) + 1
    middles = np.linspace(start, end, parts)
    return np.hstack([middles - half_width, middles + half_width])


def write_labels(
    axes: Axes,
    labels: Sequence[tuple[str, float, float]],
    dots: Sequence[tuple[float, float]],
    lines: Sequence[tuple[tuple[float, float], tuple[float, float]]],
    keep: int,
) -> None:
    """Write each (text, x, y) beside its dot, clear of all dots, of the lines and of the labels before it.

    Each takes the nearest free place around its dot, with a thin line to one further off. Of those that find none, the
    first ``keep`` are written where they cover least, and the rest are left out. The axes' limits must stand.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = FigureCanvasAgg(figure)
    figure.draw_without_rendering()  # the layout decides where a dot is in pixels
    renderer = canvas.get_renderer()
    unit = figure.dpi / 72  # pixels of a point
    frame = np.array([axes.get_window_extent(renderer).extents])

    def pixel(point: tuple[float, float]) -> Floats:
        return np.asarray(axes.transData.transform(point), dtype=np.float64)

    centres = [pixel(point) for point in [*((x, y) for _, x, y in labels), *dots]]
    taken = [_along(centre, centre, 4 * unit) for centre in centres]
    taken += [_along(pixel(start), pixel(end), 1.5 * unit) for start, end in lines]
    written = [np.empty((0, 4))]
    for number, ((text, x, y), dot) in enumerate(zip(labels, centres, strict=False)):
        note = axes.annotate(text, (x, y), (0, 0), textcoords="offset points", fontsize=8, va="center", zorder=6)
        note.set_in_layout(False)
        size = note.get_window_extent(renderer)
        all_taken, all_written = np.concatenate(taken), np.concatenate(written)
        places: list[tuple[float, float, Floats, Floats]] = []
        for distance in LABEL_DISTANCES:
            near = distance <= LABEL_DISTANCES[1]
            for angle in LABEL_ANGLES if near else ASLANT:
                right, up = distance * unit * cos(angle), distance * unit * sin(angle)
                left = right - (size.width if right < -1 else size.width / 2 if right < 1 else 0)
                half = size.height / 2
                box = np.add([*dot, *dot], [left, up - half, left + size.width, up + half])
                leader = np.empty((0, 4)) if near else _along(dot, np.clip(dot, box[:2], box[2:]), unit)
                covered = size.width * size.height - _common(box, frame) + _common(box, all_taken)
                covered += sum(_common(part, all_written) for part in leader)
                places.append((round(covered), distance, box, leader))
        covered, _, box, leader = min(places, key=lambda place: place[:2])
        if covered > 0 and number >= keep:
            note.remove()
            continue
        note.set_position(((box[0] - dot[0]) / unit, ((box[1] + box[3]) / 2 - dot[1]) / unit))
        written.append(box[None])
        taken += [box[None], leader]
        if len(leader):
            ends = axes.transData.inverted().transform([dot, np.clip(dot, box[:2], box[2:])])
            axes.plot(*ends.T, color=FAINT, linewidth=0.6, zorder=3)


# --- a search --------------------------------------------------------------------------------------------------------


def _named(front: Sequence[FrontPoint], chosen: Mapping[str, Pick]) -> list[tuple[str, FrontPoint]]:
    """The front's members and their labels, those that were picked first: lstm 1x64 (knee)."""
    names = {
        point.contender.name: [name for name, pick in chosen.items() if pick.point.contender == point.contender]
        for point in front
    }
    ordered = sorted(front, key=lambda point: not names[point.contender.name])
    return [
        (point.contender.label + (f" ({', '.join(picked)})" if (picked := names[point.contender.name]) else ""), point)
        for point in ordered
    ]


def _members(axes: Axes, points: Sequence[tuple[float, FrontPoint]]) -> None:
    """Means with their intervals as large markers, at the given x."""
    for x, point in points:
        colour, marker = CELL_STYLES.get(point.contender.cell, OTHER_STYLE)
        mean, low, high = point.val.mean, point.val.low, point.val.high
        bars = None if low is None or high is None else [[mean - low], [high - mean]]
        axes.errorbar(
            [x],
            [mean],
            yerr=bars,
            color=colour,
            marker=marker,
            markersize=6,
            markeredgecolor="black",
            capsize=3,
            zorder=5,
        )


def pareto_front(
    trials: Sequence[Trial],
    judged: Judged,
    chosen: Mapping[str, Pick],
    reported: Sequence[Reported],
    bars: Mapping[str, float],
    title: str,
) -> bytes:
    """Validation perplexity against MACs per character, both log: trials, the judged front, and what to compare with.

    ``chosen`` are the picks, named in the labels; ``bars`` maps a label to the perplexity of an n-gram model. A failed
    trial is a cross at the upper edge.
    """
    figure = new_figure(9, 6)
    axes = add_axes(figure, title)
    done = [(trial, min(trial.val_perplexity, LARGEST)) for trial in trials if trial.val_perplexity is not None]
    failed = [trial.macs_per_char for trial in trials if trial.val_perplexity is None]
    macs = [trial.macs_per_char for trial in trials] + [point.contender.macs_per_char for point in judged.points]
    heights = [height for _, height in done] + [point.val.mean for point in judged.points]
    grey = [(one.macs_per_char, one.perplexity_end) for one in reported if one.perplexity_end is not None]
    log_x(axes, [*macs, *(x for x, _ in grey)] or [judged.reference[1]])
    log_y(axes, [*heights, *bars.values(), *(y for _, y in grey)] or [judged.reference[0]])
    if grey:
        axes.plot(
            *zip(*grey, strict=True),
            "P",
            color="#b8b8b8",
            markersize=6,
            zorder=1.5,
            label="coursework report, as it says",
        )
    for cell in sorted({trial.cell for trial, _ in done}, key=lambda cell: [*CELL_STYLES, cell].index(cell)):
        colour, marker = CELL_STYLES.get(cell, OTHER_STYLE)
        dots = [(trial.macs_per_char, height) for trial, height in done if trial.cell == cell]
        axes.plot(
            *zip(*dots, strict=True), marker, color=colour, markersize=5, alpha=0.55, mew=0, label=f"{cell} trials"
        )
    if failed:
        top = axes.get_xaxis_transform()
        axes.plot(failed, [0.985] * len(failed), "x", color=FAINT, transform=top, label=f"failed ({len(failed)})")
    baseline_lines(axes, bars)
    if not heights:
        say(axes, "no finished trial")
    left, right = axes.get_xlim()
    lines = [((left, value), (right, value)) for value in bars.values()]
    if front := judged.front:
        line: list[tuple[float, float]] = []
        ends = [*(point.contender.macs_per_char for point in front), right]
        for point, (start, end) in zip(front, pairwise(ends), strict=True):
            line += [(start, point.val.mean), (end, point.val.mean)]
        axes.plot(*zip(*line, strict=True), color=VAL, linewidth=1.3, zorder=2.5, label="front, means, 95 % intervals")
        lines += pairwise(line)
        _members(axes, [(point.contender.macs_per_char, point) for point in front])
    axes.set(xlabel="MACs per character, output layer included", ylabel="validation perplexity per character")
    legend_below(figure, [axes], 3, "small")
    labels = [(text, point.contender.macs_per_char, point.val.mean) for text, point in _named(front, chosen)]
    write_labels(axes, labels, [(t.macs_per_char, h) for t, h in done] + grey, lines, keep=len(chosen))
    return png(figure)


def hypervolume_history(areas: Sequence[float], judged: Judged, title: str) -> bytes:
    """The hypervolume after each trial, and at the end that of the confirmed means with its interval."""
    figure = new_figure(8, 4)
    axes = add_axes(figure, title)
    if any(areas):
        axes.step(range(1, len(areas) + 1), areas, where="post", color=TRAIN, label="trials, one run each")
    else:
        say(axes, "no finished trial")
    if judged.points:
        low, high = judged.hypervolume_low, judged.hypervolume_high
        value, between, bars = judged.hypervolume, "", None
        if low is not None and high is not None:
            between, bars = f" ({low:.2f} to {high:.2f})", [[max(value - low, 0)], [max(high - value, 0)]]
        label = f"judged on means {value:.2f}{between}"
        axes.errorbar([len(areas) + 1], [value], yerr=bars, color=VAL, marker="o", capsize=4, label=label)
    axes.set(xlabel="trials", ylabel="hypervolume\nperplexity x decades of MACs")
    whole_numbers(axes)
    legend_below(figure, [axes], 2)
    return png(figure)


def parameter_importance(importance: Mapping[str, Mapping[str, float]], title: str) -> bytes:
    """Horizontal bars: the share of each parameter in the variation of each objective, greatest in sum on top."""
    parameters = {name for shares in importance.values() for name in shares}
    ranked = sorted(parameters, key=lambda name: (sum(s.get(name, 0.0) for s in importance.values()), name))
    figure = new_figure(8, 1.6 + 0.55 * max(len(ranked), 2))
    axes = add_axes(figure, title)
    thickness = 0.8 / max(len(importance), 1)
    for number, ((objective, shares), colour) in enumerate(
        zip(importance.items(), (VAL, TRAIN, BAR, FAINT), strict=False)
    ):
        places = [row + 0.4 - (number + 0.5) * thickness for row in range(len(ranked))]
        drawn = axes.barh(
            places, [shares.get(name, 0.0) for name in ranked], thickness * 0.92, color=colour, label=objective
        )
        axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=8)
    axes.set_yticks(range(len(ranked)), ranked)
    axes.set(xlabel="importance", xlim=(0, 1.08))
    if ranked:
        axes.legend(loc="lower right")
    else:
        say(axes, "too few trials to tell")
    return png(figure)


def perplexity_against_time(judged: Judged, chosen: Mapping[str, Pick], title: str) -> bytes:
    """Mean validation perplexity against measured milliseconds per character (the median of the runs), both log."""
    figure = new_figure(8, 5)
    axes = add_axes(figure, title)
    timed = {id(point): median(point.contender.ms_per_char) for point in judged.points if point.contender.ms_per_char}
    points = [(timed[id(point)], point) for point in judged.points if id(point) in timed]
    axes.set(xlabel="milliseconds per character, measured", ylabel="validation perplexity per character")
    if not points:
        say(axes, "no time was measured")
        return png(figure)
    log_x(axes, [x for x, _ in points])
    log_y(axes, [point.val.mean * factor for _, point in points for factor in (1 / 1.2, 1.2)])
    for cell in sorted(
        {point.contender.cell for _, point in points}, key=lambda cell: [*CELL_STYLES, cell].index(cell)
    ):
        colour, marker = CELL_STYLES.get(cell, OTHER_STYLE)
        dots = [(x, point.val.mean) for x, point in points if point.contender.cell == cell]
        axes.plot(*zip(*dots, strict=True), marker, color=colour, markersize=5, alpha=0.55, mew=0, label=cell)
    _members(axes, [(x, point) for x, point in points if point.on_front])
    legend_below(figure, [axes], 3)
    front = [point for _, point in points if point.on_front]
    labels = [(text, timed[id(point)], point.val.mean) for text, point in _named(front, chosen)]
    write_labels(axes, labels, [(x, point.val.mean) for x, point in points], [], keep=len(chosen))
    return png(figure)


# --- the report, reproduced ------------------------------------------------------------------------------------------
# Of a page that has two dozen of them, on paper too: small files, and no colour alone tells one thing from another.

PAGE_DOTS_PER_INCH, PAGE_SHADES = 110, 16
SMALL, SMALLER = 8.5, 7.5  # points
REPORTED = "#8a8a8a"
SERIES: list[tuple[str, str, Any]] = [  # colour (Okabe and Ito), marker, line; enough for the comparison of most
    ("#0072b2", "o", "-"),
    ("#d55e00", "s", (0, (6, 1.5))),
    ("#009e73", "^", (0, (4, 1.2, 1, 1.2))),
    ("#cc79a7", "D", (0, (2, 1))),
    ("#e69f00", "v", "-"),
    ("#56b4e9", "P", (0, (6, 1.5))),
]


def _in_a_line(text: str, longest: int) -> str:
    """A name of somebody's table: in one line, and not endless."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _literal(text: str, longest: int = 40) -> str:
    """The same as a label, in which it is no formula."""
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
    """Horizontal lines with their labels right of the axes, none over another; the log limits must stand."""
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
    """The mean over the seeds after each epoch, as far as it can be drawn; empty without a training."""
    curves = [drawable(getattr(run, curve)) for run in configuration.furthest]
    return [estimate(values).mean for values in zip(*curves, strict=False)]


def training_curves(configuration: Configuration, planned: int, bars: Mapping[str, float], title: str) -> bytes:
    """Training and validation perplexity by epoch on a log axis, with the gap between them.

    Means over the seeds are strong, single seeds thin; a star is the best epoch of each. ``bars`` maps the label of an
    n-gram model to its perplexity on the same validation characters. What is reported is in grey at both ends of the
    ``planned`` epochs.
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
    return png(figure, PAGE_SHADES)


def configurations_compared(configurations: Sequence[Configuration], bars: Mapping[str, float], title: str) -> bytes:
    """Left: mean curves by epoch, validation strong and training thin. Right: the figures that they are compared by.

    These are the training perplexity after the last epoch, the validation perplexity after the last and the best, the
    latter with its 95 % interval over the seeds, and what is reported.
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
    return png(figure, PAGE_SHADES)


def _dumbbells(axes: Axes, configurations: Sequence[Configuration], bars: Mapping[str, float]) -> None:
    """A row for each configuration, the first on top, with its perplexities on a log axis."""
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
        note.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.4})  # a line may run through it
        widths += [train, val, best.mean]
    for value, style in zip(sorted(bars.values()), BAR_STYLES, strict=False):
        axes.axvline(value, color=INK, linestyle=style, linewidth=0.9, zorder=1.5)
    log_x(axes, widths or [1.0, 28.0], plain_number)
    states = [f"\n({each.progress})" if each.progress else "" for each in configurations]
    names = [configuration.label + state for configuration, state in zip(configurations, states, strict=True)]
    axes.set_yticks(rows, names)
    axes.set_ylim(-0.6, len(names) - 0.3)
    axes.set_title("what they came to", fontsize=SMALL)
    _page_labels(axes, "perplexity per character", "")


def perplexity_against_macs(configurations: Sequence[Configuration], bars: Mapping[str, float], title: str) -> bytes:
    """Validation perplexity after the best (filled) and the last epoch (hollow) against MACs per character, both log.

    What is reported is in grey; a configuration without a training is a cross at the upper edge.
    """
    figure = _page_figure(9, 4.8)
    axes = _page_axes(figure, title)
    trained = [configuration for configuration in configurations if configuration.furthest]
    missing = [configuration for configuration in configurations if not configuration.furthest]
    best = [estimate(drawable([run.best_val for run in each.furthest])) for each in trained]
    last = [estimate(drawable([run.val[-1] for run in each.furthest])).mean for each in trained]
    grey = [
        (each.complexity.macs_per_char, each.reported.perplexity_end)
        for each in configurations
        if each.reported.perplexity_end is not None
    ]
    heights = [*bars.values(), *last, *(point.mean for point in best), *(y for _, y in grey)] or [1.0, 28.0]
    log_x(axes, [configuration.complexity.macs_per_char for configuration in configurations] or [1.0])
    log_y(axes, [*heights, *([1.3 * max(heights)] if missing else [])])
    if grey:
        style: dict[str, Any] = {"color": REPORTED, "mec": INK, "mew": 0.5, "linestyle": "none", "markersize": 6}
        axes.plot(*zip(*grey, strict=True), "P", label="as reported", zorder=1.8, **style)
    lines = []
    for configuration, point, end in zip(trained, best, last, strict=True):
        cell, x = configuration.reported.cell, configuration.complexity.macs_per_char
        colour, marker = CELL_STYLES.get(cell, OTHER_STYLE)
        bounds = None
        if point.low is not None and point.high is not None:
            bounds = [[point.mean - point.low], [point.high - point.mean]]
        axes.plot([x, x], [point.mean, end], color=colour, linewidth=0.8)
        axes.plot([x], [end], marker, color="white", mec=colour, label=f"{cell}, last epoch", ls="none", markersize=6)
        axes.errorbar(
            [x],
            [point.mean],
            yerr=bounds,
            fmt=marker,
            color=colour,
            capsize=3,
            markersize=6,
            label=f"{cell}, best epoch",
        )
        lines.append(((float(x), point.mean), (float(x), end)))
    top = axes.get_ylim()[1] / 1.06
    crosses = [(configuration.complexity.macs_per_char, top) for configuration in missing]
    if crosses:
        axes.plot(*zip(*crosses, strict=True), "x", color=INK, label=f"not run ({len(crosses)})")
    _bars_at_the_side(axes, bars)
    _page_labels(axes, "MACs per character, output layer included", "validation perplexity per character")
    legend_below(figure, [axes], 4, SMALLER)
    places = [*((float(x), y) for x, y in crosses), *(start for start, _ in lines)]
    labels = [
        (_literal(each.id) + (f" ({_literal(each.state)})" if each.state else ""), x, y)
        for each, (x, y) in zip((*missing, *trained), places, strict=True)
    ]
    left, right = axes.get_xlim()
    lines += [((left, value), (right, value)) for value in bars.values()]
    dots = [end for _, end in lines[: len(trained)]] + [(float(x), y) for x, y in grey]
    write_labels(axes, labels, dots, lines, keep=8)
    return png(figure, PAGE_SHADES)
