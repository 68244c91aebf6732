"""Draw the explorer of the report's page: two charts as inline SVG, which a small script of the page explains.

Both charts show perplexities pooled over all characters, because the n-gram baselines beside them are pooled too.
Everything is drawn here; the script (templates/explorer.js) only looks figures up and moves a marker, and the style
sheet chooses which curves are coloured, so that the charts read, and the choice works, without scripts.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log, log10
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from pipeline.report.page.rendering import TEMPLATES, html_environment
from pipeline.report.reproduction import Configuration, Reproduction
from pipeline.report.statements.verdicts import WORDS, Verdict
from pipeline.report.wording import counted, rounded
from pipeline.support.plotting import drawable, si
from pipeline.support.statistics import geometric_mean

WIDTH, HEIGHT = 360, 280  # of a chart, in user units: about the pixels of a narrow screen
LEFT, RIGHT, TOP, BOTTOM = 30, 280, 20, 244  # edges of the plot
LINE_HEIGHT = 12

COLOURS = 6  # of the style sheet

MARKS = {"rnn": "circle", "gru": "square", "lstm": "triangle"}  # cell -> shape of its points


@dataclass(frozen=True)
class Scale:
    """Map values from ``low`` to ``high`` to user units from ``start`` to ``end``."""

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool = True

    def __call__(self, value: float) -> float:
        low, high = (log(edge) if self.is_logarithmic else edge for edge in (self.low, self.high))
        share = ((log(value) if self.is_logarithmic else value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    @property
    def ticks(self) -> list[float]:
        """Round numbers within the scale: a decade has one to four of them."""
        if not self.is_logarithmic:
            sizes = (digit * 10**power for power in range(9) for digit in (1, 2, 5))
            step = next(size for size in sizes if self.high <= 6 * size)
            return [float(value) for value in range(step, floor(self.high) + 1, step)]
        digits = (1, 2, 3, 5) if self.high < 50 * self.low else (1,)
        powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        values = [digit * 10.0**power for power in powers for digit in digits]
        return [value for value in values if self.low <= value <= self.high]


@dataclass(frozen=True)
class Label:
    """A text beside the end (x, end) of a line, itself at the height y."""

    text: str
    x: float
    y: float
    end: float


@dataclass(frozen=True)
class Point:
    """A configuration with its number among those that are drawn."""

    number: int
    configuration: Configuration

    @property
    def shape(self) -> str:
        """The name inside a chart, where there is little room."""
        reported = self.configuration.reported
        return f"{reported.cell.upper()} {reported.num_layers}x{reported.hidden_size}"

    @property
    def cost(self) -> int:
        return self.configuration.complexity.macs_per_char

    @property
    def seeds(self) -> list[float]:
        """Pooled validation perplexity at the best epoch, by seed."""
        return [drawable(run.val_pooled)[run.best_epoch - 1] for run in self.configuration.furthest]

    @property
    def mean(self) -> float:
        return geometric_mean(self.seeds)

    @property
    def title(self) -> str:
        return (
            f"{_named(self.configuration)}: validation perplexity {rounded(self.mean)} (pooled, at the best epoch, "
            f"{counted(len(self.seeds), 'seed')}), {self.cost:,} MACs per character"
        )

    @property
    def other_recipe(self) -> list[float]:
        """Validation perplexity, windowed and pooled, of the shape by the stream recipe on the same text, by seed."""
        same = (run for run in self.configuration.same_text if run.is_whole)
        return [run.windowed for run in same if run.windowed is not None]

    @property
    def other_sentence(self) -> str:
        if not self.other_recipe:
            return ""
        return f"by the stream recipe on the same characters: validation {rounded(geometric_mean(self.other_recipe))}"


def explorer_html(reproduction: Reproduction, verdicts: Sequence[Verdict] = ()) -> str:
    """Render the explorer as one HTML element; "" without any training."""
    trained = [configuration for configuration in reproduction.configurations if configuration.furthest]
    if not trained:
        return ""
    bars = compared_ngrams(reproduction)
    shown = _shown_first(trained)
    return (
        html_environment()
        .get_template("explorer.html.jinja")
        .render(
            box=(LEFT, RIGHT, TOP, BOTTOM, WIDTH, HEIGHT),
            colours=COLOURS,
            front=_front(trained, bars),
            curves=_curves(trained, bars),
            choices=[
                {"label": _named(configuration), "is_shown": configuration.id in shown} for configuration in trained
            ],
            data=[_explained(Point(*numbered), verdicts) for numbered in enumerate(trained)],
            script=(TEMPLATES / "explorer.js").read_text(),
        )
    )


def compared_ngrams(reproduction: Reproduction) -> dict[str, float]:
    """The n-grams that are drawn: letter frequencies, 4-gram and the best order, in the networks' windows."""
    known = reproduction.text.windowed
    best = min(known, key=lambda order: known[order], default=4)
    names = {1: "letters", 4: "4-gram", best: f"{best}-gram"}
    return {f"{name} {rounded(known[order])}": known[order] for order, name in names.items() if order in known}


