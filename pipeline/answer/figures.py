"""Draw the answer: test perplexity against text and stored numbers, and against the time of training and of use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.answer.findings import CountedModel, Findings, Network
from pipeline.support import plotting
from pipeline.support.plotting import Line, add_axes, log_x, log_y, mean_with_interval, new_figure, write_labels
from pipeline.support.statistics import Estimate

WIDTH, HEIGHT, DOTS_PER_INCH = 7.2, 3.8, 200  # in inches; shown 700 pixels wide in a README, 8 points are 11 pixels
TEXT_SIZE = 8


# colour, marker and line of a series; the colour-blind can tell the colours apart (Okabe and Ito, Tol)
NETWORK, NGRAM, GATED = ("#0072b2", "o", "-"), ("#d55e00", "s", "--"), ("#d55e00", "P", "")
MIXED, ON_TOP = ("#009e73", "^", "-."), ("#aa4499", "D", ":")


@dataclass(frozen=True)
class Series:
    """A line through means with their intervals; ``labels`` are beside its points, "" for no label."""

    style: tuple[str, str, str]
    points: Sequence[tuple[float, Estimate]]
    labels: Sequence[str]

    @property
    def means(self) -> list[tuple[float, float]]:
        return [(x, value.mean) for x, value in self.points]


def _by_cost(
    findings: Findings,
    alone: Sequence[Network],
    of_ngram: Callable[[CountedModel], float],
    of_network: Callable[[Network], float],
) -> list[Series]:
    """N-grams of each order and of all, the networks ``alone``, and those on top of n-grams, against a cost."""

    def series(style: tuple[str, str, str], networks: Sequence[Network], partner: str = "") -> Series:
        points = [(of_network(each), findings.mean(each)) for each in networks]
        sizes = ["" if each.name == networks[0].name else each.name.rpartition("x")[2] for each in networks[1:]]
        return Series(style, points, [networks[0].name + partner, *sizes])

    *singles, together = [(of_ngram(each), Estimate(each.test_perplexity)) for each in findings.counted]
    first, *orders, longest = [each.order for each in findings.counted]
    return [
        Series(NGRAM, singles, [f"{first}-gram", *map(str, orders)]),
        Series(GATED, [together], [f"1 to {longest}"]),
        series(NETWORK, alone),
        series(ON_TOP, findings.family("on top"), " on n-grams"),
    ]


def _picture(panels: Sequence[tuple[str, str, Sequence[Series]]]) -> bytes:
    """Draw panels side by side, each with a title, a label of the x axis and series; all axes are logarithmic."""
    figure = new_figure(WIDTH, HEIGHT, DOTS_PER_INCH)
    for number, (title, label, series) in enumerate(panels, start=1):
        axes = add_axes(figure, title, 100 + 10 * len(panels) + number, TEXT_SIZE + 1)
        axes.tick_params(labelsize=TEXT_SIZE)
        axes.set_xlabel(label, fontsize=TEXT_SIZE, parse_math=False)
        if number == 1:
            axes.set_ylabel("test perplexity per character", fontsize=TEXT_SIZE)
        every = [point for each in series for point in each.points]
        heights = [height for _, value in every for height in (value.mean, *(value.ends or ()))]
        log_x(axes, [x for x, _ in every], is_narrow=True)
        log_y(axes, heights)
    for axes, (_, _, series) in zip(figure.axes, panels, strict=True):  # labels are placed in the final scales
        lines: list[Line] = []
        for each in series:
            colour, marker, line = each.style
            axes.plot(*zip(*each.means, strict=True), line, color=colour, linewidth=1.3, zorder=2.5)
            lines += pairwise(each.means)
            for x, value in each.points:
                mean_with_interval(axes, (colour, marker), x, value, markersize=4.5, capsize=2, zorder=4)
                if value.ends:
                    lines.append(((x, value.ends[0]), (x, value.ends[1])))
        labels = [
            (text, *point, each.style[0])
            for each in series
            for text, point in zip(each.labels, each.means, strict=True)
            if text
        ]
        labels.sort(key=lambda label: -len(label[0]))  # long ones name a series
        dots = [point for each in series for point in each.means]
        named, colours = [label[:3] for label in labels], [label[3] for label in labels]
        write_labels(axes, named, dots, lines, keep=len(named), colours=colours)
    return plotting.png(figure, shades=16)


def answer_picture(findings: Findings) -> bytes:
    """Draw test perplexity against the training characters, and against the numbers stored."""
    texts = findings.family("text")

    def curve(style: tuple[str, str, str], mean: Callable[[Network], Estimate], name: str, at: int) -> Series:
        labels = [name if number == at else "" for number in range(len(texts))]
        return Series(style, [(each.text_chars, mean(each)) for each in texts], labels)

    curves = [
        curve(NGRAM, lambda each: Estimate(each.ngram_test), "n-grams", max(0, len(texts) - 2)),
        curve(NETWORK, findings.mean, findings.default.name, 0),
        curve(MIXED, lambda each: findings.mean(each, mixed=True), "both, mixed", len(texts) // 2),
    ]
    stored = _by_cost(findings, findings.by_size, lambda each: each.entries, lambda each: each.stored_numbers)
    return _picture(
        [
            ("How much text there is", f"training characters of {findings.text}", curves),
            ("How much is stored", "numbers stored: parameters, n-grams", stored),
        ]
    )


def costs_picture(findings: Findings) -> bytes:
    """Draw test perplexity against the seconds of training, and against the milliseconds to generate a character."""
    longer = [*findings.family("budget"), findings.default]
    training = _by_cost(findings, longer, lambda each: each.fit_seconds, lambda each: each.train_seconds)
    use = _by_cost(findings, findings.by_size, lambda each: each.ms_per_char, lambda each: each.ms_per_char or 0.0)
    return _picture(
        [
            ("How long it is trained", f"seconds of one core, on {findings.text}", training),
            ("How long a character takes", "milliseconds of one core", use),
        ]
    )
