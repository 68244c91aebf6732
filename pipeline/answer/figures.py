"""The answer as pictures: perplexity against text and against size, and against the seconds of training and of use."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline.answer.findings import Findings, Network
from pipeline.support import plotting
from pipeline.support.plotting import Axes, Line, add_axes, log_x, log_y, new_figure, write_labels
from pipeline.support.statistics import Estimate

WIDTH, HEIGHT, DOTS_PER_INCH = 7.2, 3.8, 200  # twice the pixels of a README's 700: 8 points are read as 11 pixels
TEXT_SIZE = 8
NETWORK, NGRAM, MIXED, ON_TOP = ("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"), ("#aa4499", "D")


@dataclass(frozen=True)
class Series:
    """A line through means with their intervals; ``labels`` are beside its points, "" for none."""

    style: tuple[str, str]
    line: str
    points: Sequence[tuple[float, Estimate]]
    labels: Sequence[str]

    @property
    def means(self) -> list[tuple[float, float]]:
        return [(x, value.mean) for x, value in self.points]


def _exact(value: float) -> Estimate:
    """A value without an interval: counting has no seeds."""
    return Estimate(value, None, None)


def _scale(axes: Axes, series: Sequence[Series]) -> None:
    """Make both scales logarithmic, with limits around all points and intervals."""
    every = [(x, value) for each in series for x, value in each.points]
    log_x(axes, [x for x, _ in every], is_narrow=True)
    log_y(axes, [height for _, value in every for height in (value.mean, value.low, value.high) if height is not None])


def _draw(axes: Axes, series: Sequence[Series]) -> None:
    """Draw all series, and label their points."""
    lines: list[Line] = []
    for each in series:
        colour, marker = each.style
        axes.plot(*zip(*each.means, strict=True), each.line, color=colour, linewidth=1.3, zorder=2.5)
        lines += pairwise(each.means)
        for x, value in each.points:
            bar = None
            if value.low is not None and value.high is not None:
                bar = [[value.mean - value.low], [value.high - value.mean]]
                lines.append(((x, value.low), (x, value.high)))
            axes.errorbar([x], [value.mean], yerr=bar, fmt=marker, color=colour, markersize=4.5, capsize=2, zorder=4)
    labels = [
        (text, *point, each.style[0])
        for each in series
        for text, point in zip(each.labels, each.means, strict=True)
        if text
    ]
    labels.sort(key=lambda label: -len(label[0]))  # the long ones name a series
    dots = [point for each in series for point in each.means]
    named = [(text, x, y) for text, x, y, _ in labels]
    write_labels(axes, named, dots, lines, keep=len(named), colours=[colour for *_, colour in labels])


def _named_at(number: int, name: str, count: int) -> list[str]:
    """The name of a series at one of its points."""
    labels = [""] * count
    labels[number] = name
    return labels


def learning_curves(findings: Findings) -> list[Series]:
    """The best n-gram, the default network and both mixed, on more and more of the text."""
    networks = findings.family("text")
    sizes, count = [each.text_chars for each in networks], len(networks)

    def series(style: tuple[str, str], line: str, means: Sequence[Estimate], name: str, at: int) -> Series:
        return Series(style, line, list(zip(sizes, means, strict=True)), _named_at(at, name, count))

    alone, mixed = ([findings.mean(each, is_mixed) for each in networks] for is_mixed in (False, True))
    return [
        series(NGRAM, "--", [_exact(each.ngram_test) for each in networks], "best n-gram", -1),
        series(NETWORK, "-", alone, findings.default.name, 0),
        series(MIXED, "-.", mixed, "both, mixed", count // 2),
    ]


def _counted(findings: Findings, xs: Sequence[float]) -> Series:
    """The n-grams of all orders, at these x."""
    points = [(x, _exact(each.test_perplexity)) for x, each in zip(xs, findings.counted, strict=True)]
    first, *orders = [str(each.order) for each in findings.counted]
    return Series(NGRAM, "--", points, [f"{first}-gram", *orders])


def _trained(findings: Findings, networks: Sequence[Network], xs: Sequence[float], **how: Any) -> Series:
    """Networks at these x."""
    points = [(x, findings.mean(each)) for x, each in zip(xs, networks, strict=True)]
    return Series(points=points, **how)


def _units(networks: Sequence[Network], first: str) -> list[str]:
    """The hidden sizes of networks, the first with words: LSTM 1x16, 32, 64."""
    return [first, *(each.name.rpartition("x")[2] for each in networks[1:])]


def by_stored_numbers(findings: Findings) -> list[Series]:
    """n-grams of all orders, networks alone and networks on top of an n-gram, by the numbers that they store."""
    alone, on_top = findings.by_size, findings.family("on top")
    sizes = [[each.stored_numbers for each in networks] for networks in (alone, on_top)]
    names = _units(alone, alone[0].name)
    return [
        _counted(findings, [each.entries for each in findings.counted]),
        _trained(findings, alone, sizes[0], style=NETWORK, line="-", labels=names),
        _trained(
            findings, on_top, sizes[1], style=ON_TOP, line=":", labels=_named_at(0, "on top of an n-gram", len(on_top))
        ),
    ]


def by_train_seconds(findings: Findings) -> list[Series]:
    """n-grams by the seconds to fit them, the default network trained longer and longer, and networks on top."""
    default, on_top = [*findings.family("budget"), findings.default], findings.family("on top")
    seconds = [[each.train_seconds for each in networks] for networks in (default, on_top)]
    return [
        _counted(findings, [each.fit_seconds for each in findings.counted]),
        _trained(
            findings, default, seconds[0], style=NETWORK, line="-", labels=_named_at(0, default[0].name, len(default))
        ),
        _trained(
            findings, on_top, seconds[1], style=ON_TOP, line=":", labels=_units(on_top, f"{on_top[0].name} on top")
        ),
    ]


def by_ms_per_char(findings: Findings) -> list[Series]:
    """n-grams, networks alone and networks on top of an n-gram, by the milliseconds to write a character."""
    alone, on_top = findings.by_size, findings.family("on top")
    times = [[each.ms_per_char or 0.0 for each in networks] for networks in (alone, on_top)]
    return [
        _counted(findings, [each.ms_per_char for each in findings.counted]),
        _trained(findings, alone, times[0], style=NETWORK, line="-", labels=_units(alone, alone[0].name)),
        _trained(findings, on_top, times[1], style=ON_TOP, line=":", labels=_units(on_top, f"{on_top[0].name} on top")),
    ]


def _picture(panels: Sequence[tuple[str, str, Sequence[Series]]]) -> bytes:
    """Panels side by side: title, label of x, and what is drawn."""
    figure = new_figure(WIDTH, HEIGHT, DOTS_PER_INCH)
    for number, (title, label, series) in enumerate(panels, start=1):
        axes = add_axes(figure, title, 100 + 10 * len(panels) + number, TEXT_SIZE + 1)
        axes.tick_params(labelsize=TEXT_SIZE)
        axes.set_xlabel(label, fontsize=TEXT_SIZE, parse_math=False)
        if number == 1:
            axes.set_ylabel("test perplexity per character", fontsize=TEXT_SIZE)
        _scale(axes, series)
    for axes, (_, _, series) in zip(figure.axes, panels, strict=True):
        _draw(axes, series)
    return plotting.png(figure, shades=16)


def answer_picture(findings: Findings) -> bytes:
    """Test perplexity against the characters of the text, and against the numbers stored."""
    curves, stored = learning_curves(findings), by_stored_numbers(findings)
    return _picture(
        [
            ("How much text there is", f"training characters of {findings.text}", curves),
            ("How much is stored", "numbers stored: parameters, n-grams", stored),
        ]
    )


def costs_picture(findings: Findings) -> bytes:
    """Test perplexity against the seconds of training, and against the milliseconds to write a character."""
    training, use = by_train_seconds(findings), by_ms_per_char(findings)
    return _picture(
        [
            ("How long it is trained", f"seconds of one core, on {findings.text}", training),
            ("How long a character takes", "milliseconds of one core", use),
        ]
    )
