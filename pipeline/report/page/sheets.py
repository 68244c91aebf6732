"""Build the tables of the report's page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from re import sub
from statistics import fmean

from models.complexity import REPORT_CHARS
from pipeline.config import REPORT_PROMPTS, WINDOW_LENGTH
from pipeline.report.checks import Check, CheckKind
from pipeline.report.corrections import Correction
from pipeline.report.page.sentences import SIGNS, printed_sizes
from pipeline.report.reproduction import Configuration, RecordedTraining, Reproduction
from pipeline.report.statements.verdicts import Verdict
from pipeline.report.wording import counted, listed, rounded, span
from pipeline.support.statistics import Estimate, estimate

NOTHING = "\N{EN DASH}"

SPACE_SIGN = "\N{OPEN BOX}"  # where a space would not be seen

# --- what the templates are given ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TableCell:
    """A table cell: text, a smaller note below it, CSS classes (``kind``) and row span.

    ``rows`` = 0 marks a place covered by the cell above. ``link`` is the anchor of a figure.
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


def estimate_cell(values: Sequence[float], kind: str = "") -> TableCell:
    """A cell with the mean over seeds and its 95 % interval below."""
    if not values:
        return TableCell()
    mean = estimate(values)
    return TableCell(rounded(mean.mean), _interval(mean), kind)


def _interval(mean: Estimate) -> str:
    return "" if mean.low is None or mean.high is None else f"{rounded(mean.low)} to {rounded(mean.high)}"


def number_cell(value: float | None, unit: str = "") -> TableCell:
    return TableCell() if value is None else TableCell(f"{value:g}{unit}")


# --- the tables ------------------------------------------------------------------------------------------------------


def _head(configuration: Configuration, anchors: Mapping[str, str], rows: int = 1) -> TableCell:
    figures = configuration.reported.figures
    note = f"Fig. {', '.join(figures)}" if figures else ""
    return TableCell(configuration.id, note, rows=rows, link=anchors[configuration.id])


def _runs(configuration: Configuration) -> TableCell:
    """A cell with the number of seeds and epochs, or what is missing."""
    runs = configuration.furthest
    state, others = configuration.state, sorted({run.precision for run in runs} - {"fp32"})
    if not runs:
        return TableCell(state, kind="missing")
    note = ", ".join([state or f"{span([run.epochs for run in runs])} epochs", *others])
    return TableCell(counted(len(runs), "seed"), note, "missing" if state else "")


def perplexity_sheet(reproduction: Reproduction, anchors: Mapping[str, str], own: bool) -> Sheet:
    """Perplexities as reported, reproduced and corrected, one row per configuration."""
    rows = []
    for configuration in reproduction.configurations:
        runs, reported = configuration.furthest, configuration.reported
        best = [run.best_epoch - 1 for run in runs]

        def at_best(curve: str, runs: Sequence[RecordedTraining] = runs, best: Sequence[int] = best) -> list[float]:
            return [getattr(run, curve)[epoch] for run, epoch in zip(runs, best, strict=True)]

        corrected = TableCell()
        if runs and configuration.whole and not reproduction.quick:
            epochs = span([epoch + 1 for epoch in best])
            corrected = TableCell(rounded(configuration.mean_best_val), f"epoch {epochs}", "corrected")
        streamed = [run for run in configuration.stream if run.is_whole]
        tests = [run.test_perplexity for run in streamed if run.test_perplexity is not None]
        rows.append(
            (
                _head(configuration, anchors),
                number_cell(reported.perplexity_start),
                number_cell(reported.perplexity_end),
                _runs(configuration),
                estimate_cell([run.train[0] for run in runs]),
                estimate_cell(at_best("train")),
                estimate_cell([run.train[-1] for run in runs]),
                estimate_cell([run.val[0] for run in runs]),
                estimate_cell(at_best("val"), "strong"),
                estimate_cell([run.val[-1] for run in runs]),
                estimate_cell(at_best("val_pooled")),
                estimate_cell([run.val_pooled[-1] for run in runs]),
                corrected,
                estimate_cell([run.best_val for run in streamed], "other"),
                estimate_cell(tests),
            )
        )
    return Sheet(
        "Perplexity per character. Below a mean over seeds stands its 95 % interval (Student's t, symmetric in bits "
        "per character); one seed has none. “At best” is the epoch with the lowest validation perplexity.",
        (
            "configuration", "start", "end", "runs", "first", "at best", "last", "first", "best", "last", "at best",
            "last", "validation, best epoch", "validation, best", "test",
        ),
        tuple(rows),
        (
            ("", 1),
            ("As reported", 2),
            ("Reproduced", 1),
            ("Reproduced: training", 3),
            ("Reproduced: validation", 3),
            ("Reproduced: validation, pooled", 2),
            ("Corrected" if own else "To compare with", 1),
            ("What these models can do (another split)", 2),
        ),
        "perplexity",
    )  # fmt: skip


