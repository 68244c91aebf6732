"""The report's page: it has what was recorded, in HTML and in Markdown, and says what is missing."""

import re
from collections import Counter
from dataclasses import replace

from pipeline.report.statements.kinds import report_statements
from pipeline.report.table import report_rows
from tests.pages.parsed import Page
from tests.report.alterations import with_runs
from tests.report.page.pages import full, of_few, page, rendered
from tests.report.reproductions import cut


def test_each_link_leads_to_one_anchor():
    anchors = Counter(attributes["id"] for _, attributes in page().tags if "id" in attributes)
    links = [link["href"] or "" for link in page().all("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(anchors)
    assert set(anchors.values()) == {1}


def test_every_statement_has_an_anchor_and_every_verdict_its_reason():
    anchors = {attributes.get("id") for _, attributes in page().tags}
    for number, statement in enumerate(report_statements()):
        assert f"statement-{statement.id}" in anchors
        assert f"because of number {number}" in page().texts["statements"]
        assert f"because of number {number}" in full()["report.md"]


def test_every_configuration_has_its_rows_and_its_picture_by_one_name():
    for row in report_rows():
        for section in ("reproduced", "configurations", "texts"):
            assert page().row(section, row.id)
        assert full()["report.md"].count(f"| {row.id} ") == 4
        assert f">{row.id}</text>" in full()["figures/answer.svg"]


def test_the_pictures_of_the_markdown_are_files_beside_it():
    shown = re.findall(r"\]\((figures/[^)]*)\)", full()["report.md"])
    assert {*shown, "report.html", "report.md"} == {*full()}


def test_what_was_not_run_or_not_finished_says_so_everywhere():
    found = of_few("gru-torch-2x32", "lstm-torch-2x32", "rnn-torch-1x128", seeds=2)
    found = with_runs(found, "lstm-torch-2x32", (cut(found["lstm-torch-2x32"].runs[0], 12),))
    both = rendered(with_runs(found, "rnn-torch-1x128", ()))
    html = Page(both["report.html"])
    assert "(12 of 100 epochs): lstm-torch-2x32." in html.texts["reproducibility"]
    assert "(not run): rnn-torch-1x128." in html.texts["reproducibility"]
    assert html.row("configurations", "lstm-torch-2x32")[1].strip() == "12 of 100 epochs"
    assert html.row("configurations", "rnn-torch-1x128")[1].strip() == "not run"
    for words in ("12 of 100 epochs", "not run"):
        assert both["report.md"].count(words) >= 2
        assert words in both["figures/answer.svg"]


def test_trainings_that_configurations_of_one_shape_share_are_counted_once():
    found = of_few("gru-scratch-1x128", "gru-torch-1x128")
    shared = found.configurations[0].runs[:1]
    both = tuple(replace(configuration, same_text=shared) for configuration in found.configurations)
    text = rendered(replace(found, configurations=both))["report.md"]
    assert "6 trainings by this protocol (seeds 0, 1, 2)" in text
    assert "1 trainings of the same shapes" in text
