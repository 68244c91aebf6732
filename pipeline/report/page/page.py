"""Render the report's page: one HTML file, and Markdown with its pictures in a folder.

``pages`` depends on recorded values alone. The wording is in Python (``sentences``, ``sheets``), the layout in
templates/.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from re import sub
from typing import Any

from pipeline.report.checks import Check, counts_in_words
from pipeline.report.corrections import Correction
from pipeline.report.explanations import Explanation
from pipeline.report.page import sentences, sheets
from pipeline.report.page.pictures import answer_picture, curves_picture, explorer
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements import bounds
from pipeline.report.statements.table import Kind
from pipeline.report.statements.verdicts import FAILS, OPEN, WORDS, WRONG_REASON, Verdict, Word, words_counted
from pipeline.support.files import write_atomically
from pipeline.support.page.charts import svg_file
from pipeline.support.page.rendering import html_environment, markdown_environment, script_source, shared
from pipeline.support.wording import rounded

TEMPLATES = Path(__file__).with_name("templates")

TITLE = "Does a coursework report on recurrent networks hold when its networks are trained again?"

KIND_TITLES: Mapping[Kind, str] = {
    "start": "Where the perplexities start",
    "end": "Where the perplexities end",
    "gap": "Generalisation gaps",
    "gap-onset": "The epoch from which there is a gap",
    "gap-order": "Gaps compared",
    "generalises": "Which model generalises better",
    "perplexity-order": "Perplexities compared",
    "best": "The best models",
    "texts": "Generated texts",
    "texts-order": "Texts compared",
    "size": "Parameters and MACs",
    "size-order": "Sizes compared",
    "print-out": "Print-outs",
    "seconds": "Training times",
    "time-order": "Times compared",
    "caption": "Captions and references to figures",
}


@dataclass(frozen=True)
class Pages:
    """The report as HTML and as Markdown; ``figures`` maps paths beside the Markdown to SVG."""

    html: str
    markdown: str
    figures: Mapping[str, str]


def write(pages: Pages, folder: Path) -> None:
    """Write report.html, report.md and figures/ atomically, figures first."""
    for name, text in {**pages.figures, "report.md": pages.markdown, "report.html": pages.html}.items():
        write_atomically(folder / name, text.encode())


@dataclass(frozen=True)
class Group:
    """The verdicts on the statements of one kind."""

    anchor: str
    title: str
    verdicts: Sequence[Verdict]

    @property
    def counts(self) -> Mapping[Word, int]:
        return words_counted(self.verdicts)


def pages(
    reproduction: Reproduction,
    verdicts: Sequence[Verdict] = (),
    corrections: Sequence[Correction] = (),
    explanations: Sequence[Explanation] = (),
    checks: Sequence[Check] = (),
    sensitivity: Mapping[str, tuple[int, int]] | None = None,
) -> Pages:
    """Render the whole report; sections without content are left out."""
    anchors = _anchors([configuration.id for configuration in reproduction.configurations])
    links = _anchors([verdict.statement.id for verdict in verdicts])
    ngrams = sentences.ngram_bars(reproduction.text.windowed)
    answer = answer_picture(reproduction.configurations, ngrams)
    curves = {each.id: curves_picture(each, ngrams) for each in reproduction.configurations}
    content: dict[str, Any] = {
        "title": f"{sentences.quick_words(reproduction)}. {TITLE}" if reproduction.quick else TITLE,
        "about": sentences.about(reproduction),
        "reproduction": reproduction,
        "banners": sentences.banners(reproduction),
        "answer": sentences.answer(reproduction, verdicts),
        "answer_picture": answer,
        "verdicts": verdicts,
        "links": links,
        "tally": _tally(verdicts),
        "signs": sheets.SIGNS,
        "points": sentences.reproduced_points(reproduction, verdicts),
        "overview": sheets.overview_sheet(reproduction, verdicts, anchors, links),
        "failed": _groups(v for v in verdicts if v.word == FAILS and v.statement.basis == "training"),
        "wrong_reason": [v for v in verdicts if v.word == WRONG_REASON],
        "undecided": _groups(v for v in verdicts if v.word == OPEN),
        "corrections": corrections,
        "explanations": explanations,
        "groups": _groups(verdicts),
        "explorer": explorer(reproduction, verdicts),
        "curves": [(each, anchors[each.id], curves[each.id]) for each in reproduction.configurations],
        "perplexity": sheets.perplexity_sheet(reproduction, anchors),
        "cost": sheets.cost_sheet(reproduction, anchors),
        "bounds": _bounds(sensitivity or {}) if verdicts else None,
        "texts": sheets.text_sheet(reproduction, anchors),
        "baselines": sheets.baseline_sheet(reproduction),
        "limitations": sentences.limitations(reproduction),
        "checks_counted": counts_in_words(checks),
        "not_met": [check.said for check in checks if check.is_met is False],
        "commands": _commands(reproduction),
        "protocol": sentences.PROTOCOL,
        "sources": sentences.SOURCES,
        "test_bar": f"{reproduction.text.test_order}-gram is {rounded(reproduction.text.test_perplexity)}",
    }
    content["sections"] = _sections(content)
    script = shared("page.js")
    content |= {"script": script, "scripts": script_source(script)}
    content["named"] = partial(sentences.with_labels, reproduction=reproduction)
    return Pages(
        html=html_environment(TEMPLATES).get_template("report.html.jinja").render(content),
        markdown=markdown_environment(TEMPLATES).get_template("report.md.jinja").render(content),
        figures={
            "figures/answer.svg": svg_file({"": answer}),
            "figures/curves.svg": svg_file({each.label: curves[each.id] for each in reproduction.configurations}, 3),
        },
    )


def _anchors(names: Sequence[str]) -> dict[str, str]:
    """A unique anchor for each name, of letters, digits and hyphens, which need no escaping."""
    anchors: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for name in names:
        base = sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60] or "x"
        taken[base] += 1
        anchors[name] = base if taken[base] == 1 else f"{base}--{taken[base]}"  # no other name has two hyphens
    return anchors


def _sections(content: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    """Anchor and title of each section present, in page order, and whether it is open at first."""
    sections = [
        ("reproduced", "What was reproduced", True, True),
        ("not-reproduced", "What was not", content["verdicts"], True),
        ("corrected", "What is corrected", content["corrections"], False),
        ("statements", "Every statement, by kind", content["verdicts"], False),
        ("configurations", "Configurations and figures", True, False),
        ("bounds", "Bounds, and what hangs on them", content["bounds"], False),
        ("texts", "The text, the generated texts and n-grams", True, False),
        ("limitations", "Limitations", True, False),
        ("repeat", "How to repeat it", True, False),
    ]
    return [(anchor, title, is_open) for anchor, title, present, is_open in sections if present]


def _tally(verdicts: Sequence[Verdict]) -> list[tuple[Word, int, int]]:
    """For each word, the numbers of verdicts decided by a training and by the reported numbers alone."""
    trained, reported = (
        words_counted(verdict for verdict in verdicts if verdict.statement.basis == basis)
        for basis in ("training", "report")
    )
    return [(word, trained[word], reported[word]) for word in WORDS]


def _groups(verdicts: Iterable[Verdict]) -> list[Group]:
    """The verdicts by kind, in the order of KIND_TITLES."""
    of_kind: dict[Kind, list[Verdict]] = {kind: [] for kind in KIND_TITLES}
    for verdict in verdicts:
        of_kind[verdict.statement.kind].append(verdict)
    return [Group(f"kind-{kind}", KIND_TITLES[kind], found) for kind, found in of_kind.items() if found]


def _bounds(sensitivity: Mapping[str, tuple[int, int]]) -> sheets.Sheet:
    """Each bound with the number of verdicts that change at half and at twice it."""
    rows = []
    for name, sentence in bounds.sentences().items():
        changed = sensitivity.get(name)
        cells = [sheets.TableCell(f"{number}") for number in changed] if changed else [sheets.TableCell()] * 2
        rows.append((sheets.TableCell(sentence), *cells))
    return sheets.Sheet(
        "Every tolerance by which statements are judged, and how many verdicts have another word at half and at twice "
        "of it.",
        ("bound", "at half", "at twice"),
        tuple(rows),
        kind="bounds",
    )


def _commands(reproduction: Reproduction) -> list[str]:
    """A sentence on whether the record has all commands, and the commands that repeat the reproduction."""
    if not reproduction.commands:
        return ["The commands were not kept."]
    if reproduction.commands_known:
        return ["To repeat it:", *reproduction.commands]
    sentence = "To repeat it, the first and the last command; what was asked for between them was not kept:"
    return [sentence, *reproduction.commands]
