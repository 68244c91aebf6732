"""The charts of the report's page: the explorer, and the ends of all configurations.

The explorer shows perplexities pooled over all characters, because the n-gram baselines beside them are pooled too; the
other shows the book's average, as the report does.
"""

from dataclasses import replace

from pipeline.pages.charts import Row, Series, explorer, rows_chart
from pipeline.pages.document import Drawing, Explorer, Span
from pipeline.pages.drawing import Marker
from pipeline.report.page.sentences import ENDS
from pipeline.report.reproduction import Reproduction
from pipeline.support.wording import rounded

CAPTION = (
    "Perplexity per character under the report's protocol, pooled: exp of the mean cross-entropy over all characters "
    "of the split, as for the n-grams. The book's average, which the tables have, is the mean over batches of exp of "
    "the loss and a little higher. Crosses are as reported, for the first and the last epoch. Dashed levels: n-grams "
    "fitted on the same training characters, which read each window of 32 validation characters on its own, as the "
    "networks do."
)


def report_explorer(reproduction: Reproduction) -> Explorer | None:
    """Draw the explorer; None without any training."""
    series = []
    for configuration in reproduction.configurations:
        if not (runs := configuration.whole):
            continue
        reported, planned = configuration.reported, max(run.epochs_planned for run in runs)
        series.append(
            Series(
                name=configuration.id,
                shape=f"{reported.cell.upper()} {reported.num_layers}x{reported.hidden_size}",
                cell=reported.cell,
                cost=configuration.complexity.macs_per_char,
                epochs_planned=planned,
                seeds=[run.seed for run in runs],
                best=[run.best("val_pooled") for run in runs],
                best_epochs=[run.best_epoch for run in runs],
                train=[run.train_pooled for run in runs],
                val=[run.val_pooled for run in runs],
                reported=[(1, reported.perplexity_start), (planned, reported.perplexity_end)],
            )
        )
    levels = {f"{name} {rounded(value)}": value for name, value in reproduction.text.levels.items()}
    return explorer(series, levels, CAPTION) if series else None


def overview_picture(reproduction: Reproduction) -> Drawing:
    """Draw a row for each configuration: the reported perplexity, and where training and validation end."""
    rows = []
    for configuration in reproduction.configurations:
        marks: list[tuple[Marker, str, float]] = []
        if configuration.whole:
            marks += [("circle", style, configuration.last(style)) for style in ENDS]
        marks.append(("cross", "cross", configuration.reported.perplexity_end))
        ticks = [("val", configuration.best())] if configuration.whole else []
        rows.append(Row(configuration.id, marks, ticks, "" if configuration.whole else configuration.progress))
    drawn = rows_chart(rows, reproduction.text.levels, "perplexity per character (book average, log scale)")
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
    return replace(
        drawn,
        anchor="answer",
        caption=caption,
        file="figures/answer.svg",
        alt="The perplexity of each configuration as reported and as reproduced",
    )