def _corrected(right: str, printed: str, agrees: bool | None) -> TableCell:
    if agrees is None:
        return TableCell(right, "" if printed else "not printed")
    return TableCell(right, "✓ as printed") if agrees else TableCell(right, f"✗ not {printed}", "corrected")


def _as_trained(configuration: Configuration) -> str:
    """The trained parameter count where it differs from torch.nn's: the book's equations have one bias per gate."""
    numbers = {run.trained_parameters for run in configuration.furthest} - {None, configuration.complexity.parameters}
    return "".join(f"{number:,} trained" for number in sorted(filter(None, numbers)))


def cost_sheet(reproduction: Reproduction, anchors: Mapping[str, str]) -> Sheet:
    """Training time, parameters and MACs as reported, reproduced and corrected, one row per configuration."""
    rows = []
    for configuration in reproduction.configurations:
        runs, reported, size = configuration.furthest, configuration.reported, configuration.complexity
        parameters, macs = printed_sizes(configuration)
        head_share = 1 - size.report_macs / REPORT_CHARS / size.macs_per_char
        seconds, per_epoch = TableCell(), TableCell()
        if runs:
            seconds = TableCell(f"{fmean(run.train_seconds for run in runs):,.1f}", configuration.state)
            per_epoch = TableCell(f"{fmean(run.train_seconds / run.epochs for run in runs):.3g}")
        rows.append(
            (
                _head(configuration, anchors),
                number_cell(reported.train_seconds_transcript),
                number_cell(reported.train_seconds_prose),
                TableCell(reported.params or NOTHING),
                number_cell(reported.mmac),
                seconds,
                per_epoch,
                TableCell(f"{size.report_parameters:,}"),
                TableCell(f"{size.report_macs:,}"),
                TableCell(f"{size.parameters:,}", _as_trained(configuration)),
                TableCell(f"{size.macs_per_char:,}", f"{100 * head_share:.0f} % output layer"),
                _corrected(*parameters),
                _corrected(*macs),
            )
        )
    return Sheet(
        "Training time, parameters and multiply-accumulates (MACs), as ptflops counts them. The report's convention "
        f"is the recurrent layers alone, and MACs of {REPORT_CHARS:,} characters; the other counts the output layer "
        "too, and MACs of one character.",
        (
            "configuration", "seconds, transcript", "seconds, prose", "parameters", "MMac", "seconds", "s per epoch",
            "parameters", f"MACs of {REPORT_CHARS:,}", "parameters", "MACs per character", "parameters", "MMac",
        ),
        tuple(rows),
        (
            ("", 1),
            ("As reported", 4),
            ("Reproduced: time", 2),
            ("Reproduced: report's convention", 2),
            ("Reproduced: with output layer", 2),
            ("Corrected", 2),
        ),
        "cost",
    )  # fmt: skip


def text_sheet(reproduction: Reproduction, anchors: Mapping[str, str]) -> Sheet | None:
    """Generated texts by prompt, the reported above ours; None without any text."""
    reported = {configuration.id: dict(configuration.reported.samples) for configuration in reproduction.configurations}
    ours: dict[str, tuple[str, dict[str, str]]] = {}
    for configuration in reproduction.configurations:
        generating = [run for run in configuration.furthest if run.texts]
        ours[configuration.id] = (
            (f"reproduced, seed {generating[0].seed}", dict(generating[0].texts)) if generating else ("reproduced", {})
        )
    known = [dict(texts) for texts in reported.values()] + [texts for _, texts in ours.values()]
    if not any(known):
        return None
    prompts_generated = {prompt for texts in known for prompt in texts}
    in_order = dict.fromkeys([*REPORT_PROMPTS, *(prompt for texts in known for prompt in texts)])
    prompts = [prompt for prompt in in_order if prompt in prompts_generated]
    places = {place.prompt: place for place in reversed(reproduction.text.prompts)}  # the first place of each
    others = [prompt for prompt in prompts if prompt not in REPORT_PROMPTS]
    rows: list[tuple[TableCell, ...]] = []
    if places:
        row = [TableCell("the text itself"), TableCell("goes on")]
        for prompt in prompts:
            if place := places.get(prompt):
                where = f"{place.split} text, character {place.position:,}"
                row.append(TableCell(_visible(prompt + place.continuation), where, "text"))
            else:
                row.append(TableCell(note="not looked for" if prompt in others else "not in it"))
        rows.append(tuple(row))
    for configuration in reproduction.configurations:
        source, texts = ours[configuration.id]
        missing = {
            prompt: TableCell(note="not asked of ours" if prompt in others else configuration.state)
            for prompt in prompts
        }
        rows.append(
            (
                _head(configuration, anchors, 2),
                TableCell("as reported"),
                *(_generated(reported[configuration.id], prompt, TableCell()) for prompt in prompts),
            )
        )
        generated = (_generated(texts, prompt, missing[prompt]) for prompt in prompts)
        rows.append((TableCell("", rows=0), TableCell(source), *generated))
    caption = "The characters that follow a prompt, the likeliest one each time (greedy), with the prompt in front."
    if others:
        asked = listed([f"“{prompt}”" for prompt in REPORT_PROMPTS])
        caption += (
            f" Our trainings write on from {asked} alone, so that nothing stands beside what is reported of others."
        )
    if any(SPACE_SIGN in cell.text for row in rows for cell in row):
        caption += f" {SPACE_SIGN} is a space that would not be seen."
    return Sheet(
        caption,
        ("configuration", "", *prompts),
        tuple(rows),
        kind="texts",
    )


