"""The report's page as plain data, rendered as one HTML file and as Markdown with its pictures in a folder.

``report_page`` depends on recorded values alone.
"""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.report.checks import Check
from pipeline.report.page import sentences, tables
from pipeline.report.page.pictures import answer_picture, explorer
from pipeline.report.page.reproducibility import reproducibility
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.table import Kind
from pipeline.report.statements.verdicts import FAILS, OPEN, WRONG_REASON, Verdict, Word, words_counted
from pipeline.support.page import document as doc
from pipeline.support.page.charts import svg_file
from pipeline.support.page.document import Bullets, Heading, Paragraph, Points, Section, Span
from pipeline.support.page.rendering import html, markdown

TITLE = "Does a coursework report on recurrent networks hold when its networks are trained again?"

ABOUT = (
    "The report is a coursework of 2023 that trains 17 character-level recurrent networks on H. G. Wells's The Time "
    "Machine in the style of the d2l.ai book. This page is for students who want to know what such numbers prove."
)

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

BOUNDS = (
    "Intervals are Student's, from the spread over seeds pooled over configurations; differences are Welch's, with "
    "Holm's correction over all comparisons of a kind of statement. d2l's own recorded trainings are further seeds."
)


def pages(
    reproduction: Reproduction,
    verdicts: Sequence[Verdict] = (),
    corrections: Mapping[str, Mapping[str, str]] | None = None,  # title -> part -> text
    checks: Sequence[Check] = (),
    sensitivity: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, str]:
    """Render the whole report as files, by path; sections without content are left out."""
    answer, banner = answer_picture(reproduction), sentences.banner(reproduction)
    overview: list[doc.Block] = [Paragraph(ABOUT), tables.overview_table(reproduction, verdicts)]
    bounds: list[doc.Block] = [tables.bounds_table(sensitivity or {}), Paragraph(BOUNDS)] if verdicts else []
    texts = [tables.baseline_table(reproduction.text), tables.texts_table(reproduction)]
    last = [*reproducibility(reproduction, verdicts, checks)]
    page = doc.Page(
        title=f"{banner} {TITLE}".strip(),
        lead=[
            *([Paragraph(banner, "banner")] if banner else []),
            *(Paragraph(sentence) for sentence in sentences.answer(reproduction, verdicts)),
            *([tables.tally_table(verdicts)] if verdicts else []),
        ],
        chart=answer,
        sections=[
            Section("What was reproduced", overview, "reproduced"),
            Section("What was not", [*_not_reproduced(verdicts)], "not-reproduced"),
            Section("What is corrected", [*_corrected(corrections or {})], "corrected", is_open=False),
            Section("Every statement, by kind", [*_statements(verdicts)], "statements", is_open=False),
            Section("Configurations and figures", [*_configurations(reproduction)], "configurations", is_open=False),
            Section("Bounds, and what hangs on them", bounds, "bounds", is_open=False),
            Section("The text, the generated texts and n-grams", texts, "texts", is_open=False),
            Section("Reproducibility", last, "reproducibility", is_open=False),
        ],
    )
    return {answer.file: svg_file(answer), "report.md": markdown(page), "report.html": html(page)}


def _not_reproduced(verdicts: Sequence[Verdict]) -> Iterator[doc.Block]:
    """The statements that do not hold; what the report's own numbers contradict is among the corrections."""
    titles: dict[Word, str] = {
        FAILS: "Not reproduced by a training",
        WRONG_REASON: "The conclusion is right, the reason is not",
        OPEN: "Open",
    }
    for word, title in titles.items():
        links = [
            Span(each.statement.statement, href=f"#{tables.statement_anchor(each.statement.id)}")
            for each in verdicts
            if each.word == word and (word != FAILS or each.statement.basis == "training")
        ]
        yield Section(f"{title} ({len(links)})", [Bullets(links)] if links else [], is_open=False)


def _corrected(corrections: Mapping[str, Mapping[str, str]]) -> Iterator[doc.Block]:
    for number, (title, parts) in enumerate(corrections.items(), 1):
        if "explanation" in parts:
            yield Section(title, [Paragraph(parts["explanation"])], is_open=False)
        else:
            yield Heading(f"{number}. {title}", f"correction-{number}")
            yield Points([(part.capitalize(), text) for part, text in parts.items()])


def _statements(verdicts: Sequence[Verdict]) -> Iterator[doc.Block]:
    for kind, title in KIND_TITLES.items():
        if found := [each for each in verdicts if each.statement.kind == kind]:
            counts = [tables.chip(word, f"{number}") for word, number in words_counted(found).items() if number]
            table = tables.statements_table(found)
            yield Section(title, [table], f"kind-{kind}", is_open=False, summary=counts)


def _configurations(reproduction: Reproduction) -> Iterator[doc.Block]:
    if charts := explorer(reproduction):
        yield charts
    yield Heading("Perplexities")
    yield tables.perplexity_table(reproduction)
    same, stream = Span("--preset report-text", "code"), Span("--preset stream", "code")
    yield Paragraph(["Our recipe is ", same, " on the same characters and ", stream, " on 90 % of the text."])
    yield Heading("Times and sizes")
    yield tables.cost_table(reproduction)
