"""Draw the pictures of the report's page as SVG, which follows the page's light or dark colours and prints sharply.

The caption says what a picture shows, and labels it for screen readers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import chain
from math import log

from pipeline.report.reproduction import Configuration, Curve
from pipeline.support.wording import rounded

STYLE = """
.picture { display: block; width: 100%; height: auto; }
.picture text { font: 12px "Liberation Sans", Arial, Helvetica, sans-serif; fill: var(--ink, #1b1b1b); }
.picture .faint { fill: var(--faint, #595959); }
.picture .right { text-anchor: end; }
.picture .middle { text-anchor: middle; }
.picture line, .picture path, .picture polyline { fill: none; stroke-width: 1.2; }
.picture .grid { stroke: var(--line, #d5d5d5); stroke-width: .8; }
.picture .frame { stroke: var(--faint, #595959); }
.picture .ngram { stroke: var(--ink, #1b1b1b); stroke-dasharray: 5 3; }
.picture .train { stroke: var(--train, #1766a6); stroke-width: 1.8; stroke-dasharray: 5 2; }
.picture .val { stroke: var(--val, #b3261e); stroke-width: 1.8; }
.picture circle.train { fill: var(--paper, #fff); stroke-dasharray: none; }
.picture circle.val { fill: var(--val, #b3261e); }
.picture .seed { stroke-width: .6; opacity: .6; }
.picture .reported { stroke: var(--ink, #1b1b1b); stroke-width: 2; }
""".strip()

TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 1000, 10_000, 100_000, 1_000_000)

PANEL_WIDTH, PANEL_HEIGHT, TITLE_HEIGHT = 300, 180, 18


@dataclass(frozen=True)
class Picture:
    """A drawing of SVG elements in a box of ``width`` x ``height`` units."""

    width: float
    height: float
    elements: str

    def inline(self, caption: str) -> str:
        """The SVG element for a page, labelled by the element whose id is ``caption``."""
        box = f'viewBox="0 0 {self.width} {self.height}"'
        return f'<svg class="picture" {box} role="img" aria-labelledby="{caption}">{self.elements}</svg>'


def as_file(pictures: Mapping[str, Picture], columns: int = 1) -> str:
    """Arrange pictures in columns, each below its title, as an SVG file on white."""
    width = max(each.width for each in pictures.values())
    height = max(each.height for each in pictures.values()) + TITLE_HEIGHT
    size = f'width="{columns * width}" height="{-(-len(pictures) // columns) * height}"'
    placed = [
        f'<g transform="translate({number % columns * width} {number // columns * height + TITLE_HEIGHT})">'
        f"{_text(4, -4, title)}{each.elements}</g>"
        for number, (title, each) in enumerate(pictures.items())
    ]
    style = STYLE.partition("\n")[2]  # without the first rule, which fits the picture to the page
    head = f'<svg class="picture" xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>'
    return f'{head}<rect {size} fill="#fff"/>{"".join(placed)}</svg>\n'


@dataclass(frozen=True)
class LogScale:
    """A logarithmic axis that maps low..high to start..end; values outside are drawn at the nearer end."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = log(max(self.low, min(self.high, value)) / self.low) / log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[int]:
        return [tick for tick in TICKS if self.low <= tick <= self.high]


def _scale(values: Iterable[float], start: float, end: float) -> LogScale:
    """An axis for these perplexities that includes at least 1 to 23, as reported curves start at a random guess."""
    return LogScale(1, min(1.1 * max([23.0, *values]), 1e6), start, end)


def _text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x}" y="{y}" class="{style}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{style}"/>'


def _dot(x: float, y: float, style: str) -> str:
    return f'<circle cx="{x}" cy="{y}" r="4.5" class="{style}"/>'


def _cross(x: float, y: float) -> str:
    """The mark of a reported value."""
    return f'<path d="M{x - 4} {y - 4}l8 8m0 -8l-8 8" class="reported"/>'


def answer_picture(configurations: Sequence[Configuration], ngrams: Mapping[str, float]) -> Picture:
    """Draw a row for each configuration: the reported perplexity, and where training and validation end, on a log axis.

    ``ngrams`` maps labels of vertical lines to perplexities.
    """
    left, width, row = 134, 490, 19
    bottom = 22 + row * len(configurations)
    ends = [each.mean_curve("train")[-1:] + each.mean_curve("val")[-1:] for each in configurations]
    x = _scale([*chain(*ends), *ngrams.values()], left + 10, width - 8)
    parts = [_line(x.at(tick), 18, x.at(tick), bottom, "grid") for tick in x.ticks]
    parts += [_text(x.at(tick), bottom + 14, f"{tick:,}", "middle faint") for tick in x.ticks]
    for label, value in ngrams.items():
        words = f"{label} {rounded(value)}"
        parts += [_line(x.at(value), 15, x.at(value), bottom, "ngram"), _text(x.at(value), 11, words, "middle")]
    for number, configuration in enumerate(configurations):
        y = 31 + row * number
        parts.append(_text(left, y + 4, configuration.label[:22], "right"))
        if ends[number]:
            train, val = map(x.at, ends[number])
            best = x.at(configuration.mean_best_val)
            parts += [_line(train, y, val, y, "frame"), _line(best, y - 6, best, y + 6, "val")]
            parts += [_dot(train, y, "train"), _dot(val, y, "val")]
        if not configuration.whole:
            parts.append(_text(x.at(2.2), y + 4, configuration.progress, "faint"))
        if (end := configuration.reported.perplexity_end) is not None:
            parts.append(_cross(x.at(end), y))
    parts.append(_text((left + width) / 2, bottom + 30, "perplexity per character (book average, log scale)", "middle"))
    return Picture(width, bottom + 36, "".join(parts))


def _curve(values: Sequence[float], left: float, step: float, y: LogScale, style: str) -> str:
    points = [f"{left + step * epoch:.1f},{y.at(value)}" for epoch, value in enumerate(values, 1)]
    return f'<polyline points="{" ".join(points)}" class="{style}"/>'


def curves_picture(configuration: Configuration, planned: int, ngrams: Mapping[str, float]) -> Picture:
    """Draw training and validation perplexity by epoch: seeds thin, their means thick, reported values as crosses."""
    left, right, top, bottom = 30, PANEL_WIDTH - 8, 10, PANEL_HEIGHT - 20
    runs, reported = configuration.furthest, configuration.reported
    y = _scale([value for run in runs for value in (*run.train, *run.val)], bottom, top)
    parts = [_line(left, y.at(tick), right, y.at(tick), "grid") for tick in y.ticks]
    parts += [_text(left - 4, y.at(tick) + 4, f"{tick:,}", "right faint") for tick in y.ticks]
    parts += [_line(left, y.at(value), right, y.at(value), "ngram") for value in ngrams.values()]
    step = (right - left) / max([planned, *(run.epochs for run in runs)])
    curves: tuple[Curve, ...] = ("train", "val")
    for curve in curves:
        if len(runs) > 1:
            parts += [_curve(getattr(run, curve), left, step, y, f"{curve} seed") for run in runs]
        if runs:
            parts.append(_curve(configuration.mean_curve(curve), left, step, y, curve))
    ends = ((left, reported.perplexity_start), (right, reported.perplexity_end))
    parts += [_cross(x, y.at(value)) for x, value in ends if value is not None]
    if not configuration.whole:
        parts.append(_text((left + right) / 2, top + 40, configuration.progress, "middle faint"))
    words = ((left, "0", "middle"), ((left + right) / 2, "epoch", "middle"), (right, f"{planned}", "right"))
    parts += [_text(x, bottom + 15, text, f"{style} faint") for x, text, style in words]
    return Picture(PANEL_WIDTH, PANEL_HEIGHT, "".join(parts))
