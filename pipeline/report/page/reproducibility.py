"""The reproducibility summary beside the page, in the order of the ML Reproducibility Challenge.

Its questions are those of the challenge's first page (paperswithcode.com/rc2020) and of the ACL's responsible NLP
checklist: runtime, hardware, parameters, number of runs, how hyper-parameters were chosen, validation beside test.
"""

from collections.abc import Sequence

from pipeline.report.open_data import trainings_by_role
from pipeline.report.page import sentences
from pipeline.report.reproduction import Configuration, Reproduction
from pipeline.report.statements.evidence import d2l_trainings
from pipeline.report.statements.table import BASES
from pipeline.report.statements.verdicts import WORDS, Verdict, tally, words_counted
from pipeline.support.page import document as doc
from pipeline.support.page.document import Bullets, Paragraph, Section, Span, Table
from pipeline.support.page.rendering import markdown
from pipeline.support.statistics import geometric_mean
from pipeline.support.wording import counted, listed, rounded


def summary_markdown(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> str:
    """Render the summary of a reproduction as Markdown."""
    configurations, text = reproduction.configurations, reproduction.text
    runs = {  # each once: configurations of one shape share those by our recipe
        role: list({run.run_id: run for each in configurations for run in trainings_by_role(each)[role]}.values())
        for role in ("report", "stream", "same-text")
    }
    seeds = sorted({run.seed for run in runs["report"]})
    named = f" (seeds {', '.join(map(str, seeds))})" if seeds else ""
    d2l_seeds = sum(len(d2l_trainings(each.reported)) for each in configurations if each.runs)
    statements = [verdict.statement for verdict in verdicts]
    ambiguous = sum(bool(each.reading) for each in statements)
    contradicted = sum(bool(each.contradiction) for each in statements)
    minutes = {role: sum(run.train_seconds for run in found) / 60 for role, found in runs.items()}
    parameters = sorted(each.complexity.parameters for each in configurations)
    environment = listed([f"{name} {value}" for name, value in reproduction.environment.items()])

    scope = (
        f"A coursework report of 2023 trains {len(configurations)} character-level RNN, GRU and LSTM language models "
        "on H. G. Wells's The Time Machine and compares their perplexity, training time, text and size. "
        f"All {len(statements)} statements that can be checked are, true and false alike, in our words; none is left "
        f"out. {ambiguous} have an ambiguous word, whose reading stands with the verdict, and {contradicted} are "
        "contradicted elsewhere by the same source."
    )
    own = (
        "The report follows it without stating it. The code is our own; in double precision its loss equals that of "
        "d2l 1.0.3's own trainer, step by step (make twin)."
    )
    made = (
        f"{len(runs['report'])} trainings by this protocol{named}; {d2l_seeds} recorded trainings of d2l's own count "
        f"as further seeds. Beside them {len(runs['same-text'])} trainings of the same shapes by this project's own "
        f"recipe on the same characters, {len(runs['stream'])} on nine tenths of the text, and n-grams. Intervals are "
        "Student's, with the spread of a seed pooled over configurations; differences are Welch's, with Holm's "
        "correction over the statements of a kind. Every bound is stated once, on the page, with the number of "
        "verdicts that hang on it."
    )
    checklist = {
        "runtime": f"{minutes['report']:.0f} min of training by the protocol, "
        f"{minutes['same-text'] + minutes['stream']:.0f} min by our own recipe; of each training in result.json",
        "hardware": environment or "not recorded",
        "parameters": f"{parameters[0]:,} to {parameters[-1]:,}, output layer included; of each configuration on the "
        "page, of each training in result.json",
        "number of runs": f"{len(runs['report'])} by the protocol, {counted(len(seeds), 'seed')}; means over them with "
        "95 % intervals",
        "hyper-parameters": "by the protocol the book's: nothing was tuned. Those of our own recipe were chosen on the "
        "validation split of The Time Machine's stream, before these trainings",
        "validation and test": "below; the test split (the last 5 % of the text) chooses nothing",
        "data": f"The Time Machine as d2l.ai distributes it, {text.vocab_size} symbols; sha256 of the normalised text "
        f"{text.corpus_sha256[:16]}…; not redistributed",
        "code": f"time-machine-lm (MIT); run {reproduction.run_id}",
    }
    sizes = [agrees for each in configurations for agrees in each.reported.agreement(each.complexity)]
    agreeing = [agrees for agrees in sizes if agrees is not None]
    easy = (
        f"The text is public and small, and the book's code runs. Sizes need no training: {sum(agreeing)} of "
        f"{len(agreeing)} reported parameters and MACs are those of the shape. A training takes minutes on one core."
    )
    names = ("report.md", "epochs.csv", "result.json")
    whole, every_epoch, every_seed = (Span(name, href=name) for name in names)
    beside = (whole, " is the whole page, ", every_epoch, " has every epoch, ", every_seed, " every seed and verdict.")
    sections: dict[str, list[doc.Block]] = {
        "Scope of reproducibility": [Paragraph(scope)],
        "Methodology": [Paragraph(f"{sentences.PROTOCOL} {own}"), Paragraph(made)],
        "Results": [Bullets(sentences.answer(reproduction, verdicts)), *_tally(verdicts)],
        "What was easy": [Paragraph(easy)],
        "What was difficult": [Bullets(sentences.limitations(reproduction))],
        "Communication with the original authors": [
            Paragraph("None: nobody was asked, and everything rests on what is written.")
        ],
        "Checklist": [
            Table("", ("item", "answer"), [*checklist.items()]),
            doc.Commands(reproduction.commands),
            *_validation_and_test(configurations),
        ],
    }
    banner = sentences.banner(reproduction)
    return markdown(
        doc.Page(
            title="Reproducibility summary: the coursework report",
            lead=[
                Paragraph(("In the order of the ML Reproducibility Challenge. ", *beside)),
                *([Paragraph(banner, "banner")] if banner else []),
            ],
            sections=[Section(title, blocks) for title, blocks in sections.items()],
        )
    )


def _tally(verdicts: Sequence[Verdict]) -> list[doc.Block]:
    """The number of verdicts of each word, by what decides the statement, and in all."""
    names, by_basis = {"report": "the report's own numbers", "training": "a training"}, tally(verdicts, "basis")
    counts = {names[basis]: by_basis[basis] for basis in BASES if basis in by_basis}
    rows = [
        (name, *(str(of_word[word]) for word in WORDS))
        for name, of_word in {**counts, "in all": words_counted(verdicts)}.items()
    ]
    return [Table("", ("decided by", *WORDS), rows)] if verdicts else []


def _validation_and_test(configurations: Sequence[Configuration]) -> list[doc.Block]:
    """Validation and test perplexity of each configuration by the report's protocol and by the stream recipe."""
    rows = []
    for each in configurations:
        cells = [each.label]
        for runs in (each.whole, each.stream):
            tested = [(run.best_val, run.test_perplexity) for run in runs if run.is_whole and run.test_perplexity]
            cells += [rounded(geometric_mean(values)) for values in zip(*tested, strict=True)] or ["", ""]
        if any(cells[1:]):
            rows.append(cells)
    heads = ("protocol: validation, best (book average)", "test (pooled)", "stream recipe: validation, best", "test")
    note = "Means over seeds. The two recipes validate on different characters: only test perplexities can be compared."
    return [Table("", ("perplexity", *heads), rows), Paragraph(note)] if rows else []
