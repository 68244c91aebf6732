"""Build the tables of the report's page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from re import sub
from statistics import fmean

import numpy as np

from models.complexity import REPORT_CHARS
from pipeline.config import REPORT_PROMPTS, WINDOW_LENGTH, WINDOW_TRAIN
from pipeline.report.counting import best_stream
from pipeline.report.page.sentences import equal_texts
from pipeline.report.reproduction import Configuration, RecordedTraining, Reproduction
from pipeline.report.statements.verdicts import FAILS, HOLDS, IN_PART, OPEN, WRONG_REASON, Verdict, Word
from pipeline.support.statistics import estimate, pooled_spread
from pipeline.support.wording import counted, listed, rounded, span

NOTHING = "\N{EN DASH}"

SPACE_SIGN = "\N{OPEN BOX}"  # replaces a space that would not be visible

LARGEST_PERPLEXITY = 1e6  # a training above it has diverged; its configuration does not count in the spread

SIGNS: Mapping[Word, tuple[str, str]] = {  # sign, CSS class
    HOLDS: ("✓", "holds"),
    IN_PART: ("◐", "part"),
    WRONG_REASON: ("△", "reason"),
    FAILS: ("✗", "fails"),
    OPEN: ("?", "open"),
}

# --- what the templates are given ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TableCell:
    """A table cell: text, a smaller note below it, CSS classes (``kind``), row span and the address it links to.

    ``rows`` = 0 marks a place covered by the cell above.
    """

    text: str = NOTHING
    note: str = ""
    kind: str = ""
    rows: int = 1
    link: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table: column groups (title, width), column heads, and rows whose first cell is the row head."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    groups: tuple[tuple[str, int], ...] = ()
    kind: str = ""


def number_cell(value: float | None) -> TableCell:
    return TableCell() if value is None else TableCell(f"{value:g}")


def _mean_cell(values: Sequence[float], note: str = "") -> TableCell:
    return TableCell(rounded(estimate(values).mean), note) if values else TableCell()


def verdict_cell(verdict: Verdict | None, links: Mapping[str, str]) -> TableCell:
    """A cell with the sign and word of a verdict, linked to its statement."""
    if verdict is None:
        return TableCell()
    sign, kind = SIGNS[verdict.word]
    return TableCell(f"{sign} {verdict.word}", kind=f"chip {kind}", link=f"#statement-{links[verdict.statement.id]}")


def _head(configuration: Configuration, anchors: Mapping[str, str], rows: int = 1) -> TableCell:
    figures = configuration.reported.figures
    note = f"Fig. {', '.join(figures)}" if figures else ""
    return TableCell(configuration.label, note, rows=rows, link=f"#figure-{anchors[configuration.id]}")


# --- the tables ------------------------------------------------------------------------------------------------------


def overview_sheet(
    reproduction: Reproduction, verdicts: Sequence[Verdict], anchors: Mapping[str, str], links: Mapping[str, str]
) -> Sheet:
    """Starts, levels, texts and print-outs as reported and as reproduced, one row per configuration.

    ``anchors`` maps configurations to the anchors of their figures, ``links`` statements to their anchors.
    """
    judged = {(v.statement.kind, v.statement.configurations[:1]): v for v in verdicts}
    rows = []
    for configuration in reproduction.configurations:
        runs, reported = configuration.furthest, configuration.reported
        first = [run.first_half or run.train[0] for run in runs]
        texts = f"{len(equal_texts(configuration))} of {len(reported.samples)}" if reported.samples else NOTHING
        rows.append(
            (
                _head(configuration, anchors),
                number_cell(reported.perplexity_start),
                _mean_cell(first),
                _mean_cell([run.val[0] for run in runs]),
                verdict_cell(judged.get(("start", (configuration.id,))), links),
                number_cell(reported.perplexity_end),
                _mean_cell([run.train[-1] for run in runs], configuration.state),
                _mean_cell([run.val[-1] for run in runs]),
                verdict_cell(judged.get(("end", (configuration.id,))), links),
                TableCell(texts),
                verdict_cell(judged.get(("print-out", (configuration.id,))), links),
            )
        )
    return Sheet(
        "Perplexity per character, book average (mean over batches of exp of the batch's loss), mean over seeds: as "
        "reported, and in our trainings. Start: training over the first half epoch, validation after the first epoch.",
        (
            "configuration", "reported", "training", "validation", "verdict", "reported", "training", "validation",
            "verdict", "texts equal", "print-out",
        ),
        tuple(rows),
        (("", 1), ("Start", 4), ("End", 4), ("", 2)),
        "numbers overview",
    )  # fmt: skip


def _columns() -> tuple[tuple[str, Callable[[Configuration], list[float]]], ...]:
    """The columns of ``perplexity_sheet``: head, and a function from a configuration to its values, one per seed."""

    def own(value: Callable[[RecordedTraining], float | None]) -> Callable[[Configuration], list[float]]:
        return lambda each: [number for run in each.furthest if (number := value(run)) is not None]

    def whole_stream(each: Configuration) -> list[RecordedTraining]:
        return [run for run in each.stream if run.is_whole]

    return (
        ("training, last", own(lambda run: run.train[-1])),
        ("validation, last", own(lambda run: run.val[-1])),
        ("validation, best", own(lambda run: run.best_val)),
        ("validation, best", own(lambda run: run.best_val_pooled)),
        ("test, best", own(lambda run: run.test_perplexity)),
        ("validation", lambda each: [run.windowed for run in each.same_text if run.windowed is not None]),
        ("validation", lambda each: [run.best_val for run in whole_stream(each)]),
        ("test", lambda each: [run.test_perplexity for run in whole_stream(each) if run.test_perplexity is not None]),
    )


def perplexity_sheet(reproduction: Reproduction, anchors: Mapping[str, str]) -> Sheet:
    """Mean perplexities of our trainings with their intervals over seeds, one row per configuration."""
    columns = _columns()
    spreads, degrees = [], set()
    for _, values in columns:
        groups = [np.log(group) for each in reproduction.configurations if (group := values(each))]
        spreads.append(pooled_spread(groups, cap=np.log(LARGEST_PERPLEXITY)))
        degrees.add(spreads[-1].degrees_of_freedom)
    rows = []
    for configuration in reproduction.configurations:
        cells = []
        for (head, values), spread in zip(columns, spreads, strict=True):
            if not (found := values(configuration)):
                cells.append(TableCell())
                continue
            mean = estimate(found, spread=spread)
            interval = "" if mean.low is None or mean.high is None else f"{rounded(mean.low)} to {rounded(mean.high)}"
            cells.append(TableCell(rounded(mean.mean), interval, "strong" if head == "validation, best" else ""))
        rows.append((_head(configuration, anchors), _runs(configuration), *cells))
    freedom = span(sorted(degrees - {0})) if degrees - {0} else "0"
    return Sheet(
        "Perplexity per character: mean over seeds and its 95 % interval, from the spread over seeds pooled over a "
        f"column's configurations ({freedom} degrees of freedom). The three groups on the right are of other averages, "
        f"recipes or splits and can't be compared across their borders.{_stream_sentence(reproduction)}",
        ("configuration", "runs", *(head for head, _ in columns)),
        tuple(rows),
        (
            ("", 2),
            ("The report's protocol, book average", 3),
            ("The same, pooled", 2),
            (f"Our recipe, same {WINDOW_TRAIN + WINDOW_LENGTH:,} characters, windowed", 1),
            ("Our recipe, 90 % of the text", 2),
        ),
        "numbers",
    )  # fmt: skip


def _stream_sentence(reproduction: Reproduction) -> str:
    """A sentence, after a space, on the stream recipe's best shape against the n-gram of its text; "" if unknown."""
    if (found := best_stream(reproduction)) is None:
        return ""
    best, against = found
    return f" The stream recipe's best on validation, {best.shape}, has {against.perplexity:.2f} on test: {against}."


