"""Draw the answer: a panel for each sentence; and test perplexity against size, arithmetic and time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.answer.findings import UNITS, Findings, MeasuredModel
from pipeline.pages import plotting
from pipeline.pages.plotting import INK, Axes, add_axes, log_x, log_y, mean_with_interval, write_labels
from pipeline.support.statistics import Estimate, PairedComparison
from pipeline.training.differences import percent

WIDTH, HEIGHT, DOTS_PER_INCH = 7.2, 3.2, 200  # in inches, of a row
TEXT_SIZE = 8  # points; 11 pixels in a README, which shows the picture 700 pixels wide

# colour, marker and line of a series; the colour-blind can tell the colours apart (Okabe and Ito, Tol)
NETWORK, NGRAM, GATED = ("#0072b2", "o", "-"), ("#d55e00", "s", "--"), ("#d55e00", "P", "")
MIXED, ON_TOP, CONTROL = ("#009e73", "^", ""), ("#aa4499", "D", ":"), ("#777777", "v", "")

Style = tuple[str, str, str]
Panel = Callable[[Axes], Callable[[], None]]
"""Draws a panel; what it returns places the labels, when all panels are drawn and their sizes are final."""


@dataclass(frozen=True)
class PlottedLine:
    """A line through means with their intervals; ``labels`` are beside its points, "" for no label."""

    style: Style
    points: Sequence[tuple[float, Estimate]]
    labels: Sequence[str]

    @property
    def means(self) -> list[tuple[float, float]]:
        return [(x, value.mean) for x, value in self.points]


def _curves(title: str, label: str, series: Sequence[PlottedLine], differences: str = "") -> Panel:
    """Perplexities, or ``differences`` in percent, against what ``label`` names, on a logarithmic scale."""

    def draw(axes: Axes) -> Callable[[], None]:
        every = [point for each in series for point in each.points]
        heights = [height for _, value in every for height in (value.mean, *(value.ends or ()))]
        _describe(axes, title, label, differences or "test perplexity")
        log_x(axes, [x for x, _ in every])
        if differences:
            axes.set_ylim(min(*heights, 0) - 1, max(*heights, 0) + 1)
            axes.axhline(0, color=INK, linewidth=0.8)
        else:
            log_y(axes, heights)
        for each in series:
            colour, marker, line = each.style
            axes.plot(*zip(*each.means, strict=True), line, color=colour, linewidth=1.3, zorder=2.5)
            for x, value in each.points:
                mean_with_interval(axes, (colour, marker), x, value, markersize=4.5, capsize=2, zorder=4)
        labels = [
            (text, *point, each.style[0])
            for each in series
            for text, point in zip(each.labels, each.means, strict=True)
            if text
        ]
        labels.sort(key=lambda label: -len(label[0]))  # long ones name a series
        named, colours = [label[:3] for label in labels], [label[3] for label in labels]
        return lambda: write_labels(axes, named, keep=len(named), colours=colours)

    return draw


def _dots(findings: Findings, title: str, bar: str, systems: Mapping[str, tuple[str, Style]]) -> Panel:
    """Differences from ``bar``, a row for each of the ``systems`` that was compared with it."""
    keys = {f"{system} against {bar}": each for system, each in systems.items()}
    rows = [(*each, findings.compared[key]) for key, each in keys.items() if key in findings.compared]

    def draw(axes: Axes) -> Callable[[], None]:
        _describe(axes, title, f"% of perplexity, against {bar}", "")
        axes.axvline(0, color=INK, linewidth=0.8)
        for row, (_, (colour, marker, _), comparison) in enumerate(rows):
            value = _in_percent(comparison)
            low, high = value.ends or (value.mean, value.mean)
            error = [[value.mean - low], [high - value.mean]]
            axes.errorbar([value.mean], [row], xerr=error, fmt=marker, color=colour, markersize=5, capsize=3)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [name for name, *_ in rows], parse_math=False)
        return lambda: None

    return draw


def _describe(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=TEXT_SIZE + 1, parse_math=False)
    axes.set_xlabel(x, fontsize=TEXT_SIZE, parse_math=False)
    axes.set_ylabel(y, fontsize=TEXT_SIZE)
    axes.tick_params(labelsize=TEXT_SIZE)


def _picture(*panels: Panel) -> bytes:
    """Draw panels, two in a row."""
    rows = len(panels) // 2
    figure = plotting.new_figure(WIDTH, HEIGHT * rows, DOTS_PER_INCH)
    label = [draw(add_axes(figure, place=100 * rows + 21 + number)) for number, draw in enumerate(panels)]
    for each in label:
        each()
    return plotting.png(figure, shades=16)


def _in_percent(comparison: PairedComparison) -> Estimate:
    """A difference in percent of perplexity, with the interval by seeds and text."""
    both = comparison.over_both
    return Estimate(percent(both.mean), *map(percent, both.ends or ()))


def answer_picture(findings: Findings) -> bytes:
    """Draw a panel for each of the four sentences."""
    texts, systems = findings.family("text"), findings.systems
    network = systems["network"].name
    ends = [""] * (len(texts) - 1)
    by_text = [
        PlottedLine(NGRAM, [(each.text_chars, Estimate(each.ngram_test)) for each in texts], [*ends, "n-grams"]),
        PlottedLine(NETWORK, [(training.text_chars, findings.mean(training)) for training in texts], [network, *ends]),
    ]
    combined = {
        "network": (network, NETWORK),
        "two networks": ("two networks\nmixed", CONTROL),
        "mixed": ("network and\nn-grams mixed", MIXED),
        "on top": (f"{systems['on top'].shape}\non n-grams", ON_TOP),
    }
    learning = {
        "n-grams": ("n-grams that\ndo not adapt", GATED),
        "adaptive network": (f"{network}\nthat adapts", NETWORK),
        "adaptive both": ("both adapt", MIXED),
    }
    smallest, largest = (findings.by_size[end].name for end in (0, -1))
    small, sizes = f"Small: {smallest} to {largest}", list[PlottedLine]()
    for unit, style in zip(UNITS, (NETWORK, MIXED), strict=True):
        rivals = [rival for rival in findings.rivals if rival.unit == unit]
        labels = [f"by {unit}", *(f"{rival.network.hidden_size}" for rival in rivals[1:])]
        sizes.append(PlottedLine(style, [(rival.size, _in_percent(rival.comparison)) for rival in rivals], labels))
    return _picture(
        _curves("Alone", f"training characters of {findings.corpus}", by_text),
        _dots(findings, "Together", "n-grams", combined),
        _curves(small, "stored numbers, or shipped bytes", sizes, "% of perplexity, against pruned n-grams"),
        _dots(findings, "Adaptive", "adaptive n-grams", learning),
    )


def costs_picture(findings: Findings) -> bytes:
    """Draw test perplexity against the MACs and the milliseconds of a character."""
    *singles, together = findings.counted
    alone, on_top = findings.by_size, findings.family("on top")
    drawn = [  # style, models, and their labels, of which the first names the series
        (NGRAM, singles, [singles[0].name, *(f"{single.order}" for single in singles[1:])]),
        (GATED, [together], ["all orders"]),
        (NETWORK, alone, [alone[0].name, *(f"{each.hidden_size}" for each in alone[1:])]),
        (ON_TOP, on_top, [f"{on_top[0].shape} on n-grams", *(f"{model.hidden_size}" for model in on_top[1:])]),
    ]

    def panel(title: str, label: str, cost: Callable[[MeasuredModel], float]) -> Panel:
        def points(models: Sequence[MeasuredModel]) -> list[tuple[float, Estimate]]:
            return [(cost(model), findings.mean(model)) for model in models]

        return _curves(title, label, [PlottedLine(style, points(models), labels) for style, models, labels in drawn])

    python = f"milliseconds, of which Python takes {findings.python_ms:.2f} (LSTM 1x1)"
    return _picture(
        panel("Arithmetic of a character", "MACs", lambda each: each.macs_per_char),
        panel("Time of a character", python, lambda each: each.ms_per_char),
    )
