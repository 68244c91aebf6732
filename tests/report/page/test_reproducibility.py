"""The reproducibility summary: the challenge's headings, and figures of the record."""

from dataclasses import replace

from pipeline.report.page.reproducibility import summary_markdown
from pipeline.report.statements.table import report_statements
from pipeline.report.statements.verdicts import WORDS, Verdict
from tests.report.page.pages import of_few
from tests.report.reproductions import reproduction

VERDICTS = [Verdict(each, WORDS[number % 5], "") for number, each in enumerate(report_statements())]


def test_the_headings_are_those_of_the_challenge_in_its_order():
    lines = summary_markdown(reproduction(), VERDICTS).splitlines()
    assert [line for line in lines if line.startswith("## ")] == [
        "## Scope of reproducibility",
        "## Methodology",
        "## Results",
        "## What was easy",
        "## What was difficult",
        "## Communication with the original authors",
        "## Checklist",
    ]


def test_trainings_that_configurations_of_one_shape_share_are_counted_once():
    found = of_few("gru-scratch-1x128", "gru-torch-1x128")
    shared = found.configurations[0].stream
    both = tuple(replace(each, stream=shared) for each in found.configurations)
    text = summary_markdown(replace(found, configurations=both), VERDICTS)
    assert "6 trainings by this protocol (seeds 0, 1, 2)" in text
    assert "1 on nine tenths of the text" in text


def test_each_test_perplexity_has_validation_beside_it():
    found = of_few("gru-torch-2x32")
    best = found.configurations[0].mean_best_val
    assert f"| GRU torch 2x32 | {best:.2f} | 6.70 | 3.72 | 3.81 |" in summary_markdown(found, VERDICTS)