def _runs(configuration: Configuration) -> TableCell:
    """A cell with the numbers of seeds and epochs, or with what is missing."""
    runs, state = configuration.furthest, configuration.state
    if not runs:
        return TableCell(state, kind="missing")
    others = sorted({run.precision for run in runs} - {"fp32"})
    epochs = sorted({run.best_epoch for run in runs})
    note = ", ".join([state or f"{span([run.epochs for run in runs])} epochs, best at {span(epochs)}", *others])
    return TableCell(counted(len(runs), "seed"), note, "missing" if state else "")


def _as_trained(configuration: Configuration) -> str:
    """The number of trained parameters if it differs from torch.nn's: the book has one bias per gate."""
    numbers = {run.trained_parameters for run in configuration.furthest} - {None, configuration.complexity.parameters}
    return "".join(f"{number:,} trained" for number in sorted(filter(None, numbers)))


def _printed(right: int, printed: str, agrees: bool | None) -> TableCell:
    """A cell with a size in the report's convention, and whether the printed size agrees."""
    if agrees is None:
        return TableCell(f"{right:,}")
    return TableCell(f"{right:,}", "✓ as printed") if agrees else TableCell(f"{right:,}", f"✗ not {printed}", "strong")


def cost_sheet(reproduction: Reproduction, anchors: Mapping[str, str]) -> Sheet:
    """Training time, parameters and MACs as reported and as measured, one row per configuration."""
    rows = []
    for configuration in reproduction.configurations:
        runs, reported, size = configuration.furthest, configuration.reported, configuration.complexity
        head_share = 1 - size.report_macs / REPORT_CHARS / size.macs_per_char
        mmac = "" if reported.mmac is None else f"{reported.mmac:.10g} M"
        seconds = [run.train_seconds for run in runs]
        rows.append(
            (
                _head(configuration, anchors),
                number_cell(reported.train_seconds_transcript),
                number_cell(reported.train_seconds_prose),
                TableCell(f"{fmean(seconds):,.1f}", configuration.state) if runs else TableCell(),
                TableCell(f"{fmean(run.train_seconds / run.epochs for run in runs):.3g}") if runs else TableCell(),
                _printed(
                    size.report_parameters, reported.params, reported.agrees_on_parameters(size.report_parameters)
                ),
                _printed(size.report_macs, mmac, reported.agrees_on_macs(size.report_macs)),
                TableCell(f"{size.parameters:,}", _as_trained(configuration)),
                TableCell(f"{size.macs_per_char:,}", f"{100 * head_share:.0f} % output layer"),
            )
        )
    return Sheet(
        "Training time, parameters and multiply-accumulates (MACs), as ptflops counts them. Seconds are those of "
        "different machines.",
        (
            "configuration", "transcript", "prose", "ours", "ours, an epoch",
            "parameters", f"MACs of {REPORT_CHARS:,} characters", "parameters", "MACs of a character",
        ),
        tuple(rows),
        (("", 1), ("Seconds", 4), ("Size of the recurrent layers, as the report has it", 2), ("With output layer", 2)),
        "numbers",
    )  # fmt: skip


