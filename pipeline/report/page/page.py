"""The reproduced report as a page: as reported, reproduced, corrected. One HTML file, and Markdown beside its figures.

``pages`` is a function of recorded figures alone; what is said is worded here, how it looks is in templates/.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from re import sub
from textwrap import indent
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.ngram import BASELINE_LABEL
from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN, WINDOW_VAL
from pipeline.report.checks import Check, counts_in_words
from pipeline.report.claims.evidence import protocol_epochs
from pipeline.report.claims.findings import listed
from pipeline.report.claims.sizes import time_and_size
from pipeline.report.claims.verdicts import Correction, Explanation, Verdict
from pipeline.report.page.figures import configurations_compared, perplexity_against_macs, training_curves
from pipeline.report.page.sentences import (
    about_sentences,
    as_number,
    banners,
    best_of,
    drawn_baselines,
    outcome_counts,
    quick_words,
    span_text,
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
from pipeline.report.table import report_table
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
    """report.html, report.md and figures/: each file whole or not there, the pages after what they show."""
    for name, png in pages.figures.items():
        write_atomically(folder / name, png)
    write_atomically(folder / "report.md", pages.markdown.encode())
    write_atomically(folder / "report.html", pages.html.encode())


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
        "title": f"{quick_words(reproduction)}. {title}" if reproduction.quick else title,
        "about": about_sentences(reproduction, own),
        "found": reproduction,
        "own": own,
        "banners": banners(reproduction),
        "trained": training_sentence(reproduction),
        "summary": summary_sentences(reproduction, verdicts),
        "perplexity": perplexity_sheet(reproduction, anchors, own),
        "cost": cost_sheet(reproduction, anchors),
        "time_and_size": time_and_size(reproduction),
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
        "bar_label": BASELINE_LABEL,
        "test_bar": as_number(reproduction.text.test_perplexity),
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
        png = question.draw(chosen, drawn_baselines(reproduction), titled(reproduction, question.title))
        trained = sorted((each for each in chosen if each.whole), key=best_of)  # a part of a training has no rank
        ranked = listed([f"{each.id} {as_number(best_of(each))}" for each in trained[:8]])
        more = f", and {len(trained) - 8} more" if len(trained) > 8 else ""
        incomplete = listed([f"{each.id} ({each.state})" for each in chosen if each.state])
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
    told = [configuration.state] if configuration.state else []
    if runs:
        train, val = (estimate([getattr(run, curve)[-1] for run in runs]).mean for curve in ("train", "val"))
        ends = "training ends at" if configuration.whole else "training is at"
        told.append(
            f"{ends} {as_number(train)}, validation at {as_number(val)}, best {as_number(best_of(configuration))} at "
            f"epoch {span_text([run.best_epoch for run in runs])}"
        )
    if reported.gap:
        told.append(f"the gap as reported: “{reported.gap}”")
    words = "; ".join(told)
    caption = f"{configuration.id}: {words}." if words else f"{configuration.id}."
    if reproduction.quick:
        caption = f"{caption} {quick_words(reproduction)}."
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
