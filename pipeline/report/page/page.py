"""The report's page as plain data, rendered as one HTML file and as Markdown with its pictures in a folder.

``report_page`` depends on recorded values alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pipeline.report.checks import Check
from pipeline.report.corrections import Correction, Explanation
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
    corrections: Sequence[Correction] = (),
    explanations: Sequence[Explanation] = (),
    checks: Sequence[Check] = (),
    sensitivity: Mapping[str, tuple[int, int]] | None = None,
) -> dict[str, str]:
    """Render the whole report as files, by path; sections without content are left out."""
    answer = answer_picture(reproduction, sentences.ngram_bars(reproduction.text.windowed))
    banner = sentences.banner(reproduction)
    judged: list[doc.Block] = [tables.bounds_table(sensitivity or {}), Paragraph(BOUNDS)] if verdicts else []
    sections: list[tuple[str, str, Iterable[doc.Block], bool]] = [
        ("reproduced", "What was reproduced", _reproduced(reproduction, verdicts), True),
        ("not-reproduced", "What was not", _not_reproduced(verdicts), True),
        ("corrected", "What is corrected", _corrected(corrections, explanations), False),
        ("statements", "Every statement, by kind", _statements(verdicts), False),
        ("configurations", "Configurations and figures", _configurations(reproduction), False),
        ("bounds", "Bounds, and what hangs on them", judged, False),
        ("texts", "The text, the generated texts and n-grams", _texts(reproduction), False),
        ("reproducibility", "Reproducibility", reproducibility(reproduction, verdicts, checks), False),
    ]
    page = doc.Page(
        title=f"{banner} {TITLE}".strip(),
        lead=[
            *([Paragraph(banner, "banner")] if banner else []),
            *(Paragraph(sentence) for sentence in sentences.answer(reproduction, verdicts)),
            *([tables.tally_table(verdicts)] if verdicts else []),
        ],
        chart=answer,
        sections=[Section(title, [*blocks], anchor, is_open) for anchor, title, blocks, is_open in sections],
    )
    return {answer.file: svg_file(answer), "report.md": markdown(page), "report.html": html(page)}


def _reproduced(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> Iterator[doc.Block]:
    yield Paragraph(sentences.about(reproduction))
    yield tables.overview_table(reproduction, verdicts)


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


def _corrected(corrections: Sequence[Correction], explanations: Sequence[Explanation]) -> Iterator[doc.Block]:
    for each in corrections:
        yield Heading(f"{each.number}. {each.title}", f"correction-{each.number}")
        yield Points([("Reported", each.reported), ("Found", each.found), ("Instead", each.instead)])
    for explanation in explanations:
        yield Section(explanation.title, [Paragraph(explanation.text)], is_open=False)


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


def _texts(reproduction: Reproduction) -> Iterator[doc.Block]:
    yield tables.baseline_table(reproduction.text)
    yield tables.texts_table(reproduction)