def text_sheet(reproduction: Reproduction, anchors: Mapping[str, str]) -> Sheet | None:
    """Generated texts by prompt, the reported ones above ours; None without any text."""
    reported = {configuration.id: dict(configuration.reported.samples) for configuration in reproduction.configurations}
    ours: dict[str, tuple[str, dict[str, str]]] = {}
    for configuration in reproduction.configurations:
        generating = [run for run in configuration.furthest if run.texts]
        ours[configuration.id] = (f"ours, seed {generating[0].seed}", dict(generating[0].texts)) if generating else (
            "ours", {})  # fmt: skip
    known = [*reported.values(), *(texts for _, texts in ours.values())]
    if not any(known):
        return None
    generated_prompts = {prompt for texts in known for prompt in texts}
    in_order = dict.fromkeys([*REPORT_PROMPTS, *(prompt for texts in known for prompt in texts)])
    prompts = [prompt for prompt in in_order if prompt in generated_prompts]
    others = [prompt for prompt in prompts if prompt not in REPORT_PROMPTS]
    rows = [_book_row(reproduction, prompts, others)] if reproduction.text.prompts else []
    for configuration in reproduction.configurations:
        source, texts = ours[configuration.id]
        missing = {
            prompt: TableCell(note="not asked of ours" if prompt in others else configuration.state)
            for prompt in prompts
        }
        equal = equal_texts(configuration)
        cells = [_generated(reported[configuration.id], prompt, TableCell(), prompt in equal) for prompt in prompts]
        rows.append((_head(configuration, anchors, 2), TableCell("as reported"), *cells))
        cells = [_generated(texts, prompt, missing[prompt], prompt in equal) for prompt in prompts]
        rows.append((TableCell("", rows=0), TableCell(source), *cells))
    caption = (
        "The characters that follow a prompt, the likeliest one each time (greedy), with the prompt in front. Marked: "
        "equal letter for letter, in at least one seed."
    )
    if others:
        asked = listed([f"“{prompt}”" for prompt in REPORT_PROMPTS])
        caption += f" Our trainings continue {asked} only."
    if any(SPACE_SIGN in cell.text for row in rows for cell in row):
        caption += f" {SPACE_SIGN} is a space that would not be seen."
    return Sheet(caption, ("configuration", "source", *prompts), tuple(rows), kind="texts")


def _book_row(reproduction: Reproduction, prompts: Sequence[str], others: Sequence[str]) -> tuple[TableCell, ...]:
    """The row with the book's continuation of each prompt, at its first occurrence."""
    places = {place.prompt: place for place in reversed(reproduction.text.prompts)}
    row = [TableCell("the book"), TableCell("")]
    for prompt in prompts:
        if place := places.get(prompt):
            where = f"{place.split} text, character {place.position:,}"
            row.append(TableCell(_visible(prompt + place.continuation), where, "text"))
        else:
            row.append(TableCell(note="not looked for" if prompt in others else "not in it"))
    return tuple(row)


def _generated(texts: Mapping[str, str], prompt: str, otherwise: TableCell, is_equal: bool) -> TableCell:
    kind = "text equal" if is_equal else "text"
    return TableCell(_visible(texts[prompt]), kind=kind) if prompt in texts else otherwise


def _visible(text: str) -> str:
    """Mark leading, trailing and repeated spaces, which HTML and Markdown would not show."""
    return sub(r"^ +| +$| {2,}", lambda spaces: SPACE_SIGN * len(spaces[0]), text)


def baseline_sheet(reproduction: Reproduction) -> Sheet:
    """Perplexities of the n-gram baselines, by order."""
    text = reproduction.text
    columns = (text.val_perplexities, text.windowed, text.test_perplexities)
    return Sheet(
        "Perplexity per character (pooled) of n-grams fitted on the characters that the networks are trained on.",
        ("model", "validation, read on", f"validation, each window of {WINDOW_LENGTH} on its own, as networks", "test"),
        tuple(
            (
                TableCell("letter frequencies" if order == 1 else f"Kneser-Ney {order}-gram"),
                *(TableCell(rounded(values[order])) if order in values else TableCell() for values in columns),
            )
            for order in sorted(text.val_perplexities)
        ),
        kind="numbers",
    )
