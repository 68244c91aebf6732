"""The explorer of a page: charts as inline SVG, and a small script that shows figures on hover.

One chart shows the best validation perplexity of each configuration against its cost, the other the perplexities by
epoch. All is drawn here: the script (templates/explorer.js) only looks up figures and moves a marker, and the style
sheet selects which curves are coloured. The charts and the selection therefore work without scripts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.support.page.rendering import html_environment, shared_script
from pipeline.support.page.svg import Label, Scale, apart, path
from pipeline.support.plotting import si
from pipeline.support.statistics import geometric_mean

WIDTH, HEIGHT = 360, 280  # of a chart, in user units: about the pixels of a narrow screen
LEFT, RIGHT, TOP, BOTTOM = 30, 280, 20, 244  # edges of the plot

NAME_WIDTH, NAME_HEIGHT = 50, 5  # if two points are nearer than this, one of their names is left out

LEAST_GAP = 9  # user units between the labels of curves

COLOURS = 6  # in the style sheet

Mark = Literal["circle", "square", "triangle", "diamond"]

MARKS: Mapping[str, Mark] = {"rnn": "circle", "gru": "square", "lstm": "triangle"}  # cell -> shape of its points


@dataclass(frozen=True)
class Series:
    """A configuration in the charts: a point in the chart of costs, and its curves.

    name: in the list of choices. shape: the short name inside a chart. title: the tooltip of its point. cost: MACs per
    character. best: best validation perplexity by seed. train, val: perplexities by seed and epoch. reported: (epoch,
    value) pairs that are marked with a cross. other: perplexities by seed of the same shape under another recipe;
    other_title: what these are. figures: what the script shows. is_shown: whether its curves are coloured at first.
    """

    name: str
    shape: str
    cell: str
    title: str
    cost: int
    epochs_planned: int
    best: Sequence[float]
    train: Sequence[Sequence[float]]
    val: Sequence[Sequence[float]]
    figures: Mapping[str, Any]
    is_whole: bool = True
    is_shown: bool = False
    on_front: bool = False
    reported: Sequence[tuple[int, float]] = ()
    other: Sequence[float] = field(default=())
    other_title: str = ""

    @property
    def mark(self) -> Mark:
        return MARKS.get(self.cell, "diamond")

    @property
    def mean(self) -> float:
        return geometric_mean(self.best)


@dataclass(frozen=True)
class Wording:
    """The titles of the two charts' y axes, and the caption."""

    front: str
    curves: str
    caption: str


def explorer_html(
    series: Sequence[Series],
    bars: Mapping[str, float],
    wording: Wording,
    has_front: bool = True,
    anchor: str = "explorer",
) -> str:
    """Render the explorer as one HTML element with ``anchor`` as its id.

    ``bars`` maps labels to perplexities that are drawn as horizontal lines. ``has_front`` is whether the chart of
    perplexity against cost is drawn.
    """
    return (
        html_environment()
        .get_template("explorer.html.jinja")
        .render(
            id=anchor,
            box=(LEFT, RIGHT, TOP, BOTTOM, WIDTH, HEIGHT),
            colours=COLOURS,
            front=_front(series, bars) if has_front else None,
            curves=_curves(series, bars),
            choices=[{"label": each.name, "is_shown": each.is_shown} for each in series],
            wording=wording,
            data=[each.figures for each in series],
            script=shared_script("explorer.js"),
        )
    )


