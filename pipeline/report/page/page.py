"""The report's page as plain data, rendered as one HTML file and as Markdown with its pictures in a folder."""

from collections.abc import Iterator, Mapping, Sequence

from pipeline.pages import document as doc
from pipeline.pages.charts import svg_file
from pipeline.pages.document import Block, Bullets, Commands, Heading, Paragraph, Points, Section, Span
from pipeline.pages.rendering import html, markdown
from pipeline.report.checks import Check, counts_in_words
from pipeline.report.page import sentences, tables
from pipeline.report.page.pictures import overview_picture, report_explorer
from pipeline.report.reproduction import Reproduction, d2l_trainings
from pipeline.report.statements.bounds import IN_WORDS
from pipeline.report.statements.evidence import ON_THE_BOUND
from pipeline.report.statements.kinds import KINDS
from pipeline.report.statements.verdicts import Verdict, Word, words_counted

TITLE = "Does a coursework report on recurrent networks hold when its networks are trained again?"

ABOUT = (
    "The report is a coursework of 2023 that trains 17 character-level recurrent networks on H. G. Wells's The Time "
    "Machine in the style of the d2l.ai book. This page is for students who want to know what such numbers prove."
)

BOUNDS = (
    "Intervals are Student's, from the spread over seeds pooled over configurations; differences are Welch's, with p "
    "values corrected by Holm's method over all comparisons. d2l's own recorded trainings are further seeds. Means "
    f"decide: the intervals of {{}} statements contain their bound {ON_THE_BOUND}."
)


def pages(
    reproduction: Reproduction,
    verdicts: Sequence[Verdict],
    corrections: Mapping[str, Mapping[str, str]],  # title -> part -> text
    checks: Sequence[Check],
) -> dict[str, str]:
    """Render the whole report as files, by path; sections without content are left out."""
    answer = overview_picture(reproduction)
    overview = tables.overview_table(reproduction, verdicts)
    texts = [tables.ngram_table(reproduction.text), tables.texts_table(reproduction)]
    on_the_bound = sum(ON_THE_BOUND in verdict.because for verdict in verdicts)
    tolerances = "Every tolerance by which statements are judged:"
    bounds: list[Block] = [Paragraph(tolerances), Bullets(IN_WORDS), Paragraph(BOUNDS.format(on_the_bound))]
    corrected: list[Block] = []
    for number, (title, parts) in enumerate(corrections.items(), 1):
        points = [(part.capitalize(), text) for part, text in parts.items()]
        corrected += [Heading(f"{number}. {title}"), Points(points)]
    last = [*_reproducibility(reproduction, verdicts, checks)]
    page = doc.Page(
        title=f"{sentences.warning(reproduction)} {TITLE}".strip(),
        lead=[*map(Paragraph, sentences.answer_sentences(reproduction, verdicts))],
        chart=answer,
        sections=[
            Section("What was reproduced", [Paragraph(ABOUT), overview], "reproduced"),
            Section("What was not", [*_not_reproduced(verdicts)], "not-reproduced"),
            Section("What is corrected", corrected, "corrected", is_open=False),
            Section("Every statement, by kind", [*_statements(verdicts)], "statements", is_open=False),
            Section("Configurations and figures", [*_configurations(reproduction)], "configurations", is_open=False),
            Section("Bounds", bounds, "bounds", is_open=False),
            Section("The text, the generated texts and n-grams", texts, "texts", is_open=False),
            Section("Reproducibility", last, "reproducibility", is_open=False),
        ],
    )
    return {answer.file: svg_file(answer), "report.md": markdown(page), "report.html": html(page)}


def _not_reproduced(verdicts: Sequence[Verdict]) -> Iterator[Block]:
    """The statements that do not hold; what the report's own numbers contradict is among the corrections."""
    titles: dict[Word, str] = {
        Word.FAILS: "Not reproduced by a training",
        Word.WRONG_REASON: "The conclusion is right, the reason is not",
        Word.OPEN: "Open",
    }
    for word, title in titles.items():
        links = [
            Span(verdict.statement.statement, href=f"#statement-{verdict.statement.id}")
            for verdict in verdicts
            if verdict.word == word and (word != Word.FAILS or verdict.statement.basis == "training")
        ]
        yield Section(f"{title} ({len(links)})", [Bullets(links)] if links else [], is_open=False)


