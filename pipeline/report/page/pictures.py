"""The charts of the report's page: the explorer, ends of all configurations, and the curves of each.

The explorer shows perplexities pooled over all characters, because the n-gram baselines beside them are pooled too; the
others show the book's average, as the report does.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain

from pipeline.report.page.sentences import ENDS
from pipeline.report.reproduction import Configuration, Reproduction
from pipeline.report.statements.verdicts import WORDS, Verdict
from pipeline.report.table import protocol_epochs
from pipeline.support.drawing import LARGEST, drawable
from pipeline.support.page import charts
from pipeline.support.page.charts import Axes, Row, Scale, Series, Shape, Wording
from pipeline.support.page.document import Drawing, Explorer, Span
from pipeline.support.statistics import geometric_mean
from pipeline.support.wording import rounded

CAPTION = (
    "Perplexity per character under the report's protocol, pooled: exp of the mean cross-entropy over all characters "
    "of the split, as for the n-grams. The book's average, which the tables have, is the mean over batches of exp of "
    "the loss and a little higher. Left: validation at the best epoch; small dots are seeds, marks their means "
    "({shapes}), hollow where epochs are missing{others}. Right: thin lines are seeds, thick ones their means, grey "
    "ones the validation of the others; crosses are as reported, for the first and the last epoch. Dashed levels: "
    "n-grams fitted on the same training characters, which read each window of 32 validation characters on its own, "
    "as the networks do."
)

OTHERS = "; diamonds are the same shapes by this project's stream recipe, on the same characters"


def explorer(reproduction: Reproduction, verdicts: Sequence[Verdict] = ()) -> Explorer | None:
    """Draw the explorer; None without any training."""
    trained = [configuration for configuration in reproduction.configurations if configuration.furthest]
    if not trained:
        return None
    ranked = sorted([each for each in trained if each.whole] or trained, key=lambda each: each.mean_best_val)
    widest = max(ranked, key=lambda each: each.mean_curve("val")[-1] - each.mean_curve("train")[-1])
    points = [(each.complexity.macs_per_char, geometric_mean(_best(each))) for each in ranked if each.whole]
    front = {ranked[number].id for number in charts.undominated(points)}
    shown = {ranked[0].id, widest.id, ranked[-1].id}
    series = [_series(each, each.id in shown, each.id in front, verdicts) for each in trained]
    others = OTHERS if any(each.other for each in series) else ""
    wording = Wording(
        front="validation perplexity at the best epoch, pooled",
        curves="perplexity, pooled: validation solid, training dashed",
        caption=CAPTION.format(shapes=charts.shapes_of(each.cell for each in series), others=others),
    )
    known = reproduction.text.windowed
    best = min(known, key=lambda order: known[order], default=4)
    names = {1: "letters", 4: "4-gram", best: f"{best}-gram"}
    levels = {f"{name} {rounded(known[order])}": known[order] for order, name in names.items() if order in known}
    return charts.explorer(series, levels, wording, has_front=True)


def _best(configuration: Configuration) -> list[float]:
    """The pooled validation perplexity at the best epoch, by seed."""
    return drawable([run.best_val_pooled for run in configuration.furthest])


def _series(configuration: Configuration, is_shown: bool, on_front: bool, verdicts: Sequence[Verdict]) -> Series:
    reported, runs = configuration.reported, configuration.furthest
    planned = max(run.epochs_planned for run in runs)
    ends = ((1, reported.perplexity_start), (planned, reported.perplexity_end))
    other = [run.windowed for run in configuration.same_text if run.is_whole and run.windowed is not None]
    other_title = (
        f"by the stream recipe on the same characters: validation {rounded(geometric_mean(other))}" if other else ""
    )
    words = Counter(verdict.word for verdict in verdicts if verdict.statement.configurations[:1] == (configuration.id,))
    tally = ", ".join(f"{words[word]} {word}" for word in WORDS if words[word])
    texts = next((run for run in runs if run.texts), None)
    progress = f" ({configuration.progress})" if configuration.progress else ""
    return Series(
        name=f"{configuration.label}{progress}",
        shape=f"{reported.cell.upper()} {reported.num_layers}x{reported.hidden_size}",
        cell=reported.cell,
        cost=configuration.complexity.macs_per_char,
        epochs_planned=planned,
        seeds=[run.seed for run in runs],
        best=_best(configuration),
        best_epochs=[run.best_epoch for run in runs],
        train=[drawable(run.train_pooled) for run in runs],
        val=[drawable(run.val_pooled) for run in runs],
        averaged={"train": [drawable(run.train) for run in runs], "val": [drawable(run.val) for run in runs]},
        is_whole=bool(configuration.whole),
        is_shown=is_shown,
        on_front=on_front,
        reported=[(epoch, value) for epoch, value in ends if value is not None],
        other=other,
        other_title=other_title,
        remarks=(
            f"its shape {other_title}" if other else "",
            f"seed {texts.seed} writes “{texts.texts[0][1]}”" if texts else "",
            f"statements about it: {tally}" if tally else "",
        ),
    )


def answer_picture(reproduction: Reproduction, ngrams: Mapping[str, float]) -> Drawing:
    """Draw a row for each configuration: the reported perplexity, and where training and validation end."""
    rows = []
    for each in reproduction.configurations:
        marks: list[tuple[Shape, str, float]] = []
        if each.furthest:
            marks += [("circle", style, each.mean_curve(style)[-1]) for style in ENDS]
        if each.reported.perplexity_end is not None:
            marks.append(("cross", "cross", each.reported.perplexity_end))
        ticks = [("val", each.mean_best_val)] if each.furthest else []
        rows.append(Row(each.label, marks, ticks, "" if each.whole else each.progress))
    drawn = charts.rows_chart(rows, ngrams, "perplexity per character (book average, log scale)")
    caption: list[str | Span] = [
        "Crosses: as reported of both curves. ",
        Span("○", "train"),
        " training and ",
        Span("●", "val"),
        " validation at the last epoch, ",
        Span("|", "val"),
        " validation at the best epoch: mean over seeds. Perplexity is the effective number of characters to choose "
        f"between: {reproduction.text.vocab_size} is guessing, 1 certainty. Dashed: n-grams, pooled, on the same "
        "windows.",
    ]
    return replace(drawn, anchor="answer", caption=caption)


def curves_picture(configuration: Configuration, ngrams: Mapping[str, float]) -> Drawing:
    """Draw training and validation perplexity by epoch: seeds thin, their means thick, reported values as crosses."""
    runs, reported = configuration.furthest, configuration.reported
    planned = max([run.epochs_planned for run in runs], default=protocol_epochs(reported))
    highest = max([23.0, *chain(*((*run.train, *run.val) for run in runs))])
    epochs = max([planned, *(run.epochs for run in runs)])
    axes = Axes(Scale(0, epochs, 30, 286, is_logarithmic=False), Scale(1, min(1.1 * highest, LARGEST), 160, 10))
    parts = [axes.drawn("epoch", x_number="{:g}".format), *map(axes.level, ngrams.values())]
    for curve in ENDS:
        parts += [axes.by_epoch(getattr(run, curve), f"{curve} seed") for run in runs if len(runs) > 1]
        parts.append(axes.by_epoch(configuration.mean_curve(curve), curve))
    ends = ((0, reported.perplexity_start), (epochs, reported.perplexity_end))
    parts += [charts.mark("cross", axes.x(x), axes.y(y), "cross") for x, y in ends if y is not None]
    parts += [] if configuration.whole else [charts.text(161, 50, configuration.progress, "middle")]
    gap = f"gap as reported: “{reported.gap}”" if reported.gap else ""
    return Drawing(300, 194, "".join(parts), configuration.id, configuration.label, gap)