def undominated(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the Pareto front of points (cost, perplexity), both minimised, in order of cost."""
    best: list[int] = []
    for number in sorted(range(len(points)), key=lambda number: points[number]):
        if not best or points[number][1] < points[best[-1]][1]:
            best.append(number)
    return best


def marks_of(cells: Iterable[str]) -> str:
    """The marks of these cells as a caption lists them: circle RNN, square GRU."""
    shown = set(cells)
    return ", ".join(f"{mark} {cell.upper()}" for cell, mark in MARKS.items() if cell in shown)


def four_digits(values: Sequence[float]) -> list[float]:
    """The values with four significant digits, as the script shows them."""
    return [float(f"{value:.4g}") for value in values]


def _scale_of(perplexities: Iterable[float]) -> Scale:
    values = list(perplexities)
    return Scale(min(values) / 1.08, max(values) * 1.08, BOTTOM, TOP)


def _front(series: Sequence[Series], bars: Mapping[str, float]) -> dict[str, Any]:
    """The chart of best validation perplexity against MACs per character: seeds, means, the front, horizontal lines."""
    others = {each.shape: each for each in series if each.other}  # one for each shape
    costs = [each.cost for each in series]
    x = Scale(min(costs) / 4, max(costs) * 1.5, LEFT, RIGHT)
    y = _scale_of([*bars.values(), *(value for each in series for value in (*each.best, *each.other))])
    members = sorted((each for each in series if each.on_front), key=lambda each: each.cost)
    return {
        "points": [
            {
                "number": number,
                "title": each.title,
                "mark": each.mark,
                "x": x(each.cost),
                "y": y(each.mean),
                "seeds": [y(value) for value in each.best],
                "is_whole": each.is_whole,
            }
            for number, each in enumerate(series)
        ],
        "others": [
            {"title": f"{shape} {each.other_title}", "x": x(each.cost), "y": y(geometric_mean(each.other))}
            for shape, each in others.items()
        ],
        "line": path([(x(each.cost), y(each.mean)) for each in members]),
        "names": _readable([{"text": each.shape, "x": x(each.cost) - 7, "y": y(each.mean) + 7} for each in members]),
        "x_ticks": [(x(tick), si(tick)) for tick in x.ticks],
        "y_ticks": [(y(tick), f"{tick:g}") for tick in y.ticks],
        "bars": apart([(name, RIGHT, y(value)) for name, value in bars.items()], TOP, BOTTOM),
    }


def _readable(names: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The names beside the points of a front, without those that would cover another; later points have precedence."""
    kept: list[dict[str, Any]] = []
    for name in reversed(names):
        if all(abs(name["x"] - other["x"]) > NAME_WIDTH or abs(name["y"] - other["y"]) > NAME_HEIGHT for other in kept):
            kept.append(name)
    return kept[::-1]


def _end_labels(series: Sequence[Series], bars: int, ends: Sequence[tuple[str, float, float]]) -> list[Label]:
    """A label beside the end of each horizontal line and curve.

    If there is no room for all, only those that are shown at first are kept from overlapping.
    """
    if len(ends) <= (BOTTOM - TOP) / LEAST_GAP:
        return apart(ends, TOP, BOTTOM)
    shown = [*range(bars), *(bars + number for number, each in enumerate(series) if each.is_shown)]
    placed = dict(zip(shown, apart([ends[number] for number in shown], TOP, BOTTOM), strict=True))
    return [placed.get(number) or Label(text, x, y, y) for number, (text, x, y) in enumerate(ends)]


def _curves(series: Sequence[Series], bars: Mapping[str, float]) -> dict[str, Any]:
    """The chart of training and validation perplexity by epoch: seeds, means, reported values, horizontal lines."""
    longest = max(each.epochs_planned for each in series)
    x = Scale(0, longest, LEFT, RIGHT, is_logarithmic=False)
    drawn = [value for each in series for curve in (*each.train, *each.val) for value in curve]
    y = _scale_of([*bars.values(), *(value for each in series for _, value in each.reported), *drawn])
    lines, ends = [], [(name, float(RIGHT), y(value)) for name, value in bars.items()]

    def by_epoch(perplexities: Sequence[float]) -> str:
        return path([(x(epoch), y(value)) for epoch, value in enumerate(perplexities, 1)])

    for number, each in enumerate(series):
        line: dict[str, Any] = {"number": number, "title": each.name, "seeds": []}
        for name, curves in (("train_pooled", each.train), ("val_pooled", each.val)):
            line[name] = by_epoch([geometric_mean(values) for values in zip(*curves, strict=False)])
            line["seeds"] += map(by_epoch, curves) if len(curves) > 1 else []
        line["reported"] = [(x(epoch), y(value)) for epoch, value in each.reported]
        lines.append(line)
        epochs = min(map(len, each.val))
        ends.append((each.shape, x(epochs), y(geometric_mean([curve[epochs - 1] for curve in each.val]))))
    labels = _end_labels(series, len(bars), ends)
    return {
        "lines": [{**line, "label": label} for line, label in zip(lines, labels[len(bars) :], strict=True)],
        "bars": labels[: len(bars)],
        "x_ticks": [(x(tick), f"{tick:g}") for tick in x.ticks],
        "y_ticks": [(y(tick), f"{tick:g}") for tick in y.ticks],
        "scale": {"epochs": longest, "low": y.low, "high": y.high},
    }
