"""The reproduced report as a page: as reported, reproduced, corrected. One HTML file, and Markdown beside its figures.

``pages`` is a function of recorded figures alone; what is said is worded here, how it looks is in templates/.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from re import sub
from statistics import fmean
from textwrap import indent
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.complexity import REPORT_CHARS
from models.ngram import BASELINE_LABEL
from pipeline.checks import Check, CheckKind, counts_in_words
from pipeline.config import REPORT_PROMPTS, WINDOW_LENGTH, WINDOW_TRAIN, WINDOW_VAL
from pipeline.evidence import (
    BASELINE_ORDER,
    BEST_POOLED,
    better_than_counting,
    counted,
    listed,
    protocol_epochs,
    time_and_size,
)
from pipeline.files import write_atomically
from pipeline.markdown import plain
from pipeline.report_figures import configurations_compared, perplexity_against_macs, training_curves
from pipeline.reported import report_table
from pipeline.reproduced import Configuration, RecordedTraining, Reproduction
from pipeline.statistics import Estimate, estimate
from pipeline.verdicts import Correction, Explanation, Verdict

TEMPLATES = Path(__file__).with_name("templates")
DRAWN_ORDERS = (1, 4, 6)  # of the n-grams, as lines in the figures
NOTHING = "\N{EN DASH}"
SPACE_SIGN = "\N{OPEN BOX}"  # where a space would not be seen
SIGNS = {"holds": ("✓", "holds"), "does not hold": ("✗", "fails"), "can't be judged": ("?", "open")}  # sign, CSS class


@dataclass(frozen=True)
class Pages:
    """The report as HTML and as Markdown; ``figures`` are PNG by their path beside the Markdown, and in the HTML."""

    html: str
    markdown: str
    figures: Mapping[str, bytes]


def write(pages: Pages, folder: Path) -> None:
    """report.html, report.md and figures/: each file whole or not there, the pages after what they show."""
    for name, png in pages.figures.items():
        write_atomically(folder / name, png)
    write_atomically(folder / "report.md", pages.markdown.encode())
    write_atomically(folder / "report.html", pages.html.encode())


# --- what the templates are given ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TableCell:
    """A table's cell: its text, a smaller line below it, how it is marked, and over how many rows it reaches.

    A cell of no rows stands where one from above reaches to. ``link`` is the anchor of a figure.
    """

    text: str = NOTHING
    note: str = ""
    kind: str = ""
    rows: int = 1
    link: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table: groups of columns (title, how many), heads, and rows of cells, the first of which is the row's head."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[TableCell, ...], ...]
    groups: tuple[tuple[str, int], ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure: its anchor, where it lies, what it shows, and in words for those who don't see it."""

    anchor: str
    path: str
    png: bytes
    caption: str
    alt: str

    @property
    def address(self) -> str:
        """The picture as a data: address."""
        return f"data:image/png;base64,{b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Question:
    """What the report asks of some of its configurations."""

    anchor: str
    title: str
    ids: tuple[str, ...]
    draw: Callable[[Sequence[Configuration], Mapping[str, float], str], bytes] = configurations_compared


QUESTIONS = (
    Question(
        "gru-hidden-size",
        "Which hidden size suits the GRU from scratch?",
        ("gru-scratch-1x8", "gru-scratch-1x32", "gru-scratch-1x128", "gru-scratch-1x1024"),
    ),
    Question(
        "lstm-hidden-size",
        "Which hidden size suits the LSTM from scratch?",
        ("lstm-scratch-1x8", "lstm-scratch-1x32", "lstm-scratch-1x128", "lstm-scratch-1x1024"),
    ),
    Question(
        "cells",
        "RNN, GRU or LSTM, with one layer of 128?",
        ("rnn-torch-1x128", "gru-torch-1x128", "lstm-torch-1x128"),
    ),
    Question(
        "depth",
        "Two layers or eight?",
        ("gru-torch-2x32", "lstm-torch-2x32", "gru-torch-8x32", "lstm-torch-8x32"),
    ),
    Question(
        "width-and-depth",
        "Wider or deeper?",
        (
            "gru-torch-2x32",
            "lstm-torch-2x32",
            "gru-torch-2x128",
            "lstm-torch-2x128",
            "gru-torch-8x32",
            "lstm-torch-8x32",
        ),
        perplexity_against_macs,
    ),
)