def _shown_first(trained: Sequence[Configuration]) -> set[str]:
    """The configurations that are coloured at first: the best, the one of the widest gap, the worst."""
    trained = [configuration for configuration in trained if configuration.whole] or trained
    ranked = sorted(trained, key=lambda configuration: configuration.mean_best_val)
    widest = max(
        trained, key=lambda configuration: configuration.mean_curve("val")[-1] - configuration.mean_curve("train")[-1]
    )
    return {ranked[0].id, widest.id, ranked[-1].id}


def _named(configuration: Configuration) -> str:
    return f"{configuration.label} ({configuration.progress})" if configuration.progress else configuration.label


# --- the charts ------------------------------------------------------------------------------------------------------


def _scale_of(perplexities: Iterable[float]) -> Scale:
    values = list(perplexities)
    return Scale(min(values) / 1.08, max(values) * 1.08, BOTTOM, TOP)


def _front(trained: Sequence[Configuration], bars: dict[str, float]) -> dict[str, Any]:
    """Best validation perplexity against MACs per character: seeds, means, the front, n-grams."""
    points = [Point(number, configuration) for number, configuration in enumerate(trained)]
    others = {point.shape: point for point in points if point.other_recipe}  # one for each shape
    costs = [point.cost for point in points]
    x = Scale(min(costs) / 4, max(costs) * 1.5, LEFT, RIGHT)
    seeds = [value for point in points for value in (*point.seeds, *point.other_recipe)]
    y = _scale_of([*bars.values(), *seeds])
    best = _undominated(points)
    cells = {configuration.reported.cell for configuration in trained}
    return {
        "points": [
            {
                "number": point.number,
                "title": point.title,
                "mark": MARKS[point.configuration.reported.cell],
                "x": x(point.cost),
                "y": y(point.mean),
                "seeds": [y(value) for value in point.seeds],
                "is_whole": bool(point.configuration.whole),
            }
            for point in points
        ],
        "others": [
            {"title": f"{shape} {point.other_sentence}", "x": x(point.cost), "y": y(geometric_mean(point.other_recipe))}
            for shape, point in others.items()
        ],
        "line": _path([(x(point.cost), y(point.mean)) for point in best]),
        "names": [{"text": point.shape, "x": x(point.cost) - 7, "y": y(point.mean) + 7} for point in best],
        "x_ticks": [(x(tick), si(tick)) for tick in x.ticks],
        "y_ticks": [(y(tick), f"{tick:g}") for tick in y.ticks],
        "bars": _apart([(name, RIGHT, y(value)) for name, value in bars.items()]),
        "marks": [f"{mark} {cell.upper()}" for cell, mark in MARKS.items() if cell in cells],
    }


