"""The page's section on reproducibility, in the order of the ML Reproducibility Challenge.

Its questions are those of the challenge's first page (paperswithcode.com/rc2020) and of the ACL's responsible NLP
checklist: runtime, hardware, parameters, number of runs, how hyper-parameters were chosen, validation beside test.
"""

from collections.abc import Iterator, Sequence

from pipeline.report.checks import Check, counts_in_words
from pipeline.report.open_data import trainings_by_role
from pipeline.report.page import sentences
from pipeline.report.reproduction import Reproduction
from pipeline.report.statements.evidence import d2l_trainings
from pipeline.report.statements.verdicts import Verdict
from pipeline.support.page.document import Block, Bullets, Commands, Heading, Paragraph, Points, Span, Text
from pipeline.support.wording import counted


def reproducibility(
    reproduction: Reproduction, verdicts: Sequence[Verdict], checks: Sequence[Check]
) -> Iterator[Block]:
    """The blocks of the section."""
    configurations, text = reproduction.configurations, reproduction.text
    runs = {  # each once: configurations of one shape share those by our recipe
        role: list({run.run_id: run for each in configurations for run in trainings_by_role(each)[role]}.values())
        for role in ("report", "stream", "same-text")
    }
    seeds = sorted({run.seed for run in runs["report"]})
    of_seeds = f" (seeds {', '.join(map(str, seeds))})" if seeds else ""
    d2l_seeds = sum(len(d2l_trainings(each.reported)) for each in configurations if each.runs)
    statements = [verdict.statement for verdict in verdicts]
    minutes = {role: sum(run.train_seconds for run in found) / 60 for role, found in runs.items()}
    parameters = sorted(each.complexity.parameters for each in configurations)
    sizes = [agrees for each in configurations for agrees in each.reported.agreement(each.complexity)]
    agreeing = [agrees for agrees in sizes if agrees is not None]

    scope = (
        f"All {len(statements)} statements that can be checked are, true and false alike, in our words; none is left "
        f"out. {sum(bool(each.reading) for each in statements)} have an ambiguous word, whose reading stands with the "
        f"verdict, and {sum(bool(each.contradiction) for each in statements)} are contradicted elsewhere by the same "
        "source."
    )
    own = (
        "The report follows it without stating it. The code is our own; in double precision its loss equals that of "
        "d2l 1.0.3's own trainer, step by step (make twin)."
    )
    made = (
        f"{len(runs['report'])} trainings by this protocol{of_seeds}; {d2l_seeds} recorded trainings of d2l's count "
        f"as further seeds. Beside them {len(runs['same-text'])} trainings of the same shapes by this project's own "
        f"recipe on the same characters, {len(runs['stream'])} on nine tenths of the text, and n-grams."
    )
    easy = (
        f"The text is public and small, and the book's code runs. Sizes need no training: {sum(agreeing)} of "
        f"{len(agreeing)} reported parameters and MACs are those of the shape. A training takes minutes on one core."
    )
    yield Points(
        [
            ("Scope of reproducibility", scope),
            ("Methodology", f"{sentences.PROTOCOL} {own} {made}"),
            ("What was easy", easy),
            ("Communication with the original authors", "None: nobody was asked; all rests on what is written."),
        ]
    )
    yield Heading("What was difficult")
    yield Bullets(sentences.limitations(reproduction))

    yield Heading("Checklist")
    checklist: dict[str, Text] = {
        "runtime": f"{minutes['report']:.0f} min of training by the protocol, "
        f"{minutes['same-text'] + minutes['stream']:.0f} min by our own recipe; of each training in result.json",
        "parameters": f"{parameters[0]:,} to {parameters[-1]:,}, output layer included; of each configuration in the "
        "tables, of each training in result.json",
        "number of runs": f"{len(runs['report'])} by the protocol, {counted(len(seeds), 'seed')}; means over them with "
        "95 % intervals",
        "hyper-parameters": "by the protocol the book's: nothing was tuned. Those of our own recipe were chosen on the "
        "validation split of The Time Machine's stream, before these trainings",
        "validation and test": "in the table of perplexities; the test split (the last 5 % of the text) chooses "
        "nothing, and the two recipes validate on different characters: only test perplexities can be compared",
        "data": f"{text.corpus}, as d2l.ai distributes it, {text.vocab_size} symbols; sha256 of the normalised text "
        f"{text.corpus_sha256[:16]}…; not redistributed",
        "beside this page": [
            *(Span("epochs.csv", href="epochs.csv"), " has every epoch, "),
            *(Span("result.json", href="result.json"), " every seed, figure and verdict"),
        ],
        "code": ["time-machine-lm (MIT), run ", Span(reproduction.run_id, "code")],
    }
    yield Points([*checklist.items(), *reproduction.environment.items()])
    yield Heading("How to repeat it")
    yield Commands(reproduction.commands)
    for sentence in counts_in_words(checks):
        yield Paragraph(sentence)
    if not_met := [check.said for check in checks if check.is_met is False]:
        yield Heading("Checks not met")
        yield Bullets(not_met)
    yield Heading("Sources")
    yield Bullets(sentences.SOURCES)