def _statements(verdicts: Sequence[Verdict]) -> Iterator[Block]:
    for name, kind in KINDS.items():
        if found := [verdict for verdict in verdicts if verdict.statement.kind == name]:
            counts = [tables.chip(word, f"{n}") if n else Span("", "chip") for word, n in words_counted(found).items()]
            table = tables.statements_table(found)
            yield Section(kind.title, [table], is_open=False, summary=counts)


def _configurations(reproduction: Reproduction) -> Iterator[Block]:
    if charts := report_explorer(reproduction):
        yield charts
    yield Heading("Perplexities")
    yield tables.perplexity_table(reproduction)
    yield Paragraph(["Our recipe is ", Span("--preset report-text", "code"), " on the same characters."])
    yield Heading("Times and sizes")
    yield tables.cost_table(reproduction)


def _reproducibility(
    reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check]
) -> Iterator[Block]:
    """The section on reproducibility, in the order of the ML Reproducibility Challenge (paperswithcode.com/rc2020)."""
    configurations, text = reproduction.configurations, reproduction.text
    runs = {  # each once: configurations of one shape share those by our recipe
        role: list({run.run_id: run for each in configurations for run in each.by_role[role]}.values())
        for role in ("report", "same-text")
    }
    minutes = {role: sum(run.train_seconds for run in found) / 60 for role, found in runs.items()}
    seeds = sorted({run.seed for run in runs["report"]})
    of_seeds = f" (seeds {', '.join(map(str, seeds))})" if seeds else ""
    d2l_seeds = sum(len(d2l_trainings(each.reported)) for each in configurations if each.runs)
    statements = [verdict.statement for verdict in verdicts]
    points: dict[str, doc.Text] = {
        "Scope of reproducibility": f"All {len(statements)} statements that can be checked are, true and false alike, "
        f"in our words; none is left out. {sum(bool(each.reading) for each in statements)} have an ambiguous word, "
        "whose reading stands with the verdict, and "
        f"{sum(bool(each.contradiction) for each in statements)} are contradicted elsewhere by the same source.",
        "Methodology": f"{sentences.PROTOCOL} The report follows it without stating it. The code is our own; in double "
        "precision its loss equals that of d2l 1.0.3's own trainer, step by step (make twin). "
        f"{len(runs['report'])} trainings by this protocol{of_seeds}; {d2l_seeds} recorded trainings of d2l's count "
        f"as further seeds. Beside them {len(runs['same-text'])} trainings of the same shapes by this project's own "
        "recipe on the same characters, and n-grams.",
        "Hyper-parameters": "By the protocol the book's: nothing was tuned. Those of our own recipe were chosen on the "
        "validation split of The Time Machine's stream, before these trainings.",
        "Validation and test": "The test split (the last 5 % of the text) chooses nothing.",
        "Time": f"{minutes['report']:.0f} min of training by the protocol, "
        f"{minutes['same-text']:.0f} min by our own recipe; a training takes minutes on one core.",
        "Data": [
            f"{text.corpus}, as d2l.ai distributes it, {text.vocab_size} symbols; sha256 of the normalised text "
            f"{text.corpus_sha256[:16]}…; not redistributed. ",
            Span("result.json", href="result.json"),
            " beside this page has every seed, figure and verdict.",
        ],
        "Code": ["time-machine-lm (MIT), run ", Span(reproduction.run_id, "code")],
    }
    yield Points([*points.items(), *reproduction.environment.items()])
    yield Heading("What was difficult")
    yield Bullets(sentences.limitations(reproduction))
    yield Heading("How to repeat it")
    yield Commands(reproduction.commands)
    yield from map(Paragraph, counts_in_words(checks))
    if not_met := [check.said for check in checks if check.is_met is False]:
        yield Heading("Checks not met")
        yield Bullets(not_met)
    yield Heading("Sources")
    yield Bullets(sentences.SOURCES)