def pages(
    reproduction: Reproduction,
    verdicts: Sequence[Verdict] = (),
    corrections: Sequence[Correction] = (),
    explanations: Sequence[Explanation] = (),
    checks: Sequence[Check] = (),
) -> Pages:
    """The whole report. What is empty (another table has no verdicts) is left out."""
    own = reproduction.table.digest == report_table().digest
    anchors = _anchors(
        [*(question.anchor for question in QUESTIONS), "all", *(each.id for each in reproduction.configurations)]
    )
    questions = _questions(reproduction, own)
    pictures = [_training_picture(reproduction, each, anchors[each.id]) for each in reproduction.configurations]
    title = "The report, reproduced and corrected" if own else f"{reproduction.table.name}, reproduced"
    content: dict[str, Any] = {
        "title": f"{_quick_words(reproduction)}. {title}" if reproduction.quick else title,
        "about": _about(reproduction, own),
        "found": reproduction,
        "own": own,
        "banners": _banners(reproduction),
        "trained": _trained(reproduction),
        "summary": _summary(reproduction, verdicts),
        "perplexity": _perplexity_sheet(reproduction, anchors, own),
        "cost": _cost_sheet(reproduction, anchors),
        "time_and_size": time_and_size(reproduction),
        "texts": _text_sheet(reproduction, anchors),
        "questions": questions,
        "pictures": pictures,
        "counts": _counts(verdicts),
        "verdicts": _verdict_sheet(verdicts) if verdicts else None,
        "corrections": _correction_sheet(corrections) if corrections else None,
        "explanations": tuple(explanations),
        "baselines": _baseline_sheet(reproduction),
        "checks": _check_sheet(reproduction, checks) if checks else None,
        "checks_counted": counts_in_words(checks),
        "not_met": [check.said for check in checks if check.is_met is False],
        "known_errors": [check.said for check in checks if check.is_met is None and check.kind == "printed"],
        "commands": _commands(reproduction),
        "bar_label": BASELINE_LABEL,
        "test_bar": _number(reproduction.text.test_perplexity),
        "windows": f"{WINDOW_TRAIN:,} windows of {WINDOW_LENGTH} characters train, the next {WINDOW_VAL:,} validate",
    }
    content["sections"] = _sections(content)
    return Pages(
        html=_html().get_template("report.html.jinja").render(content),
        markdown=_markdown().get_template("report.md.jinja").render(content),
        figures={picture.path: picture.png for picture in (*questions, *pictures)},
    )


def _html() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _markdown() -> Environment:
    """The environment of the Markdown template: every value is escaped unless a template marks it as safe."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # that is HTML's; finalize escapes for Markdown
        finalize=lambda value: value if hasattr(value, "__html__") else plain(str(value)),  # what is safe has it
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = lambda text: indent(" ".join(text.split()), "    ")  # in which nothing is markup
    return environment


def _anchors(names: Sequence[str]) -> dict[str, str]:
    """Each name as an anchor and file name of its own: letters, digits and hyphens, which no format needs to escape."""
    anchors: dict[str, str] = {}
    for name in names:
        base = sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60] or "configuration"
        taken = {anchor.lower() for anchor in anchors.values()}  # some file systems know no case
        numbered = (base if number == 1 else f"{base}-{number}" for number in range(1, len(names) + 1))
        anchors[name] = next(anchor for anchor in numbered if anchor.lower() not in taken)
    return anchors


def _sections(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Anchor and title of each section that is there, in the page's order."""
    listed = [
        ("summary", "Summary", True),
        ("perplexity", "Perplexity: as reported, reproduced, corrected", True),
        ("cost", "Time and size: as reported, reproduced, corrected", True),
        ("texts", "Generated text", content["texts"] is not None),
        (
            "questions",
            "The report's questions" if content["own"] else "All configurations compared",
            content["questions"],
        ),
        ("configurations", "Each configuration", content["pictures"]),
        ("verdicts", "Verdicts on the claims", content["verdicts"] is not None),
        ("corrections", "What the report gets wrong", content["corrections"] is not None),
        ("explanations", "Explained", content["explanations"]),
        ("baselines", "The n-gram baselines", True),
        ("checks", "Checks", content["checks"] is not None),
        ("made", "How this was made", True),
        ("sources", "Sources", True),
    ]
    return [(anchor, title) for anchor, title, there in listed if there]