def _undominated(points: Sequence[Point]) -> list[Point]:
    """The complete ones than which none costs less and has a lower perplexity, by cost."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, point.mean)):
        if point.configuration.whole and (not best or point.mean < best[-1].mean):
            best.append(point)
    return best


def _curves(trained: Sequence[Configuration], bars: dict[str, float]) -> dict[str, Any]:
    """Training and validation perplexity by epoch: seeds, means, reported values, n-grams."""
    longest = max(run.epochs_planned for configuration in trained for run in configuration.furthest)
    x = Scale(0, longest, LEFT, RIGHT, is_logarithmic=False)
    every = list(bars.values())
    for configuration in trained:
        every += [value for _, value in _reported(configuration)]
        every += [value for run in configuration.furthest for value in drawable([*run.train_pooled, *run.val_pooled])]
    y = _scale_of(every)
    lines, ends = [], [(name, float(RIGHT), y(value)) for name, value in bars.items()]
    for number, configuration in enumerate(trained):
        line: dict[str, Any] = {"number": number, "title": _named(configuration), "seeds": []}
        for curve in ("train_pooled", "val_pooled"):
            runs = [drawable(getattr(run, curve)) for run in configuration.furthest]
            line[curve] = _by_epoch(x, y, [geometric_mean(values) for values in zip(*runs, strict=False)])
            line["seeds"] += [_by_epoch(x, y, run) for run in runs] if len(runs) > 1 else []
        line["reported"] = [(x(epoch), y(value)) for epoch, value in _reported(configuration)]
        lines.append(line)
        epochs = len(configuration.mean_curve("val"))
        last = geometric_mean([drawable(run.val_pooled)[epochs - 1] for run in configuration.furthest])
        ends.append((Point(number, configuration).shape, x(epochs), y(last)))
    labels = _apart(ends)
    return {
        "lines": [{**line, "label": label} for line, label in zip(lines, labels[len(bars) :], strict=True)],
        "bars": labels[: len(bars)],
        "x_ticks": [(x(tick), f"{tick:g}") for tick in x.ticks],
        "y_ticks": [(y(tick), f"{tick:g}") for tick in y.ticks],
        "scale": {"epochs": longest, "low": y.low, "high": y.high},
    }


def _reported(configuration: Configuration) -> list[tuple[int, float]]:
    """The reported perplexities, after the first and the last of the planned epochs."""
    reported = configuration.reported
    planned = max(run.epochs_planned for run in configuration.furthest)
    ends = ((1, reported.perplexity_start), (reported.epoch or planned, reported.perplexity_end))
    return [(epoch, value) for epoch, value in ends if value is not None]


def _by_epoch(x: Scale, y: Scale, perplexities: Sequence[float]) -> str:
    return _path([(x(epoch), y(value)) for epoch, value in enumerate(perplexities, 1)])


def _path(points: Sequence[tuple[float, float]]) -> str:
    """The points as an SVG path; a single one is a short dash."""
    if len(points) == 1:
        points = [points[0], (points[0][0] + 2, points[0][1])]
    return "M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) if points else ""


def _apart(ends: Sequence[tuple[str, float, float]]) -> list[Label]:
    """Place a label beside the end (text, x, y) of each line: as near as possible, without overlap at the same x."""
    labels: dict[int, Label] = {}
    for place in {x for _, x, _ in ends}:
        group = sorted((number for number, end in enumerate(ends) if end[1] == place), key=lambda n: ends[n][2])
        gap = min(LINE_HEIGHT, (BOTTOM - TOP) / len(group))
        offsets = gap * np.arange(len(group))
        starts = isotonic_regression([ends[number][2] for number in group] - offsets).x
        heights = starts.clip(TOP, BOTTOM - offsets[-1]) + offsets
        for number, height in zip(group, heights, strict=True):
            text, _, end = ends[number]
            labels[number] = Label(text, place, float(height), end)
    return [labels[number] for number in range(len(ends))]


# --- what the script is given ----------------------------------------------------------------------------------------


def _explained(point: Point, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The figures that the script shows of a configuration, with four significant digits."""
    configuration, runs = point.configuration, point.configuration.furthest
    words = Counter(verdict.word for verdict in verdicts if verdict.statement.configurations[:1] == (configuration.id,))
    tally = ", ".join(f"{words[word]} {word}" for word in WORDS if words[word])
    texts = next((run for run in runs if run.texts), None)
    return {
        "name": _named(configuration),
        "cost": f"{point.cost:,} MACs per character",
        "seeds": [run.seed for run in runs],
        "planned": max(run.epochs_planned for run in runs),
        "best": [run.best_epoch for run in runs],
        **{
            curve: [[float(f"{value:.4g}") for value in drawable(getattr(run, curve))] for run in runs]
            for curve in ("train", "val", "train_pooled", "val_pooled")
        },
        "other": point.other_sentence,
        "text": f"seed {texts.seed} writes “{texts.texts[0][1]}”" if texts else "",
        "statements": tally,
    }
