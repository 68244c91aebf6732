"""The section on reproducibility: the challenge's headings, and figures of the record."""

from dataclasses import replace

from pipeline.report.page.page import pages
from tests.report.page.pages import full, of_few


def test_the_headings_of_the_challenge_are_there():
    for heading in ("Scope of reproducibility", "Methodology", "What was easy", "What was difficult", "Checklist"):
        assert heading in full()["report.md"].partition("## Reproducibility")[2]


def test_trainings_that_configurations_of_one_shape_share_are_counted_once():
    found = of_few("gru-scratch-1x128", "gru-torch-1x128")
    shared = found.configurations[0].stream
    both = tuple(replace(each, stream=shared) for each in found.configurations)
    text = pages(replace(found, configurations=both))["report.md"]
    assert "6 trainings by this protocol (seeds 0, 1, 2)" in text
    assert "1 on nine tenths of the text" in text
