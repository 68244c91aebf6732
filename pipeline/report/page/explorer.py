"""The explorer of the report's page: its curves and points, and the values that its script shows of them.

Both charts show perplexities pooled over all characters, because the n-gram baselines beside them are pooled too.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.report.reproduction import Configuration, Reproduction
from pipeline.report.statements.verdicts import WORDS, Verdict
from pipeline.support.page import explorer
from pipeline.support.page.explorer import Series, Wording, four_digits, marks_of, undominated
from pipeline.support.plotting import drawable
from pipeline.support.statistics import geometric_mean
from pipeline.support.wording import counted, rounded

CAPTION = (
    "Perplexity per character under the report's protocol, pooled: exp of the mean cross-entropy over all characters "
    "of the split, as for the n-grams. The book's average, which the tables have, is the mean over batches of exp of "
    "the loss and a little higher. Left: validation at the best epoch; small dots are seeds, marks their means "
    "({marks}), hollow where epochs are missing{others}. Right: thin lines are seeds, thick ones their means, grey "
    "ones the validation of the others; crosses are as reported, for the first and the last epoch. Dashed levels: "
    "n-grams fitted on the same training characters, which read each window of 32 validation characters on its own, "
    "as the networks do."
)

OTHERS = "; diamonds are the same shapes by this project's stream recipe, on the same characters"


def explorer_html(reproduction: Reproduction, verdicts: Sequence[Verdict] = ()) -> str:
    """Render the explorer as one HTML element; "" without any training."""
    trained = [configuration for configuration in reproduction.configurations if configuration.furthest]
    if not trained:
        return ""
    shown = _shown_first(trained)
    series = [_series(each, each.id in shown, verdicts) for each in trained]
    whole = [number for number, each in enumerate(series) if each.is_whole]
    front = {whole[member] for member in undominated([(series[n].cost, series[n].mean) for n in whole])}
    cells = (configuration.reported.cell for configuration in trained)
    wording = Wording(
        front="validation perplexity at the best epoch, pooled",
        curves="perplexity, pooled: validation solid, training dashed",
        caption=CAPTION.format(marks=marks_of(cells), others=OTHERS if any(each.other for each in series) else ""),
    )
    placed = [replace(each, on_front=number in front) for number, each in enumerate(series)]
    return explorer.explorer_html(placed, compared_ngrams(reproduction), wording)


def compared_ngrams(reproduction: Reproduction) -> dict[str, float]:
    """The n-grams drawn, by label: letter frequencies, 4-gram and best order, in windows as the networks read."""
    known = reproduction.text.windowed
    best = min(known, key=lambda order: known[order], default=4)
    names = {1: "letters", 4: "4-gram", best: f"{best}-gram"}
    return {f"{name} {rounded(known[order])}": known[order] for order, name in names.items() if order in known}


def _shown_first(trained: Sequence[Configuration]) -> set[str]:
    """The ids of the configurations that are coloured at first: the best, the one with the largest gap, the worst."""
    trained = [configuration for configuration in trained if configuration.whole] or trained
    ranked = sorted(trained, key=lambda configuration: configuration.mean_best_val)
    widest = max(
        trained, key=lambda configuration: configuration.mean_curve("val")[-1] - configuration.mean_curve("train")[-1]
    )
    return {ranked[0].id, widest.id, ranked[-1].id}


def _named(configuration: Configuration) -> str:
    return f"{configuration.label} ({configuration.progress})" if configuration.progress else configuration.label


def _series(configuration: Configuration, is_shown: bool, verdicts: Sequence[Verdict]) -> Series:
    """A configuration in the charts; its mark is the pooled validation perplexity at the best epoch."""
    reported, runs = configuration.reported, configuration.furthest
    cost = configuration.complexity.macs_per_char
    best = [drawable(run.val_pooled)[run.best_epoch - 1] for run in runs]
    planned = max(run.epochs_planned for run in runs)
    same = (run for run in configuration.same_text if run.is_whole)
    other = [run.windowed for run in same if run.windowed is not None]
    other_title = ""
    if other:
        mean = rounded(geometric_mean(other))
        other_title = f"by the stream recipe on the same characters: validation {mean}"
    return Series(
        name=_named(configuration),
        shape=f"{reported.cell.upper()} {reported.num_layers}x{reported.hidden_size}",
        cell=reported.cell,
        title=(
            f"{_named(configuration)}: validation perplexity {rounded(geometric_mean(best))} (pooled, at the best "
            f"epoch, {counted(len(best), 'seed')}), {cost:,} MACs per character"
        ),
        cost=cost,
        epochs_planned=planned,
        best=best,
        train=[drawable(run.train_pooled) for run in runs],
        val=[drawable(run.val_pooled) for run in runs],
        figures=_explained(configuration, other_title, verdicts),
        is_whole=bool(configuration.whole),
        is_shown=is_shown,
        reported=_reported(configuration, planned),
        other=other,
        other_title=other_title,
    )


def _reported(configuration: Configuration, planned: int) -> list[tuple[int, float]]:
    """The reported perplexities by epoch: after the first, and after the last planned one."""
    reported = configuration.reported
    ends = ((1, reported.perplexity_start), (planned, reported.perplexity_end))
    return [(epoch, value) for epoch, value in ends if value is not None]


def _explained(configuration: Configuration, other: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """The values that the script shows of a configuration, curves with four significant digits."""
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
            curve: [four_digits(drawable(getattr(run, curve))) for run in runs]
            for curve in ("train", "val", "train_pooled", "val_pooled")
        },
        "other": other,
        "text": f"seed {texts.seed} writes “{texts.texts[0][1]}”" if texts else "",
        "statements": tally,
    }
