"""The tables of the report's page."""

from collections.abc import Callable, Mapping, Sequence
from re import sub
from statistics import fmean

import numpy as np

from models.complexity import REPORT_CHARS
from pipeline.config import REPORT_PROMPTS, WINDOW_LENGTH, WINDOW_TRAIN
from pipeline.report.counting import best_stream
from pipeline.report.page.sentences import equal_texts
from pipeline.report.reproduction import Configuration, RecordedTraining, Reproduction
from pipeline.report.statements import evidence
from pipeline.report.statements.table import Kind
from pipeline.report.statements.verdicts import (
    FAILS,
    HOLDS,
    IN_PART,
    OPEN,
    WORDS,
    WRONG_REASON,
    Verdict,
    Word,
    tally,
)
from pipeline.support.page.document import Cell, Chip, Code, Inline, Link, Meter, Table, Text
from pipeline.support.statistics import estimate, pooled_spread
from pipeline.support.wording import counted, listed, rounded, span

SPACE_SIGN = "\N{OPEN BOX}"  # replaces a space that would not be visible

LARGEST_PERPLEXITY = 1e6  # a training above it has diverged; its configuration does not count in the spread

SIGNS: Mapping[Word, tuple[str, str]] = {  # sign, CSS class
    HOLDS: ("✓", "holds"),
    IN_PART: ("◐", "part"),
    WRONG_REASON: ("△", "reason"),
    FAILS: ("✗", "fails"),
    OPEN: ("?", "open"),
}


def chip(word: Word, shown: str = "") -> Chip:
    """The sign of a verdict with its word, or with what else is ``shown``."""
    sign, style = SIGNS[word]
    return Chip(f"{sign} {shown or word}", f"chip {style}")


def statement_anchor(id: str) -> str:
    return "statement-" + sub(r"[^\w-]+", "-", id)


def _head(configuration: Configuration, rows: int = 1) -> Cell:
    figures = configuration.reported.figures
    notes = [f"Fig. {', '.join(figures)}"] if figures else []
    return Cell(Link(configuration.label, f"#figure-{configuration.id}"), notes, rows=rows)


def _number(value: float | None) -> Cell:
    return Cell() if value is None else Cell(f"{value:g}")


def _mean(values: Sequence[float], note: str = "") -> Cell:
    return Cell(rounded(estimate(values).mean), [note] if note else []) if values else Cell()


# --- verdicts --------------------------------------------------------------------------------------------------------


def tally_table(verdicts: Sequence[Verdict]) -> Table:
    """For each word, the verdicts decided by a training, by the reported numbers alone, and all."""
    counts = tally(verdicts, "basis")
    rows = []
    for word in WORDS:
        trained, reported = (counts[basis][word] if basis in counts else 0 for basis in ("training", "report"))
        share = Meter(round((trained + reported) / len(verdicts), 3))
        rows.append((Cell(chip(word)), Cell(f"{trained}"), Cell(f"{reported}"), Cell([share, f"{trained + reported}"])))
    caption = f"All {len(verdicts)} statements: decided by a training, or by the reported numbers alone"
    return Table(caption, ("verdict", "training", "reported", "all"), rows, style="tally")


