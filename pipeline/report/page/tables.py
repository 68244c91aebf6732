"""The tables of the report's page."""

from collections.abc import Callable, Iterable, Sequence
from re import sub
from statistics import fmean

import numpy as np

from models.complexity import REPORT_CHARS
from pipeline.config import REPORT_PROMPTS, WINDOW_LENGTH, WINDOW_TRAIN
from pipeline.pages.document import NOTHING, Span, Table, TableCell, Text
from pipeline.report.reproduction import Configuration, Reproduction, TextFacts
from pipeline.report.statements.kinds import BASES
from pipeline.report.statements.texts import best_match
from pipeline.report.statements.verdicts import Verdict, Word
from pipeline.support.statistics import estimate, pooled_spread
from pipeline.support.wording import counted, rounded, span

SPACE_SIGN = "\N{OPEN BOX}"  # replaces a space that would not be visible
SIGNS = dict(zip(Word, "✓◐△✗?", strict=True))
STYLES = dict(zip(Word, ("holds", "part", "reason", "fails", "open"), strict=True))  # CSS classes


def chip(word: Word, shown: str = "", href: str = "") -> Span:
    """The sign of a verdict with its word, or with what else is ``shown``."""
    return Span(f"{SIGNS[word]} {shown or word}", f"chip {STYLES[word]}", href)


def _head(configuration: Configuration) -> TableCell:
    return TableCell(configuration.id, [f"Fig. {', '.join(configuration.reported.figures)}"])


def _number(value: float | None, form: str = "g") -> str:
    return NOTHING if value is None else format(value, form)


def _mean(values: Sequence[float]) -> str:
    return rounded(estimate(values).mean) if values else NOTHING