# --- numbers and words -----------------------------------------------------------------------------------------------


def _number(perplexity: float) -> str:
    """A perplexity with two decimals; fewer, or words, for a very large one."""
    if not isfinite(perplexity) or perplexity >= 1e6:
        return "over a million"
    return f"{perplexity:.2f}" if perplexity < 1000 else f"{perplexity:,.0f}"


def _estimated(values: Sequence[float], kind: str = "") -> TableCell:
    """The mean over the seeds, and its 95 % interval below."""
    if not values:
        return TableCell()
    mean = estimate(values)
    return TableCell(_number(mean.mean), _interval(mean), kind)


def _interval(mean: Estimate) -> str:
    return "" if mean.low is None or mean.high is None else f"{_number(mean.low)} to {_number(mean.high)}"


def _plain_number(value: float | None, unit: str = "") -> TableCell:
    return TableCell() if value is None else TableCell(f"{value:g}{unit}")


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _best(configuration: Configuration) -> float:
    """The mean over the seeds of the best validation perplexity."""
    return estimate([run.best_val for run in configuration.furthest]).mean


def _planned(configurations: Iterable[Configuration]) -> list[int]:
    return sorted({run.epochs_planned for each in configurations for run in each.furthest})


def _quick_words(reproduction: Reproduction) -> str:
    planned = _planned(reproduction.configurations) or [0]
    return f"A quick check of {_span(planned)} epoch{'' if planned == [1] else 's'}: no reproduction"


def _titled(reproduction: Reproduction, title: str) -> str:
    return f"{title} ({_quick_words(reproduction)[2:]})" if reproduction.quick else title


def _baselines(reproduction: Reproduction) -> dict[str, float]:
    """The n-grams that figures show, by label."""
    known = reproduction.text.val_perplexities
    return {_order_name(order): known[order] for order in DRAWN_ORDERS if order in known}


def _order_name(order: int) -> str:
    return "letter frequencies" if order == 1 else f"{order}-gram"


def _about(reproduction: Reproduction, own: bool) -> list[str]:
    """What the page is about and for whom, and its two measures, for a reader who knows neither."""
    what = (
        "“The report” is a coursework report of 2023 that trains character-level GRU, LSTM and RNN language models on "
        "H. G. Wells's The Time Machine in the style of the d2l.ai book, and compares their perplexity, training time, "
        "text and size; this page trains them again under the book's protocol, for its readers, and for students of "
        "what such figures do and do not show."
        if own
        else f"This page sets what {reproduction.table.name} reports of character-level recurrent language models "
        "beside the same models trained on H. G. Wells's The Time Machine under the protocol of the d2l.ai book."
    )
    return [
        what,
        "Perplexity, exp of the mean cross-entropy per character, is the number of equally likely characters "
        "between which a model is left undecided on average: "
        f"{reproduction.text.vocab_size} is a blind guess, 1 is certainty. MACs, multiply-accumulate operations, are "
        "what the use of a model costs, whatever the machine.",
    ]


def _banners(reproduction: Reproduction) -> list[str]:
    """What a reader must know before anything else."""
    said = []
    if reproduction.quick:
        said.append(
            f"{_quick_words(reproduction)}. Its figures say that everything runs, and nothing of the report's claims."
        )
    else:
        other = [
            each
            for each in reproduction.configurations
            if any(run.epochs_planned != protocol_epochs(each.reported) for run in each.furthest)
        ]
        if other:
            said.append(
                f"{listed([each.id for each in other])}: trained for {_span(_planned(other))} epochs, where the "
                f"protocol has {_span([protocol_epochs(each.reported) for each in other])}."
            )
    return said


