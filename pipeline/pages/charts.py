"""Charts of HTML pages as inline SVG: scatter plots with a Pareto front, curves by epoch, and rows of values.

The functions return SVG as text. templates/charts.css colours it by class, so that it follows the page's light or dark
colours; templates/page.js shows figures on hover. Charts and the choice of curves work without scripts. Labels are
placed so that they neither collide nor leave the chart.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import compress, pairwise
from math import floor, log
from statistics import fmean

from pipeline.pages.document import Drawing, Explorer
from pipeline.pages.drawing import CELL_MARKS, LabelPlaces, Marker, cell_style, drawable, log_ticks, si
from pipeline.pages.rendering import shared
from pipeline.support.pareto import front_mask
from pipeline.support.statistics import geometric_mean
from pipeline.support.wording import counted, rounded

LETTER, LINE_HEIGHT = 7.5, 12  # of a bold label in a wide font, in user units

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 360, 280, 30, 10, 244  # of the explorer's charts

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """Maps values from ``low`` to ``high`` to user units from ``start`` to ``end``; others are drawn at the edge."""

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool = True

    def __call__(self, value: float) -> float:
        value = max(self.low, min(self.high, value))
        low, high, at = (log(each) if self.is_logarithmic else each for each in (self.low, self.high, value))
        return round(self.start + (at - low) / (high - low) * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """Round numbers within the scale."""
        if self.is_logarithmic:
            return log_ticks(self.low, self.high)
        sizes = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
        step = next(size for size in sizes if self.high <= 6 * size)
        return [float(value) for value in range(step, floor(self.high) + 1, step)]


def text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}">{escape(words)}</text>'


def path(points: Sequence[Point], style: str = "", title: str = "") -> str:
    """A line through points in user units; a single point becomes a short dash."""
    if len(points) == 1:
        points = [points[0], (points[0][0] + 2, points[0][1])]
    said = f"<title>{escape(title)}</title>" if title else ""
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<path class="{style}" d="M{places}">{said}</path>' if points else ""


def mark(shape: Marker, x: float, y: float, style: str = "mark") -> str:
    if shape == "circle":
        return f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    moves = {
        "square": (-4.5, -4.5, "h9v9h-9z"),
        "triangle": (0, -5.5, "l5.5,10h-11z"),
        "diamond": (0, -5.5, "l5.5,5.5l-5.5,5.5l-5.5,-5.5z"),
        "cross": (-4, -4, "l8,8m0,-8l-8,8"),
    }
    right, down, rest = moves[shape]
    return f'<path class="{style}" d="M{x + right:.1f},{y + down:.1f}{rest}"/>'


def svg_file(drawing: Drawing) -> str:
    """The drawing as an SVG file of its own."""
    size = f'width="{drawing.width:g}" height="{drawing.height:g}"'
    head = f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" {size}><style>{shared("charts.css")}</style>'
    return f'{head}<rect class="paper" {size}/>{drawing.elements}</svg>\n'


@dataclass(frozen=True)
class Axes:
    """The plot of a chart: two scales, whose starts and ends are its edges."""

    x: Scale
    y: Scale

    def at(self, points: Iterable[Point]) -> list[Point]:
        return [(self.x(x), self.y(y)) for x, y in points]

    def drawn(self, x_title: str, x_number: Callable[[float], str] = si) -> str:
        """Grid lines at the ticks of y, ticks of x, and its title."""
        left, bottom = self.x.start, self.y.start
        parts = [path([(left, self.y(tick)), (self.x.end, self.y(tick))], "grid") for tick in self.y.ticks]
        parts += [text(left - 4, self.y(tick) + 4, f"{tick:,g}", "right") for tick in self.y.ticks]
        for tick in self.x.ticks:
            parts.append(path([(self.x(tick), bottom), (self.x(tick), bottom + 4)], "grid"))
            parts.append(text(self.x(tick), bottom + 15, x_number(tick), "middle"))
        return "".join([*parts, text((left + self.x.end) / 2, bottom + 30, x_title, "middle")])

    def level(self, value: float, name: str) -> str:
        """A dashed line from edge to edge."""
        return path([(self.x.start, self.y(value)), (self.x.end, self.y(value))], "level", name)

    def end_label(self, words: str, end: Point, y: float) -> str:
        """A label at height y to the right of the plot, with a line to it from the end of a curve in user units."""
        at_end = path([end, (self.x.end + 4, y)], "leader") + text(self.x.end + 6, y + 4, words, "name")
        return f'<g class="end" data-x="{end[0]}" data-y="{end[1]}">{at_end}</g>'


def spread(places: Sequence[float], low: float, high: float, gap: float = LINE_HEIGHT) -> list[float]:
    """Move places on a line so far apart, as page.js does, that neighbours are ``gap`` away, or less without room."""
    order, moved = sorted(range(len(places)), key=places.__getitem__), list(places)
    gap = min(gap, (high - low) / max(len(places), 1))
    for number in order:
        moved[number] = max(moved[number], low)
        low = moved[number] + gap
    for number in reversed(order):
        moved[number] = min(moved[number], high)
        high = moved[number] - gap
    return moved


@dataclass(frozen=True)
class Row:
    """A row of marks (shape, style, value) on a common axis; ``ticks`` are short vertical lines (style, value)."""

    label: str
    marks: Sequence[tuple[Marker, str, float]] = ()
    ticks: Sequence[tuple[str, float]] = ()
    note: str = ""


def rows_chart(rows: Sequence[Row], levels: Mapping[str, float], title: str) -> Drawing:
    """Draw rows of values on a logarithmic axis from 1, and labelled vertical lines."""
    left, width, step = LETTER * max(len(row.label) for row in rows) + 8, 490, 19
    bottom = 22 + step * len(rows)
    values = [value for row in rows for _, _, value in row.marks]
    x = Scale(1, min(1.1 * max([23.0, *values, *levels.values()]), 1e6), left + 10, width - 8)
    parts = [path([(x(tick), 18), (x(tick), bottom)], "grid") for tick in x.ticks]
    parts += [text(x(tick), bottom + 14, f"{tick:,g}", "middle") for tick in x.ticks]
    labels = [f"{name} {rounded(value)}" for name, value in levels.items()]
    room = LETTER * max(map(len, labels), default=0)
    middles = spread([x(value) for value in levels.values()], left + room / 2, width - room / 2, room + 4)
    for label, value, middle in zip(labels, levels.values(), middles, strict=True):
        parts += [path([(middle, 14), (x(value), 18), (x(value), bottom)], "level"), text(middle, 11, label, "middle")]
    for number, row in enumerate(rows):
        y = 31 + step * number
        parts.append(text(left, y + 4, row.label, "right"))
        ends = [x(value) for shape, _, value in row.marks if shape != "cross"]
        parts += [path([(min(ends), y), (max(ends), y)], "frame")] if ends else []
        parts += [path([(x(value), y - 6), (x(value), y + 6)], style) for style, value in row.ticks]
        parts += [mark(shape, x(value), y, style) for shape, style, value in row.marks]
        parts += [text(x(2.2), y + 4, row.note)] if row.note else []
    parts.append(text((left + width) / 2, bottom + 30, title, "middle"))
    return Drawing(width, bottom + 36, "".join(parts))


SHOWN, COLOURS = 3, 6  # configurations whose curves are coloured at first; colours of a page

COSTS_CAPTION = (
    "Left: validation at the best epoch against the {cost}; small dots are seeds, marks their means "
    f"({CELL_MARKS}). The line is the front: nothing costs less and is better. "
)
CURVES_CAPTION = "Curves of validation are solid, of training dashed; thin lines are seeds, thick ones their means."


@dataclass(frozen=True)
class Series:
    """A configuration in the explorer: a point in the chart of costs, and its curves.

    name: in the list of choices. shape: the short name inside a chart. cost: in what cost_name says. best: best
    validation perplexity by seed, best_epochs its epochs. train, val: perplexities by seed and epoch. reported: (epoch,
    value) pairs that are marked with a cross. remarks: further lines of the readout. picks: the names under which a
    search recommends it.
    """

    name: str
    shape: str
    cell: str
    cost: int
    epochs_planned: int
    seeds: Sequence[int]
    best: Sequence[float]
    best_epochs: Sequence[int]
    train: Sequence[Sequence[float]]
    val: Sequence[Sequence[float]]
    cost_name: str = "MACs per character"
    picks: Sequence[str] = ()
    reported: Sequence[tuple[int, float]] = ()
    remarks: Sequence[str] = ()

    @property
    def mean(self) -> float:
        return geometric_mean(self.best)

    def readout(self) -> dict[str, object]:
        """What the script shows of it, curves with four significant digits."""
        curves = {"train": self.train, "val": self.val}
        return {
            "name": self.name,
            "cost": f"{self.cost:,} {self.cost_name}",
            "seeds": list(self.seeds),
            "planned": self.epochs_planned,
            "best": round(fmean(self.best_epochs)),
            "last": min(map(len, self.val)),
            "remarks": list(self.remarks),
            **{name: [[float(f"{v:.4g}") for v in line] for line in lines] for name, lines in curves.items()},
        }


def explorer(
    series: Sequence[Series], levels: Mapping[str, float], caption: str, anchor: str = "explorer", shown: int = SHOWN
) -> Explorer:
    """Draw charts of perplexity against cost, if there are several series, and by epoch, with a choice of curves.

    ``levels`` maps labels to perplexities that are drawn as horizontal lines; ``caption`` says what they are. The first
    ``shown`` are coloured at first, those on the front before others. ``anchor`` is the id of the element.
    """
    series = [replace(each, train=[drawable(curve) for curve in each.train]) for each in series]  # it may overflow
    is_member = front_mask([each.cost for each in series], [each.mean for each in series])
    front, others = [*compress(series, is_member)], [*compress(series, ~is_member)]
    series = front + others  # the page has six colours, in this order
    costs = COSTS_CAPTION.format(cost=series[0].cost_name) if len(series) > 1 else ""
    return Explorer(
        anchor=anchor,
        front=_front(series, front, levels, f"{anchor}-front") if costs else "",
        curves=_curves(series, levels, f"{anchor}-curves", shown),
        choices={each.name: number < shown for number, each in enumerate(series)},
        caption=f"{caption} {costs}{CURVES_CAPTION}",
        data=json.dumps([each.readout() for each in series]).replace("<", r"\u003c"),  # a text could end the script
    )


def _axes(x: Callable[[float], Scale], perplexities: Iterable[float], labels: Iterable[str]) -> Axes:
    """The axes of a chart whose x scale depends on its right edge, with room for labels to the right of it."""
    right = WIDTH - 8 - LETTER * max([8, *map(len, labels)])
    values = list(perplexities)
    return Axes(x(right), Scale(min(values) / 1.08, max(values) * 1.08, BOTTOM, TOP))


def _front(series: Sequence[Series], front: Sequence[Series], levels: Mapping[str, float], label: str) -> str:
    """Best validation perplexity against cost: seeds, means, the front with names, picks, levels."""
    costs = [each.cost for each in series]
    values = [*levels.values(), *(value for each in series for value in each.best)]
    axes = _axes(lambda right: Scale(min(costs) / 2, max(costs) * 1.5, LEFT, right), values, levels)
    places = LabelPlaces((LEFT + 4, TOP, WIDTH - 4, BOTTOM))
    parts = [axes.drawn(series[0].cost_name)]

    heights = spread([axes.y(value) for value in levels.values()], TOP, BOTTOM)
    for (name, value), height in zip(levels.items(), heights, strict=True):
        parts += [axes.level(value, name), axes.end_label(name, (axes.x.end, axes.y(value)), height)]
        places.block((LEFT, axes.y(value)), (axes.x.end, axes.y(value)), 1.5)
        places.block((axes.x.end, height), (WIDTH, height), LINE_HEIGHT / 2)

    line = axes.at(sorted((member.cost, member.mean) for member in front))
    parts.append(path(line, "front-line", "The front: no configuration costs less and has a lower perplexity"))
    for start, end in pairwise(line):
        places.block(start, end, 1.5)

    for number, each in reversed([*enumerate(series)]):  # those in colour are drawn last
        x, y = axes.x(each.cost), axes.y(each.mean)
        places.block((x, y), (x, y), 8 if each.picks else 5)
        data = f'data-number="{number}" data-x="{x}" data-y="{y}"'
        best = f"{rounded(each.mean)} at the best epoch ({counted(len(each.best), 'seed')})"
        title = f"{each.name}: validation perplexity {best}, {each.cost:,} {each.cost_name}"
        parts.append(f'<g class="point n{number}" {data}><title>{escape(title)}</title>')
        if len(each.best) > 1:
            parts += [f'<circle class="dot" cx="{x}" cy="{axes.y(value)}" r="2"/>' for value in each.best]
        parts.append(mark(cell_style(each.cell).shape, x, y))
        parts += [f'<circle class="pick" cx="{x}" cy="{y}" r="8"/>'] * bool(each.picks)
        parts.append("</g>")

    for member in sorted(front, key=lambda member: (not member.picks, -member.cost)):
        name = f"{member.shape} ({', '.join(member.picks)})" if member.picks else member.shape
        dot = (axes.x(member.cost), axes.y(member.mean))
        if placed := places.place(dot, LETTER * len(name), LINE_HEIGHT, is_needed=bool(member.picks)):
            parts.append(text(placed.box[0], (placed.box[1] + placed.box[3]) / 2 + 4, name, "name"))
            parts += [path([*map(tuple, placed.leader)], "leader")] if placed.leader is not None else []
    return Drawing(WIDTH, HEIGHT, "".join(parts)).inline(label, "front", "group")


def _curves(series: Sequence[Series], levels: Mapping[str, float], label: str, shown: int) -> str:
    """Training and validation perplexity by epoch: seeds, means, reported values, levels.

    The labels on the right are spread for the curves that are shown at first, and by the script when others are chosen.
    """
    longest = max(each.epochs_planned for each in series)
    drawn = [value for each in series for curve in (*each.train, *each.val) for value in curve]
    drawn += [*levels.values(), *(value for each in series for _, value in each.reported)]
    names = [*levels, *(each.shape for each in series)]
    axes = _axes(lambda right: Scale(0, longest, LEFT, right, is_logarithmic=False), drawn, names)
    means = [
        [[geometric_mean(values) for values in zip(*curves, strict=False)] for curves in (each.train, each.val)]
        for each in series
    ]

    ends = axes.at([(longest, value) for value in levels.values()] + [(len(val), val[-1]) for _, val in means])
    heights, count = [y for _, y in ends], len(levels) + shown
    heights[:count] = spread(heights[:count], TOP, BOTTOM)
    labels = [axes.end_label(*each) for each in zip(names, ends, heights, strict=True)]

    parts = [axes.drawn("epoch", "{:g}".format), *labels[: len(levels)]]
    parts += [axes.level(value, name) for name, value in levels.items()]
    for number, (each, (_, val)) in enumerate(zip(series, means, strict=True)):
        parts.append(path(axes.at(enumerate(val, 1)), f"context n{number}", f"{each.name}: validation"))
    for number, (each, (train, val)) in enumerate(zip(series, means, strict=True)):
        parts.append(f'<g class="detail n{number}" data-number="{number}"><title>{escape(each.name)}</title>')
        for curves, average, style in ((each.train, train, "training"), (each.val, val, "validation")):
            parts += [path(axes.at(enumerate(curve, 1)), "single") for curve in curves if len(curves) > 1]
            parts.append(path(axes.at(enumerate(average, 1)), style))
        parts += [mark("cross", x, y, "cross") for x, y in axes.at(each.reported)]
        parts.append(labels[len(levels) + number])
        parts.append("</g>")
    cursor = f'<path d="M0,{TOP}V{BOTTOM}"/><circle r="3.5"/><circle r="3.5"/>'
    parts.append(f'<g class="cursor" visibility="hidden">{cursor}</g>')
    data = f'data-box="{LEFT} {axes.x.end} {TOP} {BOTTOM} {longest} {axes.y.low} {axes.y.high}"'
    return Drawing(WIDTH, HEIGHT, "".join(parts)).inline(label, "curves", "group", data)
