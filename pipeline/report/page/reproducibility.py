"""Render the reproducibility summary beside the page, in the order of the ML Reproducibility Challenge.

Its questions are those of the challenge's first page (paperswithcode.com/rc2020) and of the ACL's responsible NLP
checklist: runtime, hardware, parameters, number of runs, how hyper-parameters were chosen, validation beside test.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from pipeline.config import WINDOW_LENGTH, WINDOW_TRAIN, WINDOW_VAL
from pipeline.report.open_data import trainings_by_role
from pipeline.report.page import sentences
from pipeline.report.page.page import TEMPLATES
from pipeline.report.reproduction import Configuration, RecordedTraining, Reproduction
from pipeline.report.statements.evidence import d2l_trainings
from pipeline.report.statements.table import BASES
from pipeline.report.statements.verdicts import WORDS, Verdict, tally_by_basis, words_counted
from pipeline.support.page.rendering import markdown_environment
from pipeline.support.statistics import geometric_mean
from pipeline.support.wording import rounded


def summary_markdown(reproduction: Reproduction, verdicts: Sequence[Verdict]) -> str:
    """Render the summary of a reproduction as Markdown."""
    configurations = reproduction.configurations
    runs = {role: _unique(configurations, role) for role in ("report", "stream", "same-text")}
    statements = [verdict.statement for verdict in verdicts]
    agreeing = [agrees for configuration in configurations for agrees in _sizes_agree(configuration)]
    content: dict[str, Any] = {
        "reproduction": reproduction,
        "banners": sentences.banners(reproduction),
        "statements": statements,
        "ambiguous": sum(bool(statement.reading) for statement in statements),
        "contradicted": sum(bool(statement.contradiction) for statement in statements),
        "windows": (WINDOW_TRAIN, WINDOW_LENGTH, WINDOW_VAL),
        "d2l_seeds": sum(len(d2l_trainings(each.reported)) for each in configurations if each.runs),
        "tally": _tally(verdicts),
        "words": WORDS,
        "answer": sentences.answer(reproduction, verdicts),
        "sizes": (sum(agreeing), len(agreeing)),
        "limitations": sentences.limitations(reproduction),
        "runs": runs,
        "minutes": {role: sum(run.train_seconds for run in found) / 60 for role, found in runs.items()},
        "seeds": sorted({run.seed for run in runs["report"]}),
        "parameters": sorted(each.complexity.parameters for each in configurations),
        "tests": [row for each in configurations if any((row := _validation_and_test(each))[1:])],
    }
    return markdown_environment(TEMPLATES).get_template("summary.md.jinja").render(content)


def _unique(configurations: Iterable[Configuration], role: str) -> list[RecordedTraining]:
    """The trainings of a role, each once: configurations of one shape share those by our recipe."""
    return list({run.run_id: run for each in configurations for run in trainings_by_role(each)[role]}.values())


def _sizes_agree(configuration: Configuration) -> list[bool]:
    """Whether each reported size of the configuration is that of its shape."""
    reported, size = configuration.reported, configuration.complexity
    agreement = (reported.agrees_on_parameters(size.report_parameters), reported.agrees_on_macs(size.report_macs))
    return [agrees for agrees in agreement if agrees is not None]


def _tally(verdicts: Sequence[Verdict]) -> list[tuple[str, list[int]]]:
    """The number of verdicts of each word, by what decides the statement, and in all."""
    names = {"report": "the report's own numbers", "training": "a training"}
    by_basis = tally_by_basis(verdicts)
    rows = [(names[basis], list(by_basis[basis].values())) for basis in BASES if basis in by_basis]
    return [*rows, ("in all", list(words_counted(verdicts).values()))]


def _validation_and_test(configuration: Configuration) -> tuple[str, ...]:
    """The label, then validation and test perplexity by the report's protocol and by the stream recipe."""
    cells = []
    for runs in (configuration.whole, configuration.stream):
        tested = [(run.best_val, run.test_perplexity) for run in runs if run.is_whole and run.test_perplexity]
        cells += [rounded(geometric_mean(values)) for values in zip(*tested, strict=True)] or ["", ""]
    return configuration.label, *cells
