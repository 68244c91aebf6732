"""Render the report's page: one HTML file, and Markdown with its figures in a folder.

``pages`` depends on recorded figures alone. The wording is in Python (``sentences``, ``sheets``), the layout in
templates/.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from re import sub
from textwrap import indent
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN, WINDOW_VAL
from pipeline.report.checks import Check, counts_in_words
from pipeline.report.corrections import Correction
from pipeline.report.explanations import Explanation
from pipeline.report.page.figures import configurations_compared, perplexity_against_macs, training_curves
from pipeline.report.page.sentences import (
    about_sentences,
    banners,
    drawn_baselines,
    outcome_counts,
    quick_words,
    summary_sentences,
    titled,
    training_sentence,
)
from pipeline.report.page.sheets import (
    baseline_sheet,
    check_sheet,
    correction_sheet,
    cost_sheet,
    perplexity_sheet,
    text_sheet,
    verdict_sheet,
)
from pipeline.report.reproduction import Configuration, Reproduction
from pipeline.report.statements.evidence import protocol_epochs
from pipeline.report.statements.verdicts import Verdict
from pipeline.report.table import report_table
from pipeline.report.wording import listed, rounded, span
from pipeline.support.files import write_atomically
from pipeline.support.markdown import plain
from pipeline.support.statistics import estimate

TEMPLATES = Path(__file__).with_name("templates")


@dataclass(frozen=True)
class Pages:
    """The report as HTML and as Markdown; ``figures`` are PNG by their path beside the Markdown, and in the HTML."""

    html: str
    markdown: str
    figures: Mapping[str, bytes]


def write(pages: Pages, folder: Path) -> None:
    """Write report.html, report.md and figures/ atomically, figures first."""
    for name, png in pages.figures.items():
        write_atomically(folder / name, png)
    write_atomically(folder / "report.md", pages.markdown.encode())
    write_atomically(folder / "report.html", pages.html.encode())


@dataclass(frozen=True)
class Picture:
    """A figure with its anchor, path, caption and alternative text."""

    anchor: str
    path: str
    png: bytes
    caption: str
    alt: str

    @property
    def address(self) -> str:
        """The PNG as a data: URL."""
        return f"data:image/png;base64,{b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Question:
    """A question of the report, the configurations that answer it, and the function that draws them."""

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
    """Render the whole report; sections without content (another table has no verdicts) are left out."""
    own = reproduction.table.digest == report_table().digest
    anchors = _anchors(
        [
            *(question.anchor for question in QUESTIONS),
            "all",
            *(configuration.id for configuration in reproduction.configurations),
        ]
    )
    questions = _questions(reproduction, own)
    pictures = [
        _training_picture(reproduction, configuration, anchors[configuration.id])
        for configuration in reproduction.configurations
    ]
    title = "The report, reproduced and corrected" if own else f"{reproduction.table.name}, reproduced"
    content: dict[str, Any] = {
        "title": f"{quick_words(reproduction)}. {title}" if reproduction.quick else title,
        "about": about_sentences(reproduction, own),
        "reproduction": reproduction,
        "own": own,
        "banners": banners(reproduction),
        "trained": training_sentence(reproduction),
        "summary": summary_sentences(reproduction, verdicts),
        "perplexity": perplexity_sheet(reproduction, anchors, own),
        "cost": cost_sheet(reproduction, anchors),
        "texts": text_sheet(reproduction, anchors),
        "questions": questions,
        "pictures": pictures,
        "counts": outcome_counts(verdicts),
        "verdicts": verdict_sheet(verdicts) if verdicts else None,
        "corrections": correction_sheet(corrections) if corrections else None,
        "explanations": tuple(explanations),
        "baselines": baseline_sheet(reproduction),
        "checks": check_sheet(reproduction, checks) if checks else None,
        "checks_counted": counts_in_words(checks),
        "not_met": [check.said for check in checks if check.is_met is False],
        "known_errors": [check.said for check in checks if check.is_met is None and check.kind == "printed"],
        "commands": _commands(reproduction),
        "bar_label": f"{reproduction.text.test_order}-gram",
        "test_bar": rounded(reproduction.text.test_perplexity),
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
    """The Jinja environment for Markdown: every value is escaped unless a template marks it as safe."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # escapes HTML; finalize escapes Markdown
        finalize=lambda value: value if hasattr(value, "__html__") else plain(str(value)),  # safe strings have __html__
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = lambda text: indent(" ".join(text.split()), "    ")  # an indented block
    return environment


