"""Draw figures: axes, legends, PNG files, and labels without overlap. The only module that imports matplotlib."""

import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pipeline.pages.drawing import CELL_STYLES, LabelPlaces, cell_style, drawable, log_ticks, si

if TYPE_CHECKING:  # it imports SciPy, which a training's pictures do not need
    from pipeline.support.statistics import Estimate

__all__ = ["Axes", "Figure"]  # for annotations elsewhere

TRAIN, VAL, BAR, FAINT, INK = "#1f77b4", "#d62728", "#2ca02c", "#777777", "#222222"  # BAR: baselines
BAR_STYLES: list[Any] = ["--", ":", "-."]
DOTS_PER_INCH = 150


@contextmanager
def missing_glyphs_allowed() -> Iterator[None]:
    """Within the block, or the decorated function, the font may lack characters, such as those of a text's name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def new_figure(width: float, height: float, dots_per_inch: int = DOTS_PER_INCH) -> Figure:
    """An empty figure; width and height are in inches."""
    return Figure(figsize=(width, height), dpi=dots_per_inch, layout="constrained")


def add_axes(figure: Figure, title: str = "", place: Any = 111) -> Axes:
    """Add axes with a grid. The title is not parsed as math, since the name of a text may contain $."""
    axes = figure.add_subplot(place)
    axes.set_title(title, parse_math=False)
    axes.grid(alpha=0.2)
    return axes


@missing_glyphs_allowed()
def png(figure: Figure, shades: int = 256) -> bytes:
    """The figure as a PNG with ``shades`` levels per colour channel; 16 halve the file without a visible difference."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    step = 255 // (shades - 1)
    pixels = np.asarray(canvas.buffer_rgba())[:, :, :3].astype(np.uint16)
    reduced = ((pixels + step // 2) // step * step).astype(np.uint8)
    data = io.BytesIO()
    imsave(data, reduced, format="png", pil_kwargs={"optimize": shades < 256})
    return data.getvalue()


def log_y(axes: Axes, values: Sequence[float]) -> None:
    """Make y logarithmic, with limits around the values and plain numbers at its ticks."""
    axes.set_yscale("log")
    axes.set_ylim(min(values) / 1.12, max(values) * 1.12)
    _number_ticks(axes.yaxis, "{:,.10g}".format)


def log_x(axes: Axes, values: Sequence[float]) -> None:
    """Make x logarithmic, with limits around the values and numbers with an SI suffix at its ticks."""
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 1.4, max(values) * 1.4)
    _number_ticks(axes.xaxis, si)


def _number_ticks(axis: Axis, number: Callable[[float], str]) -> None:
    axis.set_major_locator(FixedLocator(log_ticks(*axis.get_view_interval())))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))