def overview_table(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> Table:
    """Starts, levels, texts and print-outs as reported and as reproduced, one row per configuration."""
    judged = {(v.statement.kind, v.statement.configurations[:1]): v for v in verdicts}

    def verdict(kind: str, configuration: Configuration) -> TableCell:
        found = judged.get((kind, (configuration.id,)))
        return TableCell(chip(found.word, href=f"#statement-{found.statement.id}")) if found else TableCell()

    rows = []
    for each in reproduction.configurations:
        runs, reported = each.whole, each.reported
        samples = len(reported.samples)
        rows.append(
            (
                _head(each),
                _number(reported.perplexity_start),
                _mean([run.first_half or run.train[0] for run in runs]),
                _mean([run.val[0] for run in runs]),
                verdict("start", each),
                _number(reported.perplexity_end),
                _mean([run.train[-1] for run in runs]),
                _mean([run.val[-1] for run in runs]),
                verdict("end", each),
                f"{len(best_match(each)[1])} of {samples}" if samples else NOTHING,
                verdict("print-out", each),
            )
        )
    beside = ("reported", "training", "validation", "verdict")
    return Table(
        "Perplexity per character, book average (mean over batches of exp of the batch's loss), mean over seeds: as "
        "reported, and in our trainings. Start: training over the first half epoch, validation after the first epoch.",
        ("configuration", *beside, *beside, "texts equal", "print-out"),
        rows,
        (("", 1), ("Start", 4), ("End", 4), ("", 2)),
    )


def statements_table(verdicts: Sequence[Verdict]) -> Table:
    """Statements with their verdicts and reasons."""
    rows = []
    for verdict in verdicts:
        statement = verdict.statement
        figures = f"Fig. {', '.join(statement.figures)} · " if statement.figures else ""
        id = Span(statement.id, href=f"#statement-{statement.id}")
        how = [verdict.part, "" if statement.basis == "training" else BASES[statement.basis]]
        why: list[Text] = [statement.reading] if statement.reading else []
        if statement.contradiction:
            why.append(f"The report contradicts itself: {statement.contradiction}")
        if statement.reasons:
            links = [part for reason in statement.reasons for part in (", ", Span(reason, href=f"#statement-{reason}"))]
            why.append(["Reasons given: ", *links[1:]])
        word, because = TableCell(chip(verdict.word), [*filter(None, how)]), TableCell(verdict.because, why)
        rows.append((TableCell(statement.statement, [[figures, id]]), word, because))
    anchors = [f"statement-{verdict.statement.id}" for verdict in verdicts]
    return Table("", ("statement", "verdict", "because"), rows, style="statements", anchors=anchors)


def perplexity_table(reproduction: Reproduction) -> Table:
    """Mean perplexities of our trainings with their intervals over seeds, one row per configuration."""
    columns: list[tuple[str, Callable[[Configuration], Iterable[float | None]]]] = [
        ("validation, best", lambda each: (run.best() for run in each.whole)),
        ("validation, best", lambda each: (run.best("val_pooled") for run in each.whole)),
        ("test, best", lambda each: (run.test_perplexity for run in each.whole)),
        ("validation", lambda each: (run.windowed for run in each.same_text)),
    ]
    rows, degrees = [[_head(each), _runs(each)] for each in reproduction.configurations], set()
    for head, values in columns:
        found = [[value for value in values(each) if value is not None] for each in reproduction.configurations]
        spread = pooled_spread([np.log(group) for group in found if group])
        degrees.add(spread.degrees_of_freedom)
        for row, group in zip(rows, found, strict=True):
            if not group:
                row.append(TableCell())
                continue
            mean = estimate(group, spread=spread)
            interval = [f"{rounded(mean.ends[0])} to {rounded(mean.ends[1])}"] if mean.ends else []
            row.append(TableCell(rounded(mean.mean), interval, "strong" if head == "validation, best" else ""))
    freedom = span([*degrees - {0}] or [0])
    return Table(
        "Perplexity per character: mean over seeds and its 95 % interval, from the spread over seeds pooled over a "
        f"column's configurations ({freedom} degrees of freedom). The two groups on the right are of another average, "
        f"and of another recipe. Test: the last 5 % of the text, at the best epoch.",
        ("configuration", "runs", *(head for head, _ in columns)),
        rows,
        (
            ("", 2),
            ("The report's protocol, book average", 1),
            ("The same, pooled", 2),
            (f"Our recipe, same {WINDOW_TRAIN + WINDOW_LENGTH:,} characters, windowed", 1),
        ),
    )


def _runs(configuration: Configuration) -> TableCell:
    """The numbers of seeds and epochs, and what is missing."""
    runs, progress = configuration.whole, configuration.progress
    if not runs:
        return TableCell(progress, style="missing")
    epochs = f"{span([run.epochs for run in runs])} epochs, best at {span(sorted({run.best_epoch for run in runs}))}"
    others = sorted({run.precision for run in runs} - {"fp32"})
    notes = [", ".join([progress or epochs, *others])]
    return TableCell(counted(len(runs), "seed"), notes, "missing" if progress else "")


def cost_table(reproduction: Reproduction) -> Table:
    """Training time, parameters and MACs as reported and as measured, one row per configuration."""

    def printed(right: int, words: str, agrees: bool | None) -> TableCell:
        notes = {None: [], True: ["✓ as printed"], False: [f"✗ not {words}"]}
        return TableCell(f"{right:,}", notes[agrees], "strong" if agrees is False else "")

    rows = []
    for configuration in reproduction.configurations:
        runs, reported, size = configuration.whole, configuration.reported, configuration.complexity
        head_share = 1 - size.report_macs / REPORT_CHARS / size.macs_per_char
        (parameters, macs), (same_parameters, same_macs) = reported.printed, reported.agreement(size)
        seconds = fmean(run.train_seconds for run in runs) if runs else None
        # the book has one bias for each gate where torch.nn has two
        trained = {run.trained_parameters for run in runs} - {None, size.parameters}
        rows.append(
            (
                _head(configuration),
                _number(reported.train_seconds_transcript),
                _number(reported.train_seconds_prose),
                _number(seconds, ",.1f"),
                _number(fmean(run.train_seconds / run.epochs for run in runs) if runs else None, ".3g"),
                printed(size.report_parameters, parameters, same_parameters),
                printed(size.report_macs, macs, same_macs),
                TableCell(f"{size.parameters:,}", [f"{number:,} trained" for number in sorted(filter(None, trained))]),
                TableCell(f"{size.macs_per_char:,}", [f"{100 * head_share:.0f} % output layer"]),
            )
        )  # fmt: skip
    seconds_of, macs_of = ("transcript", "prose", "ours", "ours, an epoch"), f"MACs of {REPORT_CHARS:,} characters"
    return Table(
        "Training time, parameters and multiply-accumulates (MACs), as ptflops counts them. Seconds are those of "
        "different machines.",
        ("configuration", *seconds_of, "parameters", macs_of, "parameters", "MACs of a character"),
        rows,
        (("", 1), ("Seconds", 4), ("Size of the recurrent layers, as the report has it", 2), ("With output layer", 2)),
    )


def ngram_table(text: TextFacts) -> Table:
    """Perplexities of the n-gram baselines, by order."""
    rows = []
    for order, read_on in sorted(text.val_perplexities.items()):
        name = "letter frequencies" if order == 1 else f"Kneser-Ney {order}-gram"
        rows.append((name, rounded(read_on), rounded(text.windowed[order])))
    if text.gated:
        rows.append(("all orders, combined by a gate", rounded(text.gated["val"]), rounded(text.gated["windowed"])))
    return Table(
        "Perplexity per character (pooled) of n-grams fitted on the characters that the networks are trained on.",
        ("model", "validation, read on", f"validation, each window of {WINDOW_LENGTH} on its own, as networks"),
        rows,
    )


def texts_table(reproduction: Reproduction) -> Table:
    """Generated texts by prompt, the reported ones above ours, under the book's."""
    places = {place.prompt: place for place in reversed(reproduction.text.prompts)}  # the first of each prompt
    rows: list[list[TableCell | str]] = [["the book", ""]]
    for prompt in REPORT_PROMPTS:
        where = f"{places[prompt].split} text, character {places[prompt].position:,}"
        rows[0].append(TableCell(_sample(prompt + places[prompt].continuation), [where]))
    for configuration in reproduction.configurations:
        run, equal = best_match(configuration)
        for head, source, texts in (
            (_head(configuration), "as reported", configuration.reported.samples),
            ("", f"ours, seed {run.seed}" if run else "ours", run.texts if run else ()),
        ):
            shown = {
                prompt: TableCell(_sample(text), style="equal" if prompt in equal else "") for prompt, text in texts
            }
            rows.append([head, source, *(shown.get(prompt, TableCell()) for prompt in REPORT_PROMPTS)])
    caption = (
        "The characters that follow a prompt, the likeliest one each time (greedy), with the prompt in front. Ours are "
        "by the seed with the most texts that equal the reported ones (marked), spaces at the end apart. "
        f"{SPACE_SIGN} is a space that would not be seen."
    )
    return Table(caption, ("configuration", "source", *REPORT_PROMPTS), rows, style="texts")


def _sample(text: str) -> Span:
    """A generated text; leading, trailing and repeated spaces are marked, as HTML and Markdown would not show them."""
    return Span(sub(r"^ +| +$| {2,}", lambda spaces: SPACE_SIGN * len(spaces[0]), text), "sample")