def overview_table(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> Table:
    """Starts, levels, texts and print-outs as reported and as reproduced, one row per configuration."""
    judged = {(v.statement.kind, v.statement.configurations[:1]): v for v in verdicts}

    def verdict(kind: Kind, configuration: Configuration) -> Cell:
        if (found := judged.get((kind, (configuration.id,)))) is None:
            return Cell()
        shown = chip(found.word)
        return Cell(Link(shown.text, f"#{statement_anchor(found.statement.id)}", shown.style))

    rows = []
    for each in reproduction.configurations:
        runs, reported = each.furthest, each.reported
        texts = Cell(f"{len(equal_texts(each))} of {len(reported.samples)}") if reported.samples else Cell()
        rows.append(
            (
                _head(each),
                _number(reported.perplexity_start),
                _mean([run.first_half or run.train[0] for run in runs]),
                _mean([run.val[0] for run in runs]),
                verdict("start", each),
                _number(reported.perplexity_end),
                _mean([run.train[-1] for run in runs], each.state),
                _mean([run.val[-1] for run in runs]),
                verdict("end", each),
                texts,
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


def statements_table(verdicts: Sequence[Verdict], named: Callable[[str], str]) -> Table:
    """Statements with their verdicts and reasons; ``named`` replaces ids of configurations by their labels."""
    rows = []
    for verdict in verdicts:
        statement = verdict.statement
        id = Link(statement.id, f"#{statement_anchor(statement.id)}")
        what: list[Inline] = [f"Fig. {', '.join(statement.figures)} · ", id] if statement.figures else [id]
        how = [named(verdict.part), "by the report's own numbers" if statement.basis == "report" else ""]
        why: list[Text] = [named(statement.reading)] if statement.reading else []
        if statement.contradiction:
            why.append(f"The report contradicts itself: {named(statement.contradiction)}")
        if statement.reasons:
            links = [part for each in statement.reasons for part in (", ", Link(each, f"#{statement_anchor(each)}"))]
            why.append(["Reasons given: ", *links[1:]])
        rows.append(
            (
                Cell(statement.statement, [what]),
                Cell(chip(verdict.word), list(filter(None, how))),
                Cell(named(verdict.because), why),
            )
        )
    anchors = [statement_anchor(verdict.statement.id) for verdict in verdicts]
    return Table("", ("statement", "verdict", "because"), rows, style="statements", anchors=anchors)


def bounds_table(sensitivity: Mapping[str, tuple[int, int]]) -> Table:
    """Each bound with the number of verdicts that change at half and at twice it."""
    rows = [
        (Cell(sentence), *(Cell(f"{number}") for number in sensitivity[name])) if name in sensitivity
        else (Cell(sentence), Cell(), Cell())
        for name, sentence in evidence.sentences().items()
    ]  # fmt: skip
    caption = (
        "Every tolerance by which statements are judged, and how many verdicts have another word at half and at twice "
        "of it."
    )
    return Table(caption, ("bound", "at half", "at twice"), rows, style="bounds")


# --- perplexities and costs ------------------------------------------------------------------------------------------


def _columns() -> tuple[tuple[str, Callable[[Configuration], list[float | None]]], ...]:
    """The columns of ``perplexity_table``: head, and a function from a configuration to its values, one per seed."""

    def own(value: Callable[[RecordedTraining], float | None]) -> Callable[[Configuration], list[float | None]]:
        return lambda each: [value(run) for run in each.furthest]

    def stream(value: Callable[[RecordedTraining], float | None]) -> Callable[[Configuration], list[float | None]]:
        return lambda each: [value(run) for run in each.stream if run.is_whole]

    return (
        ("training, last", own(lambda run: run.train[-1])),
        ("validation, last", own(lambda run: run.val[-1])),
        ("validation, best", own(lambda run: run.best_val)),
        ("validation, best", own(lambda run: run.best_val_pooled)),
        ("test, best", own(lambda run: run.test_perplexity)),
        ("validation", lambda each: [run.windowed for run in each.same_text]),
        ("validation", stream(lambda run: run.best_val)),
        ("test", stream(lambda run: run.test_perplexity)),
    )


def perplexity_table(reproduction: Reproduction) -> Table:
    """Mean perplexities of our trainings with their intervals over seeds, one row per configuration."""
    columns: list[list[Cell]] = []
    degrees = set()
    heads = [head for head, _ in _columns()]
    for head, values in _columns():
        found = [[value for value in values(each) if value is not None] for each in reproduction.configurations]
        spread = pooled_spread([np.log(group) for group in found if group], cap=np.log(LARGEST_PERPLEXITY))
        degrees.add(spread.degrees_of_freedom)
        cells = []
        for group in found:
            if not group:
                cells.append(Cell())
                continue
            mean = estimate(group, spread=spread)
            known = mean.low is not None and mean.high is not None
            interval = [f"{rounded(mean.low or 0)} to {rounded(mean.high or 0)}"] if known else []
            cells.append(Cell(rounded(mean.mean), interval, "strong" if head == "validation, best" else ""))
        columns.append(cells)
    rows = [
        (_head(each), _runs(each), *cells)
        for each, cells in zip(reproduction.configurations, zip(*columns, strict=True), strict=True)
    ]
    freedom = span(sorted(degrees - {0})) if degrees - {0} else "0"
    stream = ""
    if found_stream := best_stream(reproduction):
        best, against = found_stream
        perplexity = f"{against.perplexity:.2f} on test: {against}"
        stream = f" The stream recipe's best on validation, {best.shape}, has {perplexity}."
    return Table(
        "Perplexity per character: mean over seeds and its 95 % interval, from the spread over seeds pooled over a "
        f"column's configurations ({freedom} degrees of freedom). The three groups on the right are of other averages, "
        f"recipes or splits and can't be compared across their borders.{stream}",
        ("configuration", "runs", *heads),
        rows,
        (
            ("", 2),
            ("The report's protocol, book average", 3),
            ("The same, pooled", 2),
            (f"Our recipe, same {WINDOW_TRAIN + WINDOW_LENGTH:,} characters, windowed", 1),
            ("Our recipe, 90 % of the text", 2),
        ),
    )


def _runs(configuration: Configuration) -> Cell:
    """The numbers of seeds and epochs, or what is missing."""
    runs, state = configuration.furthest, configuration.state
    if not runs:
        return Cell(state, style="missing")
    epochs = f"{span([run.epochs for run in runs])} epochs, best at {span(sorted({run.best_epoch for run in runs}))}"
    others = sorted({run.precision for run in runs} - {"fp32"})
    return Cell(counted(len(runs), "seed"), [", ".join([state or epochs, *others])], "missing" if state else "")


def cost_table(reproduction: Reproduction) -> Table:
    """Training time, parameters and MACs as reported and as measured, one row per configuration."""

    def printed(right: int, words: str, agrees: bool | None) -> Cell:
        if agrees is None:
            return Cell(f"{right:,}")
        return Cell(f"{right:,}", ["✓ as printed"]) if agrees else Cell(f"{right:,}", [f"✗ not {words}"], "strong")

    rows = []
    for each in reproduction.configurations:
        runs, reported, size = each.furthest, each.reported, each.complexity
        head_share = 1 - size.report_macs / REPORT_CHARS / size.macs_per_char
        (parameters, macs), agreement = reported.printed, reported.agreement(size)
        seconds = f"{fmean(run.train_seconds for run in runs):,.1f}" if runs else ""
        epoch = f"{fmean(run.train_seconds / run.epochs for run in runs):.3g}" if runs else ""
        # the book has one bias for each gate where torch.nn has two
        trained = {run.trained_parameters for run in runs} - {None, size.parameters}
        rows.append(
            (
                _head(each),
                _number(reported.train_seconds_transcript),
                _number(reported.train_seconds_prose),
                Cell(seconds, [each.state] if each.state else []) if runs else Cell(),
                Cell(epoch) if runs else Cell(),
                printed(size.report_parameters, parameters, agreement[0]),
                printed(size.report_macs, macs, agreement[1]),
                Cell(f"{size.parameters:,}", [f"{number:,} trained" for number in sorted(filter(None, trained))]),
                Cell(f"{size.macs_per_char:,}", [f"{100 * head_share:.0f} % output layer"]),
            )
        )
    macs_head = f"MACs of {REPORT_CHARS:,} characters"
    return Table(
        "Training time, parameters and multiply-accumulates (MACs), as ptflops counts them. Seconds are those of "
        "different machines.",
        ("configuration", "transcript", "prose", "ours", "ours, an epoch", "parameters", macs_head, "parameters",
         "MACs of a character"),
        rows,
        (("", 1), ("Seconds", 4), ("Size of the recurrent layers, as the report has it", 2), ("With output layer", 2)),
    )  # fmt: skip


def baseline_table(reproduction: Reproduction) -> Table:
    """Perplexities of the n-gram baselines, by order."""
    text = reproduction.text
    columns = (text.val_perplexities, text.windowed, text.test_perplexities)
    rows = [
        (
            Cell("letter frequencies" if order == 1 else f"Kneser-Ney {order}-gram"),
            *(Cell(rounded(values[order])) if order in values else Cell() for values in columns),
        )
        for order in sorted(text.val_perplexities)
    ]
    return Table(
        "Perplexity per character (pooled) of n-grams fitted on the characters that the networks are trained on.",
        ("model", "validation, read on", f"validation, each window of {WINDOW_LENGTH} on its own, as networks", "test"),
        rows,
    )


# --- texts -----------------------------------------------------------------------------------------------------------


def texts_table(reproduction: Reproduction) -> Table | None:
    """Generated texts by prompt, the reported ones above ours; None without any text."""
    writing = {each.id: next((run for run in each.furthest if run.texts), None) for each in reproduction.configurations}
    known = [dict(each.reported.samples) for each in reproduction.configurations]
    known += [dict(run.texts) for run in writing.values() if run]
    prompts = [prompt for prompt in dict.fromkeys([*REPORT_PROMPTS, *(p for texts in known for p in texts)])
               if any(prompt in texts for texts in known)]  # fmt: skip
    others = [prompt for prompt in prompts if prompt not in REPORT_PROMPTS]
    if not prompts:
        return None

    def row(
        head: Cell, source: str, texts: Mapping[str, str], missing: Mapping[str, str], equal: Sequence[str]
    ) -> list[Cell]:
        cells = [head, Cell(source)]
        for prompt in prompts:
            if prompt in texts:
                cells.append(Cell(_sample(texts[prompt]), style="equal" if prompt in equal else ""))
            else:
                cells.append(Cell(notes=[missing[prompt]] if missing.get(prompt) else []))
        return cells

    rows = []
    if reproduction.text.prompts:
        places = {place.prompt: place for place in reversed(reproduction.text.prompts)}  # the first of each prompt
        rows.append([Cell("the book"), Cell("")])
        for prompt in prompts:
            if place := places.get(prompt):
                where = f"{place.split} text, character {place.position:,}"
                rows[0].append(Cell(_sample(prompt + place.continuation), [where]))
            else:
                rows[0].append(Cell(notes=["not looked for" if prompt in others else "not in it"]))
    for each in reproduction.configurations:
        run, equal = writing[each.id], equal_texts(each)
        rows.append(row(_head(each, rows=2), "as reported", dict(each.reported.samples), {}, equal))
        missing = {prompt: "not asked of ours" if prompt in others else each.state for prompt in prompts}
        source = f"ours, seed {run.seed}" if run else "ours"
        rows.append(row(Cell("", rows=0), source, dict(run.texts) if run else {}, missing, equal))
    caption = (
        "The characters that follow a prompt, the likeliest one each time (greedy), with the prompt in front. Marked: "
        "equal letter for letter, in at least one seed."
    )
    if others:
        asked = listed([f"“{prompt}”" for prompt in REPORT_PROMPTS])
        caption += f" Our trainings continue {asked} only."
    if any(isinstance(cell.text, Code) and SPACE_SIGN in cell.text.text for cells in rows for cell in cells):
        caption += f" {SPACE_SIGN} is a space that would not be seen."
    return Table(caption, ("configuration", "source", *prompts), rows, style="texts")


def _sample(text: str) -> Code:
    """A generated text; leading, trailing and repeated spaces are marked, as HTML and Markdown would not show them."""
    return Code(sub(r"^ +| +$| {2,}", lambda spaces: SPACE_SIGN * len(spaces[0]), text), is_sample=True)