def _anchors(names: Sequence[str]) -> dict[str, str]:
    """A unique anchor and file name for each name: letters, digits and hyphens, which need no escaping anywhere."""
    anchors: dict[str, str] = {}
    for name in names:
        base = sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60] or "configuration"
        taken = {anchor.lower() for anchor in anchors.values()}  # some file systems ignore case
        numbered = (base if number == 1 else f"{base}-{number}" for number in range(1, len(names) + 1))
        anchors[name] = next(anchor for anchor in numbered if anchor.lower() not in taken)
    return anchors


def _sections(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Anchor and title of each section present, in page order."""
    sections = [
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
        ("verdicts", "Verdicts on the statements", content["verdicts"] is not None),
        ("corrections", "What the report gets wrong", content["corrections"] is not None),
        ("explanations", "Explained", content["explanations"]),
        ("baselines", "The n-gram baselines", True),
        ("checks", "Checks", content["checks"] is not None),
        ("made", "How this was made", True),
        ("sources", "Sources", True),
    ]
    return [(anchor, title) for anchor, title, present in sections if present]


# --- the figures -----------------------------------------------------------------------------------------------------


def _questions(reproduction: Reproduction, own: bool) -> list[Picture]:
    """One comparison per question of the report; for another table, a single one of all its configurations."""
    ids = tuple(configuration.id for configuration in reproduction.configurations)
    everything = Question("all", "Perplexity against MACs", ids, perplexity_against_macs)
    pictures = []
    for question in QUESTIONS if own else (everything,):
        chosen = [configuration for configuration in reproduction.configurations if configuration.id in question.ids]
        chosen.sort(key=lambda configuration: question.ids.index(configuration.id))
        if not chosen:
            continue
        png = question.draw(chosen, drawn_baselines(reproduction), titled(reproduction, question.title))
        trained = sorted(
            (configuration for configuration in chosen if configuration.whole),
            key=lambda configuration: configuration.mean_best_val,
        )  # incomplete trainings are not ranked
        ranked = listed([f"{configuration.id} {rounded(configuration.mean_best_val)}" for configuration in trained[:8]])
        more = f", and {len(trained) - 8} more" if len(trained) > 8 else ""
        incomplete = listed(
            [f"{configuration.id} ({configuration.state})" for configuration in chosen if configuration.state]
        )
        answer = f"Best validation perplexity: {ranked}{more}." if trained else "Nothing was trained to its end."
        answer += f" Incomplete: {incomplete}." if incomplete else ""
        alt = f"{titled(reproduction, question.title)} Validation perplexity of {len(chosen)} configurations. {answer}"
        caption = f"{titled(reproduction, question.title)} {answer}"
        pictures.append(Picture(f"figure-{question.anchor}", f"figures/{question.anchor}.png", png, caption, alt))
    return pictures


def _training_picture(reproduction: Reproduction, configuration: Configuration, anchor: str) -> Picture:
    reported, runs = configuration.reported, configuration.furthest
    planned = max((run.epochs_planned for run in runs), default=protocol_epochs(reported))
    kind = "from scratch" if reported.implementation == "scratch" else "torch.nn"
    title = f"{configuration.label}, {kind}"
    png = training_curves(configuration, planned, drawn_baselines(reproduction), titled(reproduction, title))
    remarks = [configuration.state] if configuration.state else []
    if runs:
        train, val = (estimate([getattr(run, curve)[-1] for run in runs]).mean for curve in ("train", "val"))
        ends = "training ends at" if configuration.whole else "training is at"
        remarks.append(
            f"{ends} {rounded(train)}, validation at {rounded(val)}, best {rounded(configuration.mean_best_val)} at "
            f"epoch {span([run.best_epoch for run in runs])}"
        )
    if reported.gap:
        remarks.append(f"the gap as reported: “{reported.gap}”")
    words = "; ".join(remarks)
    caption = f"{configuration.id}: {words}." if words else f"{configuration.id}."
    if reproduction.quick:
        caption = f"{caption} {quick_words(reproduction)}."
    alt = f"Perplexity by epoch of {caption}"
    return Picture(f"figure-{anchor}", f"figures/{anchor}.png", png, caption, alt)


# --- how it was made -------------------------------------------------------------------------------------------------


def _commands(reproduction: Reproduction) -> list[str]:
    """The commands that repeat the reproduction, after a sentence that says whether the record has all of them."""
    if not reproduction.commands:
        return ["The commands were not kept."]
    if reproduction.commands_known:
        return ["To repeat it:", *reproduction.commands]
    sentence = "To repeat it, the first and the last command; what was asked for between them was not kept:"
    return [sentence, *reproduction.commands]