def _trained(reproduction: Reproduction) -> str:
    """What was trained, in a sentence."""
    runs = [run for each in reproduction.configurations for run in each.runs]
    if not runs:
        return "Nothing has been trained."
    seeds = sorted({run.seed for run in runs})
    begun = sum(bool(each.runs) for each in reproduction.configurations)
    whole = sum(run.is_whole for run in runs)
    of_them = "all of them whole" if whole == len(runs) else f"{whole} of them whole"
    named = f"seed{'s' * (len(seeds) > 1)} {listed([str(seed) for seed in seeds])}"
    return (
        f"{counted(len(runs), 'training')} of {begun} of {len(reproduction.configurations)} configurations, {of_them}: "
        f"{_span(_planned(reproduction.configurations) or [0])} epochs, {named}."
    )


# --- the summary -----------------------------------------------------------------------------------------------------


def _summary(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> list[str]:
    """What came out, in five sentences; fewer where there is nothing to say."""
    whole = [each for each in reproduction.configurations if each.whole]
    missing: dict[tuple[str, str], list[str]] = {}
    for each in reproduction.configurations:
        if not each.whole:
            missing.setdefault((each.progress, each.stopped), []).append(each.id)
    trained = f"{len(whole)} of {len(reproduction.configurations)} configurations were trained for all their epochs"
    said = ["; ".join([trained, *(_missing(*how, ids) for how, ids in missing.items())]) + "."]
    if whole:
        said += [_best_sentence(reproduction, whole), _gap_sentence(whole)]
    said.append(_claims_sentence(reproduction, verdicts))
    streamed = [
        (run.best_val, run.test_perplexity, each.shape)
        for each in reproduction.configurations
        for run in each.stream
        if run.is_whole and run.test_perplexity is not None
    ]
    if streamed:
        val, value, shape = min(streamed, key=lambda each: each[0])  # the test text chooses nothing
        baseline = reproduction.text.test_perplexity
        said.append(
            f"Trained on nine tenths of the text by this project's own recipe, the best of the same shapes by "
            f"validation ({shape}, {_number(val)}) has a perplexity of {_number(value)} on held-out test text, "
            f"{'ahead of' if value < baseline else 'behind'} a Kneser-Ney {BASELINE_LABEL}'s {_number(baseline)}."
        )
    return said


def _missing(progress: str, stopped: str, ids: Sequence[str]) -> str:
    """What became of those that were not trained to their end."""
    were = "was" if len(ids) == 1 else "were"
    if progress == "not run":
        return f"{listed(ids)} {were} not run"
    return (
        f"{listed(ids)} {were} stopped after {progress} ({stopped})"
        if stopped
        else f"{listed(ids)} {were} trained for {progress}"
    )


def _best_sentence(reproduction: Reproduction, whole: Sequence[Configuration]) -> str:
    """The best network beside n-grams, which are compared as pipeline.evidence compares them."""
    best = min(whole, key=_best)
    epochs = _span([run.best_epoch for run in best.furthest])
    text = reproduction.text
    sentence = f"The best network reaches a validation perplexity of {_number(_best(best))} ({best.id}, epoch {epochs})"
    if BASELINE_ORDER not in text.windowed:
        return f"{sentence}."
    pooled = estimate([BEST_POOLED.of(run) for run in best.furthest]).mean
    ahead = len(better_than_counting(text, {each.id: each.furthest for each in whole}))
    orders = [order for order in (4, 5, 6) if order in text.windowed]
    windowed, known = (
        listed([f"{_number(baselines[order])} for order {order}" for order in orders if order in baselines])
        for baselines in (text.windowed, text.val_perplexities)
    )
    return (
        f"{sentence}, averaged as the book does it, and {_number(pooled)} pooled over all characters. Modified "
        f"Kneser-Ney n-grams (Chen and Goodman 1998) of the same training characters reach {windowed} where each "
        f"window of {WINDOW_LENGTH} starts without context, as the networks' do, and {known} with it, so that "
        f"{ahead or 'none'} of the {len(whole)} networks {'is' if ahead in (0, 1) else 'are'} better than a "
        f"{BASELINE_ORDER}-gram that reads as they do."
    )


def _gap_sentence(whole: Sequence[Configuration]) -> str:
    def end(each: Configuration, curve: str) -> float:
        return estimate([getattr(run, curve)[-1] for run in each.furthest]).mean

    widest = max(whole, key=lambda each: end(each, "val") - end(each, "train"))
    epochs = _span([run.best_epoch for run in widest.furthest])
    return (
        f"The gap is widest for {widest.id}, which ends at {_number(end(widest, 'train'))} in training and at "
        f"{_number(end(widest, 'val'))} in validation, after {_number(_best(widest))} at epoch {epochs}."
    )


def _counts(verdicts: Sequence[Verdict]) -> str:
    """The verdicts counted: 12 hold, 20 do not hold, 4 can't be judged."""
    words = (("holds", "hold"), ("does not hold", "do not hold"), ("can't be judged", "can't be judged"))
    numbers = [(sum(verdict.outcome == outcome for verdict in verdicts), outcome, many) for outcome, many in words]
    return ", ".join(f"{number} {one if number == 1 else many}" for number, one, many in numbers)


def _claims_sentence(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> str:
    judged = [agrees for each in reproduction.configurations for _, _, agrees in _printed(each)]
    printed = [agrees for agrees in judged if agrees is not None]
    right = sum(printed)
    sizes = "Parameters and MACs are not reported."
    if printed:
        sizes = f"{right} of {counted(len(printed), 'reported size')} (parameters, MACs) are those of the shape named."
    return f"Of {len(verdicts)} claims, {_counts(verdicts)}; {sizes}" if verdicts else sizes


# --- the tables ------------------------------------------------------------------------------------------------------


def _head(configuration: Configuration, anchors: Mapping[str, str], rows: int = 1) -> TableCell:
    figures = configuration.reported.figures
    note = f"Fig. {', '.join(figures)}" if figures else ""
    return TableCell(configuration.id, note, rows=rows, link=anchors[configuration.id])


def _runs(configuration: Configuration) -> TableCell:
    """How many seeds the figures are means of, and what is missing."""
    runs = configuration.furthest
    state, others = configuration.state, sorted({run.precision for run in runs} - {"fp32"})
    if not runs:
        return TableCell(state, kind="missing")
    note = ", ".join([state or f"{_span([run.epochs for run in runs])} epochs", *others])
    return TableCell(counted(len(runs), "seed"), note, "missing" if state else "")


def _perplexity_sheet(reproduction: Reproduction, anchors: Mapping[str, str], own: bool) -> Sheet:
    rows = []
    for each in reproduction.configurations:
        runs, reported = each.furthest, each.reported
        best = [run.best_epoch - 1 for run in runs]

        def at_best(curve: str, runs: Sequence[RecordedTraining] = runs, best: Sequence[int] = best) -> list[float]:
            return [getattr(run, curve)[epoch] for run, epoch in zip(runs, best, strict=True)]

        corrected = TableCell()
        if runs and each.whole and not reproduction.quick:
            epochs = _span([epoch + 1 for epoch in best])
            corrected = TableCell(_number(_best(each)), f"epoch {epochs}", "corrected")
        streamed = [run for run in each.stream if run.is_whole]
        tests = [run.test_perplexity for run in streamed if run.test_perplexity is not None]
        rows.append(
            (
                _head(each, anchors),
                _plain_number(reported.perplexity_start),
                _plain_number(reported.perplexity_end),
                _runs(each),
                _estimated([run.train[0] for run in runs]),
                _estimated(at_best("train")),
                _estimated([run.train[-1] for run in runs]),
                _estimated([run.val[0] for run in runs]),
                _estimated(at_best("val"), "strong"),
                _estimated([run.val[-1] for run in runs]),
                _estimated(at_best("val_pooled")),
                _estimated([run.val_pooled[-1] for run in runs]),
                corrected,
                _estimated([run.best_val for run in streamed], "other"),
                _estimated(tests),
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


def _printed(configuration: Configuration) -> tuple[tuple[str, str, bool | None], tuple[str, str, bool | None]]:
    """Parameters and MMac: as they should be printed, as they are, and whether these agree."""
    reported, size = configuration.reported, configuration.complexity
    mmac = "" if reported.mmac is None else f"{reported.mmac:.10g}"
    return (
        (
            f"{size.report_parameters / 1e3:,.2f} k",
            reported.params,
            reported.agrees_on_parameters(size.report_parameters),
        ),
        (f"{size.report_macs / 1e6:,.2f}", mmac, reported.agrees_on_macs(size.report_macs)),
    )


def _corrected(right: str, printed: str, agrees: bool | None) -> TableCell:
    if agrees is None:
        return TableCell(right, "" if printed else "not printed")
    return TableCell(right, "✓ as printed") if agrees else TableCell(right, f"✗ not {printed}", "corrected")


def _as_trained(configuration: Configuration) -> str:
    """How many parameters its runs had, if not as many as torch.nn's layers: the book's equations have one bias."""
    numbers = {run.trained_parameters for run in configuration.furthest} - {None, configuration.complexity.parameters}
    return "".join(f"{number:,} trained" for number in sorted(filter(None, numbers)))


def _cost_sheet(reproduction: Reproduction, anchors: Mapping[str, str]) -> Sheet:
    rows = []
    for each in reproduction.configurations:
        runs, reported, size = each.furthest, each.reported, each.complexity
        parameters, macs = _printed(each)
        head_share = 1 - size.report_macs / REPORT_CHARS / size.macs_per_char
        seconds, per_epoch = TableCell(), TableCell()
        if runs:
            seconds = TableCell(f"{fmean(run.train_seconds for run in runs):,.1f}", each.state)
            per_epoch = TableCell(f"{fmean(run.train_seconds / run.epochs for run in runs):.3g}")
        rows.append(
            (
                _head(each, anchors),
                _plain_number(reported.train_seconds_transcript),
                _plain_number(reported.train_seconds_prose),
                TableCell(reported.params or NOTHING),
                _plain_number(reported.mmac),
                seconds,
                per_epoch,
                TableCell(f"{size.report_parameters:,}"),
                TableCell(f"{size.report_macs:,}"),
                TableCell(f"{size.parameters:,}", _as_trained(each)),
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


def _text_sheet(reproduction: Reproduction, anchors: Mapping[str, str]) -> Sheet | None:
    """The reported strings over ours, by prompt; None where neither has any."""
    reported = {each.id: dict(each.reported.samples) for each in reproduction.configurations}
    ours: dict[str, tuple[str, dict[str, str]]] = {}
    for each in reproduction.configurations:
        told = [run for run in each.furthest if run.texts]
        ours[each.id] = (f"reproduced, seed {told[0].seed}", dict(told[0].texts)) if told else ("reproduced", {})
    known = [dict(texts) for texts in reported.values()] + [texts for _, texts in ours.values()]
    if not any(known):
        return None
    told_of = {prompt for texts in known for prompt in texts}
    in_order = dict.fromkeys([*REPORT_PROMPTS, *(prompt for texts in known for prompt in texts)])
    prompts = [prompt for prompt in in_order if prompt in told_of]
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
    for each in reproduction.configurations:
        source, texts = ours[each.id]
        missing = {
            prompt: TableCell(note="not asked of ours" if prompt in others else each.state) for prompt in prompts
        }
        rows.append(
            (
                _head(each, anchors, 2),
                TableCell("as reported"),
                *(_generated(reported[each.id], prompt, TableCell()) for prompt in prompts),
            )
        )
        generated = (_generated(texts, prompt, missing[prompt]) for prompt in prompts)
        rows.append((TableCell("", rows=0), TableCell(source), *generated))
    said = "The characters that follow a prompt, the likeliest one each time (greedy), with the prompt in front."
    if others:
        asked = listed([f"“{prompt}”" for prompt in REPORT_PROMPTS])
        said += f" Our trainings write on from {asked} alone, so that nothing stands beside what is reported of others."
    if any(SPACE_SIGN in cell.text for row in rows for cell in row):
        said += f" {SPACE_SIGN} is a space that would not be seen."
    return Sheet(
        said,
        ("configuration", "", *prompts),
        tuple(rows),
        kind="texts",
    )


def _generated(texts: Mapping[str, str], prompt: str, otherwise: TableCell) -> TableCell:
    return TableCell(_visible(texts[prompt]), kind="text") if prompt in texts else otherwise


def _visible(text: str) -> str:
    """The text with a sign for each space at an end or beside another one, which a page would not show."""
    return sub(r"^ +| +$| {2,}", lambda spaces: SPACE_SIGN * len(spaces[0]), text)


def _baseline_sheet(reproduction: Reproduction) -> Sheet:
    text = reproduction.text
    rows = []
    for order, value in sorted(text.val_perplexities.items()):
        windowed = text.windowed.get(order)
        name = "letter frequencies" if order == 1 else f"Kneser-Ney {order}-gram"
        rows.append(
            (
                TableCell(name),
                TableCell(_number(value)),
                TableCell() if windowed is None else TableCell(_number(windowed)),
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
    # kind, head of its column, what is said of one held against nothing
    ("printed", "sizes, as printed", "of a known error"),
    ("trained", "size, as trained", ""),
    ("train", "training perplexity", "nothing to compare with"),
    ("val", "validation perplexity", "nothing to compare with"),
)


def _check_sheet(reproduction: Reproduction, checks: Sequence[Check]) -> Sheet:
    """For each configuration how many figures of each kind are as they should be, and after which epochs."""
    rows = []
    for each in reproduction.configurations:
        of_it = [check for check in checks if check.configuration == each.id]
        tallies = [
            _tally(Counter(check.is_met for check in of_it if check.kind == kind), unheld)
            for kind, _, unheld in CHECKED
        ]
        compared = {(check.epochs, check.planned) for check in of_it if check.epochs}
        where = [f"{listed(list(map(str, epochs)))} of {planned}" for epochs, planned in sorted(compared)]
        rows.append((TableCell(each.id), *tallies, TableCell("; ".join(where) or NOTHING)))
    return Sheet(
        "What --check holds these figures against: sizes as measured against those printed, and as trained against "
        "those of the shape; perplexities of each seed against the bands of d2l 1.0.3 after the epochs named.",
        ("configuration", *(head for _, head, _ in CHECKED), "compared after epoch"),
        tuple(rows),
        kind="checks",
    )


def _tally(counts: Mapping[bool | None, int], unheld: str) -> TableCell:
    """✓ 2 met; ✗ 1 met, 1 not met; ? 2 nothing to compare with."""
    words = [(counts.get(True, 0), "met"), (counts.get(False, 0), "not met"), (counts.get(None, 0), unheld)]
    told = ", ".join(f"{count} {word}" for count, word in words if count)
    if not told:
        return TableCell()
    sign, kind = SIGNS["does not hold" if counts.get(False) else "holds" if counts.get(True) else "can't be judged"]
    return TableCell(f"{sign} {told}", kind=f"tally {kind}")


def _verdict_sheet(verdicts: Sequence[Verdict]) -> Sheet:
    rows = []
    for verdict in verdicts:
        sign, kind = SIGNS[verdict.outcome]
        claim = TableCell(verdict.claim.claim, f"{verdict.claim.id}, Fig. {verdict.claim.figures.replace(';', ', ')}")
        rows.append((claim, TableCell(f"{sign} {verdict.outcome}", kind=f"verdict {kind}"), TableCell(verdict.because)))
    return Sheet(
        "Each verdict is computed from the recorded runs.",
        ("what the report says, in our words", "verdict", "because"),
        tuple(rows),
        kind="verdicts",
    )


def _correction_sheet(corrections: Sequence[Correction]) -> Sheet:
    return Sheet(
        "What the report says, what is so, and what we would conclude.",
        ("error", "as reported", "found", "concluded instead"),
        tuple(
            (
                TableCell(f"{each.number}. {each.title}"),
                TableCell(each.reported),
                TableCell(each.found),
                TableCell(each.instead),
            )
            for each in corrections
        ),
        kind="corrections",
    )


# --- the figures -----------------------------------------------------------------------------------------------------


def _questions(reproduction: Reproduction, own: bool) -> list[Picture]:
    """A comparison for each question of the report; for another table, one of all its configurations."""
    everything = Question("all", "Perplexity against MACs", tuple(each.id for each in reproduction.configurations),
                          perplexity_against_macs)  # fmt: skip
    pictures = []
    for question in QUESTIONS if own else (everything,):
        chosen = [each for each in reproduction.configurations if each.id in question.ids]
        chosen.sort(key=lambda each: question.ids.index(each.id))
        if not chosen:
            continue
        png = question.draw(chosen, _baselines(reproduction), _titled(reproduction, question.title))
        trained = sorted((each for each in chosen if each.whole), key=_best)  # a part of a training has no rank
        ranked = listed([f"{each.id} {_number(_best(each))}" for each in trained[:8]])
        more = f", and {len(trained) - 8} more" if len(trained) > 8 else ""
        incomplete = listed([f"{each.id} ({each.state})" for each in chosen if each.state])
        answer = f"Best validation perplexity: {ranked}{more}." if trained else "Nothing was trained to its end."
        answer += f" Incomplete: {incomplete}." if incomplete else ""
        alt = f"{_titled(reproduction, question.title)} Validation perplexity of {len(chosen)} configurations. {answer}"
        caption = f"{_titled(reproduction, question.title)} {answer}"
        pictures.append(Picture(f"figure-{question.anchor}", f"figures/{question.anchor}.png", png, caption, alt))
    return pictures


def _training_picture(reproduction: Reproduction, configuration: Configuration, anchor: str) -> Picture:
    reported, runs = configuration.reported, configuration.furthest
    planned = max((run.epochs_planned for run in runs), default=protocol_epochs(reported))
    kind = "from scratch" if reported.implementation == "scratch" else "torch.nn"
    title = f"{configuration.label}, {kind}"
    png = training_curves(configuration, planned, _baselines(reproduction), _titled(reproduction, title))
    told = [configuration.state] if configuration.state else []
    if runs:
        train, val = (estimate([getattr(run, curve)[-1] for run in runs]).mean for curve in ("train", "val"))
        ends = "training ends at" if configuration.whole else "training is at"
        told.append(
            f"{ends} {_number(train)}, validation at {_number(val)}, best {_number(_best(configuration))} at "
            f"epoch {_span([run.best_epoch for run in runs])}"
        )
    if reported.gap:
        told.append(f"the gap as reported: “{reported.gap}”")
    words = "; ".join(told)
    caption = f"{configuration.id}: {words}." if words else f"{configuration.id}."
    if reproduction.quick:
        caption = f"{caption} {_quick_words(reproduction)}."
    alt = f"Perplexity by epoch of {caption}"
    return Picture(f"figure-{anchor}", f"figures/{anchor}.png", png, caption, alt)


# --- how it was made -------------------------------------------------------------------------------------------------


def _commands(reproduction: Reproduction) -> list[str]:
    """The commands that make it again, after a sentence where the record does not have them all."""
    if not reproduction.commands:
        return ["The commands were not kept."]
    if reproduction.commands_known:
        return ["To repeat it:", *reproduction.commands]
    said = "To repeat it, the first and the last command; what was asked for between them was not kept:"
    return [said, *reproduction.commands]