def whole_numbers(axes: Axes) -> None:
    """Set the ticks of x at integers only."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def baseline_lines(axes: Axes, baselines: Mapping[str, float]) -> None:
    """Draw a horizontal line for each baseline (label -> perplexity), with an entry in the legend."""
    for (label, value), style in zip(baselines.items(), BAR_STYLES, strict=False):
        axes.axhline(value, color=BAR, linestyle=style, linewidth=1.2, label=f"{label} {value:.2f}")


def scatter(axes: Axes, points: Sequence[tuple[float, float]], marker: str, **style: Any) -> None:
    """Draw each (x, y) as a marker; without points, draw nothing and add no entry to the legend."""
    if points:
        axes.plot(*zip(*points, strict=True), marker, **style)


def scatter_by_cell(axes: Axes, points: Sequence[tuple[str, float, float]], label: str = "{}", **options: Any) -> None:
    """Draw each (cell, x, y) as a small dot in the style of its cell; ``label`` is formatted with the cell."""
    for cell in sorted({cell for cell, *_ in points}, key=lambda cell: [*CELL_STYLES, cell].index(cell)):
        style = cell_style(cell)
        look = {"color": style.colour, "markersize": 5, "alpha": 0.55, "mew": 0, **options}
        of_cell = [(x, y) for point, x, y in points if point == cell]
        scatter(axes, of_cell, style.marker, label=label.format(cell), **look)


def mean_with_interval(axes: Axes, style: tuple[str, str], x: float, value: "Estimate", **options: Any) -> None:
    """Draw a mean in this colour and with this marker, with a bar for its interval if it has one."""
    colour, marker = style
    bar = [[max(0.0, value.mean - value.ends[0])], [max(0.0, value.ends[1] - value.mean)]] if value.ends else None
    axes.errorbar([x], [value.mean], yerr=bar, fmt=marker, color=colour, **{"capsize": 3, "markersize": 6, **options})


def legend_below(figure: Figure, axes: Iterable[Axes], columns: int, size: float | str | None = None) -> None:
    """Add a legend below the figure with each label of the axes once; none if no artist has a label."""
    entries = {label: line for part in axes for line, label in zip(*part.get_legend_handles_labels(), strict=True)}
    if entries:
        figure.legend(
            entries.values(), entries.keys(), loc="outside lower center", ncols=columns, frameon=False, fontsize=size
        )


def draw_perplexities(file: str, runs: Mapping[str, Sequence[Mapping[int, float]]], title: str, cost: str) -> None:
    """Draw the validation perplexities of several runs, whose lines have one colour, as the suffix of ``file`` says.

    They are curves by epoch, or fronts by the ``cost`` of this name, which are steps on a logarithmic scale.
    """
    figure = new_figure(8, 6)
    axes = add_axes(figure, title)
    for number, (label, lines) in enumerate(runs.items()):
        style = f"C{number % 10}o{'-' if number < 10 else '--'}"
        shape: Any = {"drawstyle": "steps-post" if cost else "default", "linewidth": 1.2, "markersize": 3}
        for line in lines:
            x, y = zip(*sorted(line.items()), strict=True) if line else ((), ())
            axes.plot(x, drawable(y), style, label=label.replace("$", r"\$"), **shape)
    points = [point for lines in runs.values() for line in lines for point in line.items()]
    log_y(axes, drawable([y for _, y in points]) or [1.0])
    if cost:
        log_x(axes, [x for x, _ in points])
    else:
        whole_numbers(axes)
    axes.set(xlabel=cost or "epoch", ylabel="validation perplexity per character")
    legend_below(figure, [axes], 2, "small")
    with missing_glyphs_allowed():
        figure.savefig(file)


def write_message(axes: Axes, words: str) -> None:
    """Write a message in the middle of empty axes."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=FAINT)


@missing_glyphs_allowed()
def write_labels(
    axes: Axes, labels: Sequence[tuple[str, float, float]], keep: int, colours: Sequence[str] = ()
) -> None:
    """Annotate each (text, x, y) beside its dot, without overlapping what is drawn or earlier labels.

    Without a free place, the first ``keep`` labels are written where they overlap least, and later ones are left out.
    ``colours`` are the labels' colours, black by default. Call this when all is drawn and the axes' limits are final.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    FigureCanvasAgg(figure)  # whose renderer measures texts
    figure.draw_without_rendering()  # so that artists have pixel positions
    unit = figure.dpi / 72  # pixels of a point
    places = LabelPlaces(axes.get_window_extent().extents, unit)

    for line in axes.get_lines():
        points = line.get_transform().transform(line.get_xydata()).tolist()
        for point in points if line.get_marker() != "None" else ():
            places.block(point, point, 4)
        for start, end in pairwise(points) if line.get_linestyle() != "None" else ():
            places.block(start, end, 1.5)
    for bars in (collection for collection in axes.collections if isinstance(collection, LineCollection)):
        for segment in bars.get_segments():
            start, end = bars.get_transform().transform(segment).tolist()
            places.block(start, end, 1.5)
    for number, (text, x, y) in enumerate(labels):
        note = axes.annotate(text, (x, y), (0, 0), textcoords="offset points", fontsize=8, va="center", zorder=6)
        note.set_color(colours[number] if colours else "black")
        note.set_in_layout(False)
        size, dot = note.get_window_extent(), axes.transData.transform((x, y)).tolist()
        placed = places.place(dot, size.width, size.height, is_needed=number < keep)
        if placed is None:
            note.remove()
            continue
        left, low, _, high = placed.box
        note.set_position(((left - dot[0]) / unit, ((low + high) / 2 - dot[1]) / unit))
        if placed.leader is not None:
            axes.plot(*axes.transData.inverted().transform(placed.leader).T, color=FAINT, linewidth=0.6, zorder=3)
