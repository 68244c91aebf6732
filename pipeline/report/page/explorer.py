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
from pipeline.report.reproduction import Configuration, RecordedTraining, Reproduction
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
            step = next(step for step in (1, 2, 5, 10, 25, 50, 100, 250, 1000) if self.high <= 6 * step)
            return [float(value) for value in range(step, floor(self.high) + 1, step)]
        steps = (1, 2, 3, 5) if self.high < 50 * self.low else (1,)
        powers = range(floor(log10(self.low)), ceil(log10(self.high)) + 1)
        values = [step * 10.0**power for power in powers for step in steps]
        return [value for value in values if self.low <= value <= self.high]


@dataclass(frozen=True)
class Label:
    """A text beside the end (x, end) of a line, itself at the height y."""

    text: str
    x: float
    y: float
    end: float


def explorer_html(reproduction: Reproduction, verdicts: Sequence[Verdict] = ()) -> str:
    """Render the explorer as one HTML element; "" without any training."""
    trained = [configuration for configuration in reproduction.configurations if configuration.furthest]
    if not trained:
        return ""
    bars = compared_ngrams(reproduction)
    shown = _shown_first(trained)
    return html_environment().get_template("explorer.html.jinja").render(
        box=(LEFT, RIGHT, TOP, BOTTOM, WIDTH, HEIGHT),
        colours=COLOURS,
        front=_front(trained, bars),
        curves=_curves(trained, bars),
        choices=[{"label": _named(configuration), "is_shown": configuration.id in shown} for configuration in trained],
        data=[_explained(configuration, verdicts) for configuration in trained],
        script=(TEMPLATES / "explorer.js").read_text(),
    )


def compared_ngrams(reproduction: Reproduction) -> dict[str, float]:
    """The n-grams that are drawn: letter frequencies, 4-gram and the best order, in the networks' windows."""
    known = reproduction.text.windowed
    best = min(known, key=lambda order: known[order])
    names = {1: "letters", 4: "4-gram", best: f"{best}-gram"}
    return {f"{name} {rounded(known[order])}": known[order] for order, name in names.items() if order in known}


def best_pooled(run: RecordedTraining) -> float:
    """The pooled validation perplexity at the best epoch."""
    return drawable(run.val_pooled)[run.best_epoch - 1]


def other_recipe(configuration: Configuration) -> list[float]:
    """Validation perplexities, in windows and pooled, of the shape by the stream recipe on the same text, by seed."""
    return [run.windowed for run in configuration.same_text if run.is_whole and run.windowed is not None]


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


def _shape(configuration: Configuration) -> str:
    """The name inside a chart, where there is little room."""
    reported = configuration.reported
    return f"{reported.cell.upper()} {reported.num_layers}x{reported.hidden_size}"


# --- the charts ------------------------------------------------------------------------------------------------------


def _scale_of(perplexities: Iterable[float]) -> Scale:
    values = list(perplexities)
    return Scale(min(values) / 1.08, max(values) * 1.08, BOTTOM, TOP)


def _front(trained: Sequence[Configuration], bars: dict[str, float]) -> dict[str, Any]:
    """Best validation perplexity against MACs per character: seeds, means, the front, n-grams."""
    cells = {configuration.reported.cell for configuration in trained}
    costs = [configuration.complexity.macs_per_char for configuration in trained]
    seeds = [[best_pooled(run) for run in configuration.furthest] for configuration in trained]
    means = [geometric_mean(values) for values in seeds]
    x = Scale(min(costs) / 4, max(costs) * 1.5, LEFT, RIGHT)
    others = {configuration.shape: configuration for configuration in trained if other_recipe(configuration)}
    other_means = {shape: geometric_mean(other_recipe(configuration)) for shape, configuration in others.items()}
    y = _scale_of([*bars.values(), *other_means.values(), *(value for values in seeds for value in values)])
    order = sorted(range(len(trained)), key=lambda number: (costs[number], means[number]))
    best, lowest = [], float("inf")
    for number in order:
        if trained[number].whole and means[number] < lowest:
            lowest = means[number]
            best.append(number)
    points = [
        {
            "number": number,
            "title": f"{_named(configuration)}: validation perplexity {rounded(mean)} (pooled, at the best epoch, "
            f"{counted(len(values), 'seed')}), {cost:,} MACs per character",
            "mark": MARKS[configuration.reported.cell],
            "x": x(cost),
            "y": y(mean),
            "seeds": [y(value) for value in values],
            "is_whole": bool(configuration.whole),
        }
        for number, (configuration, cost, values, mean) in enumerate(zip(trained, costs, seeds, means, strict=True))
    ]
    return {
        "points": points,
        "others": [
            {
                "title": f"{_shape(configuration)} by the stream recipe on the same characters: "
                f"{rounded(other_means[shape])}",
                "x": x(configuration.complexity.macs_per_char),
                "y": y(other_means[shape]),
            }
            for shape, configuration in others.items()
        ],
        "line": _path([(x(costs[number]), y(means[number])) for number in best]),
        "names": [
            {"text": _shape(trained[number]), "x": x(costs[number]) - 7, "y": y(means[number]) + 12} for number in best
        ],
        "x_ticks": [(x(tick), si(tick)) for tick in x.ticks],
        "y_ticks": [(y(tick), f"{tick:g}") for tick in y.ticks],
        "bars": _apart([(name, RIGHT, y(value)) for name, value in bars.items()]),
        "marks": [f"{mark} {cell.upper()}" for cell, mark in MARKS.items() if cell in cells],
    }