def _generated(texts: Mapping[str, str], prompt: str, otherwise: TableCell) -> TableCell:
    return TableCell(_visible(texts[prompt]), kind="text") if prompt in texts else otherwise


def _visible(text: str) -> str:
    """Mark leading, trailing and repeated spaces, which HTML and Markdown would not show."""
    return sub(r"^ +| +$| {2,}", lambda spaces: SPACE_SIGN * len(spaces[0]), text)


def baseline_sheet(reproduction: Reproduction) -> Sheet:
    """Perplexities of the n-gram baselines, by order."""
    text = reproduction.text
    rows = []
    for order, value in sorted(text.val_perplexities.items()):
        windowed = text.windowed.get(order)
        name = "letter frequencies" if order == 1 else f"Kneser-Ney {order}-gram"
        rows.append(
            (
                TableCell(name),
                TableCell(rounded(value)),
                TableCell() if windowed is None else TableCell(rounded(windowed)),
            )
        )
    return Sheet(
        "Perplexity per character of n-gram models fitted on the characters that the networks are trained on, over the "
        "characters that validate them.",
        ("model", "validation", f"each window of {WINDOW_LENGTH} characters on its own"),
        tuple(rows),
        kind="baselines",
    )


CHECKED: tuple[tuple[CheckKind, str, str], ...] = (
    # kind, column head, words for a check without a reference
    ("printed", "sizes, as printed", "of a known error"),
    ("trained", "size, as trained", ""),
    ("train", "training perplexity", "nothing to compare with"),
    ("val", "validation perplexity", "nothing to compare with"),
)


def check_sheet(reproduction: Reproduction, checks: Sequence[Check]) -> Sheet:
    """Results of the checks by configuration and kind, and the epochs that were compared."""
    rows = []
    for configuration in reproduction.configurations:
        of_it = [check for check in checks if check.configuration == configuration.id]
        tallies = [
            _tally(Counter(check.is_met for check in of_it if check.kind == kind), unheld)
            for kind, _, unheld in CHECKED
        ]
        compared = {(check.epochs, check.planned) for check in of_it if check.epochs}
        where = [f"{listed(list(map(str, epochs)))} of {planned}" for epochs, planned in sorted(compared)]
        rows.append((TableCell(configuration.id), *tallies, TableCell("; ".join(where) or NOTHING)))
    return Sheet(
        "What --check holds these figures against: sizes as measured against those printed, and as trained against "
        "those of the shape; perplexities of each seed against the bands of d2l 1.0.3 after the epochs named.",
        ("configuration", *(head for _, head, _ in CHECKED), "compared after epoch"),
        tuple(rows),
        kind="checks",
    )


def _tally(counts: Mapping[bool | None, int], unheld: str) -> TableCell:
    """A cell that counts results: "✓ 2 met", "✗ 1 met, 1 not met" or "? 2 nothing to compare with"."""
    words = [(counts.get(True, 0), "met"), (counts.get(False, 0), "not met"), (counts.get(None, 0), unheld)]
    tally = ", ".join(f"{count} {word}" for count, word in words if count)
    if not tally:
        return TableCell()
    sign, kind = SIGNS["not reproduced" if counts.get(False) else "reproduced" if counts.get(True) else "open"]
    return TableCell(f"{sign} {tally}", kind=f"tally {kind}")


def verdict_sheet(verdicts: Sequence[Verdict]) -> Sheet:
    """Statements with their verdicts and reasons."""
    rows = []
    for verdict in verdicts:
        sign, kind = SIGNS[verdict.word]
        statement = verdict.statement
        figures = f", Fig. {', '.join(statement.figures)}" if statement.figures else ""
        told = TableCell(statement.statement, f"{statement.id}{figures}")
        word = TableCell(f"{sign} {verdict.word}", verdict.part, f"verdict {kind}")
        rows.append((told, word, TableCell(verdict.because)))
    return Sheet(
        "Each verdict is computed from the report's own numbers or from the recorded runs.",
        ("what the report says, in our words", "verdict", "because"),
        tuple(rows),
        kind="verdicts",
    )


def correction_sheet(corrections: Sequence[Correction]) -> Sheet:
    """The report's errors as reported, found and concluded instead."""
    return Sheet(
        "What the report says, what is so, and what we would conclude.",
        ("error", "as reported", "found", "concluded instead"),
        tuple(
            (
                TableCell(f"{correction.number}. {correction.title}"),
                TableCell(correction.reported),
                TableCell(correction.found),
                TableCell(correction.instead),
            )
            for correction in corrections
        ),
        kind="corrections",
    )
