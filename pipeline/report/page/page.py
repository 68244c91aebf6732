"""The report's page as plain data, rendered as one HTML file and as Markdown with its pictures in a folder.

``report_page`` depends on recorded values alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.report.checks import Check, counts_in_words
from pipeline.report.corrections import Correction, Explanation
from pipeline.report.page import sentences, tables
from pipeline.report.page.pictures import answer_picture, curves_picture, explorer
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.table import Kind
from pipeline.report.statements.verdicts import FAILS, OPEN, WRONG_REASON, Verdict, words_counted
from pipeline.support.files import write_atomically
from pipeline.support.page.charts import svg_file
from pipeline.support.page.document import (
    Bullets,
    Chip,
    Code,
    Commands,
    Figure,
    Fold,
    Groups,
    Heading,
    Inline,
    Link,
    Page,
    Panels,
    Paragraph,
    Part,
    Points,
    Section,
    Text,
)
from pipeline.support.page.rendering import html, markdown
from pipeline.support.wording import rounded

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


def pages(
    reproduction: Reproduction,
    verdicts: Sequence[Verdict] = (),
    corrections: Sequence[Correction] = (),
    explanations: Sequence[Explanation] = (),
    checks: Sequence[Check] = (),
    sensitivity: Mapping[str, tuple[int, int]] | None = None,
) -> Pages:
    """Render the whole report; sections without content are left out."""
    ngrams = sentences.ngram_bars(reproduction.text.windowed)
    answer = Figure(
        answer_picture(reproduction.configurations, ngrams),
        [
            "Crosses: as reported of both curves. ", Chip("○", "train"), " training and ", Chip("●", "val"),
            " validation at the last epoch, ", Chip("|", "val"), " validation at the best epoch: mean over seeds. "
            "Perplexity is the effective number of characters to choose between: "
            f"{reproduction.text.vocab_size} is guessing, 1 certainty. Dashed: n-grams, pooled, on the same windows.",
        ],
        "answer",
        "figures/answer.svg",
        "The perplexity of each configuration as reported and as reproduced",
    )  # fmt: skip
    curves = Panels(
        [
            Figure(curves_picture(each, ngrams), _panel_caption(each.label, each.reported.gap), each.id)
            for each in reproduction.configurations
        ],
        "figures/curves.svg",
        "Training and validation perplexity of each configuration by epoch",
    )
    named = partial(sentences.with_labels, reproduction=reproduction)
    page = Page(
        title=f"{sentences.quick_words(reproduction)}. {TITLE}" if reproduction.quick else TITLE,
        lead=[
            *(Paragraph(banner, "banner") for banner in sentences.banners(reproduction)),
            *map(Paragraph, sentences.answer(reproduction, verdicts)),
            *([tables.tally_table(verdicts)] if verdicts else []),
        ],
        chart=answer,
        sections=[
            _reproduced(reproduction, verdicts),
            Section("not-reproduced", "What was not", [*_not_reproduced(verdicts, named)]),
            Section("corrected", "What is corrected", [*_corrected(corrections, explanations, named)], is_open=False),
            Section("statements", "Every statement, by kind", [*_statements(verdicts, named)], is_open=False),
            _configurations(reproduction, verdicts, curves),
            Section(
                "bounds",
                "Bounds, and what hangs on them",
                [tables.bounds_table(sensitivity or {}), Paragraph(BOUNDS)] if verdicts else [],
                is_open=False,
            ),
            _texts(reproduction),
            Section("limitations", "Limitations", [Bullets(sentences.limitations(reproduction))], is_open=False),
            _repeat(reproduction, [named(sentence) for sentence in counts_in_words(checks)],
                    [named(check.said) for check in checks if check.is_met is False]),
        ],
    )  # fmt: skip
    return Pages(
        html=html(page),
        markdown=markdown(page),
        figures={
            answer.file: svg_file({"": answer.drawing}),
            curves.file: svg_file(
                {
                    each.label: panel.drawing
                    for each, panel in zip(reproduction.configurations, curves.figures, strict=True)
                },
                columns=3,
            ),
        },
    )


def _panel_caption(label: str, gap: str) -> Text:
    return [Chip(label, "label"), f" gap as reported: “{gap}”"] if gap else Chip(label, "label")


def _reproduced(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> Section:
    points = sentences.reproduced_points(reproduction, verdicts)
    blocks: list[Part] = [Paragraph(sentences.about(reproduction)), *([Points(points)] if points else [])]
    return Section("reproduced", "What was reproduced", [*blocks, tables.overview_table(reproduction, verdicts)])


def _by_kind(verdicts: Iterable[Verdict]) -> dict[Kind, list[Verdict]]:
    """The verdicts by kind, in the order of KIND_TITLES."""
    of_kind: dict[Kind, list[Verdict]] = {kind: [] for kind in KIND_TITLES}
    for verdict in verdicts:
        of_kind[verdict.statement.kind].append(verdict)
    return {kind: found for kind, found in of_kind.items() if found}


def _link(verdict: Verdict) -> Link:
    return Link(verdict.statement.statement, f"#{tables.statement_anchor(verdict.statement.id)}")


def _not_reproduced(verdicts: Sequence[Verdict], named: partial[str]) -> Iterable[Part]:
    def grouped(title: str, chosen: Iterable[Verdict]) -> list[Part]:
        groups = [(KIND_TITLES[kind], [_link(each) for each in found]) for kind, found in _by_kind(chosen).items()]
        return [Heading(title), Groups(groups)] if groups else []

    if not verdicts:
        return
    failed = [each for each in verdicts if each.word == FAILS and each.statement.basis == "training"]
    yield from grouped("Not reproduced by a training", failed)
    if wrong := [each for each in verdicts if each.word == WRONG_REASON]:
        yield Heading("The conclusion is right, the reason is not")
        yield Bullets([[_link(each), f" {named(each.because)}"] for each in wrong])
    yield from grouped("Open", [each for each in verdicts if each.word == OPEN])
    corrected, every = Link("what is corrected", "#corrected"), Link("all statements", "#statements")
    yield Paragraph(["What the report's own numbers contradict is in ", corrected, " and among ", every, "."])


def _corrected(
    corrections: Sequence[Correction], explanations: Sequence[Explanation], named: partial[str]
) -> Iterable[Part]:
    for each in corrections:
        yield Heading(f"{each.number}. {each.title}", f"correction-{each.number}")
        texts = (("Reported", each.reported), ("Found", each.found), ("Instead", each.instead))
        yield Points([(term, named(text)) for term, text in texts])
    for explanation in explanations:
        yield Fold(explanation.title, [Paragraph(named(explanation.text))])


def _statements(verdicts: Sequence[Verdict], named: partial[str]) -> Iterable[Part]:
    for kind, found in _by_kind(verdicts).items():
        counts = [tables.chip(word, f"{number}") for word, number in words_counted(found).items() if number]
        yield Fold(KIND_TITLES[kind], [tables.statements_table(found, named)], f"kind-{kind}", counts)


def _configurations(reproduction: Reproduction, verdicts: Sequence[Verdict], curves: Panels) -> Section:
    charts = explorer(reproduction, verdicts)
    test = f"{reproduction.text.test_order}-gram is {rounded(reproduction.text.test_perplexity)}"
    blocks: list[Part] = [
        *([charts] if charts else []),
        Heading("Each configuration"),
        Paragraph(
            [
                "Perplexity per character (book average, log scale) by epoch: ", Chip("training", "train"), " dashed, ",
                Chip("validation", "val"), " solid; means over seeds thick, seeds thin; crosses as "
                "reported, start and end; dashed: letter frequencies and 4-gram.",
            ]
        ),
        curves,
        Heading("Perplexities"),
        tables.perplexity_table(reproduction),
        Paragraph(
            [
                "Our recipe is ", Code("--preset report-text"), " on the same characters and ", Code("--preset stream"),
                f" on 90 % of the text, where the test perplexity of a Kneser-Ney {test}. Test: the last 5 % of the "
                "text, read once, at the best epoch.",
            ]
        ),
        Heading("Times and sizes"),
        tables.cost_table(reproduction),
    ]  # fmt: skip
    return Section("configurations", "Configurations and figures", blocks, is_open=False)


def _texts(reproduction: Reproduction) -> Section:
    text, texts = reproduction.text, tables.texts_table(reproduction)
    digest = Code(f"{text.corpus_sha256[:16]}…")
    about = Paragraph([f"Text: {text.corpus}, {text.vocab_size} symbols, sha256 ", digest, "."])
    blocks: list[Part] = [about, tables.baseline_table(reproduction), *([texts] if texts else [])]
    return Section("texts", "The text, the generated texts and n-grams", blocks, is_open=False)


def _repeat(reproduction: Reproduction, checks_counted: Sequence[str], not_met: Sequence[str]) -> Section:
    link: list[Inline] = (
        [" ", Link("in the UI of the machine it was trained on", reproduction.link)] if reproduction.link else []
    )
    files: list[Text] = [
        [Link("summary.md", "summary.md"), ": the reproducibility summary"],
        [Link("epochs.csv", "epochs.csv"), ": each configuration, seed and epoch"],
        [Link("result.json", "result.json"), ": all figures and verdicts"],
    ]
    how = "To repeat it:"
    if not reproduction.commands_known:
        how = "To repeat it, the first and the last command; what was asked for between them was not kept:"
    blocks: list[Part] = [
        Paragraph(sentences.PROTOCOL),
        Paragraph("Beside this page:"),
        Bullets(files),
        Paragraph(how if reproduction.commands else "The commands were not kept."),
        *([Commands(reproduction.commands)] if reproduction.commands else []),
        *map(Paragraph, checks_counted),
        *([Heading("Checks not met"), Bullets(not_met)] if not_met else []),
        Points([("run", [Code(reproduction.run_id), *link]), *reproduction.environment.items()]),
        Heading("Sources"),
        Bullets(sentences.SOURCES),
    ]
    return Section("repeat", "How to repeat it", blocks, is_open=False)