def _curves(trained: Sequence[Configuration], bars: dict[str, float]) -> dict[str, Any]:
    """Training and validation perplexity by epoch: seeds, means, reported values, n-grams."""
    longest = max(run.epochs_planned for configuration in trained for run in configuration.furthest)
    x = Scale(0, longest, LEFT, RIGHT, is_logarithmic=False)
    every = [
        value
        for configuration in trained
        for run in configuration.furthest
        for value in drawable([*run.train_pooled, *run.val_pooled])
    ]
    y = _scale_of([*bars.values(), *every])
    lines, ends = [], [(name, float(RIGHT), y(value)) for name, value in bars.items()]
    for number, configuration in enumerate(trained):
        line: dict[str, Any] = {"number": number, "title": _named(configuration), "seeds": []}
        for curve in ("train_pooled", "val_pooled"):
            runs = [drawable(getattr(run, curve)) for run in configuration.furthest]
            line[curve] = _by_epoch(x, y, [geometric_mean(values) for values in zip(*runs, strict=False)])
            line["seeds"] += [_by_epoch(x, y, run) for run in runs] if len(runs) > 1 else []
        reported = configuration.reported
        planned = max(run.epochs_planned for run in configuration.furthest)
        points = ((1, reported.perplexity_start), (planned, reported.perplexity_end))
        line["reported"] = [
            (x(epoch), y(value)) for epoch, value in points if value is not None and y.low <= value <= y.high
        ]
        lines.append(line)
        epochs = len(configuration.mean_curve("val"))
        last = geometric_mean([drawable(run.val_pooled)[epochs - 1] for run in configuration.furthest])
        ends.append((_shape(configuration), x(epochs), y(last)))
    labels = _apart(ends)
    return {
        "lines": [{**line, "label": label} for line, label in zip(lines, labels[len(bars) :], strict=True)],
        "bars": labels[: len(bars)],
        "x_ticks": [(x(tick), f"{tick:g}") for tick in x.ticks],
        "y_ticks": [(y(tick), f"{tick:g}") for tick in y.ticks],
        "scale": {"epochs": longest, "low": y.low, "high": y.high},
    }


def _by_epoch(x: Scale, y: Scale, perplexities: Sequence[float]) -> str:
    return _path([(x(epoch), y(value)) for epoch, value in enumerate(perplexities, 1)])


def _path(points: Sequence[tuple[float, float]]) -> str:
    """The points as an SVG path; a single one is a short dash."""
    if len(points) == 1:
        points = [points[0], (points[0][0] + 2, points[0][1])]
    return "M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


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


def _explained(configuration: Configuration, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The figures that the script shows of a configuration, with four significant digits."""
    runs = configuration.furthest
    words = Counter(verdict.word for verdict in verdicts if verdict.statement.configurations[:1] == (configuration.id,))
    tally = ", ".join(f"{words[word]} {word}" for word in WORDS if words[word])
    texts = next((run for run in runs if run.texts), None)
    return {
        "name": _named(configuration),
        "cost": f"{configuration.complexity.macs_per_char:,} MACs per character",
        "seeds": [run.seed for run in runs],
        "planned": max(run.epochs_planned for run in runs),
        "best": [run.best_epoch for run in runs],
        **{
            curve: [[float(f"{value:.4g}") for value in drawable(getattr(run, curve))] for run in runs]
            for curve in ("train", "val", "train_pooled", "val_pooled")
        },
        "other": f"its shape by the stream recipe on the same characters: {rounded(geometric_mean(other))} in validation"
        if (other := other_recipe(configuration))
        else "",
        "text": f"seed {texts.seed} writes “{texts.texts[0][1]}”" if texts else "",
        "statements": tally,
    }
