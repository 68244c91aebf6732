"""The page: it has what was recorded and nothing else, in one file, and other people's words stay words."""

import re
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from hashlib import sha256

import pytest

from pipeline.report.page.page import KIND_TITLES, pages, write
from pipeline.report.statements.table import KINDS, Statement, report_statements
from pipeline.report.statements.verdicts import Verdict
from pipeline.report.table import report_rows
from tests.report.page.pages import CHECKS, CORRECTIONS, VERDICTS, Page, cut, full, of_few, page, with_runs
from tests.report.reproductions import reproduction

HOSTILE = """<b onclick='x()'>|`*_&"$1$</b>"""


def test_each_kind_of_statement_has_a_title():
    assert set(KIND_TITLES) == set(KINDS)


def test_the_page_needs_nothing_but_itself():
    assert not page().all("img") + page().all("link") + page().all("iframe")
    assert not re.search(r"@import|url\(|<[^>]*\son\w+=|javascript:", full().html)


def test_the_page_runs_its_own_scripts_only():
    (policy,) = [meta["content"] for meta in page().all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    scripts = re.findall("<script>(.*?)</script>", full().html, re.DOTALL)
    sources = {f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts}
    assert (policy or "").startswith("default-src 'none'")
    assert sources == set((policy or "").partition("script-src ")[2].split())


def test_the_page_is_small():
    assert len(full().html.encode()) < 1_000_000
    assert len(full().markdown.encode()) < 250_000


def test_the_contents_lead_to_every_section_and_each_link_to_an_anchor():
    anchors = Counter(attributes["id"] for _, attributes in page().tags if "id" in attributes)
    links = [link["href"] or "" for link in page().all("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(anchors)
    assert set(page().texts) - {""} <= {link[1:] for link in links}
    assert set(anchors.values()) == {1}


def test_tables_have_captions_and_their_heads_scopes_and_pictures_labels():
    anchors = {attributes["id"] for _, attributes in page().tags if "id" in attributes}
    assert len(page().all("caption")) == len(page().all("table"))
    assert {head.get("scope") for head in page().all("th")} == {"col", "colgroup", "row"}
    assert {svg["aria-labelledby"] for svg in page().all("svg")} <= anchors


def test_the_question_its_answer_and_the_tally_come_before_every_section():
    top = page().texts[""]
    for words in ("Does a coursework report on recurrent networks hold", "Of the report's 258 statements, 52 are"):
        assert words in top
        assert words in full().markdown.partition("\n## ")[0]
    (row,) = [cells for where, cells in page().rows if where == "" and "conclusion right" in cells[0]]
    trained = sum(verdict.statement.basis == "training" for verdict in VERDICTS if verdict.word == VERDICTS[2].word)
    assert [int(cell) for cell in row[1:]] == [trained, 52 - trained, 52]


def test_every_statement_has_an_anchor_its_verdict_and_its_reason():
    anchors = {item.get("id") for item in page().all("li")}
    for number, statement in enumerate(report_statements()):
        assert f"statement-{statement.id}" in anchors
        assert f"because of number {number}" in page().texts["statements"]
    assert full().markdown.count("because of number ") >= len(report_statements())


def test_every_correction_has_an_anchor():
    assert [article["id"] for article in page().all("article")] == [f"correction-{each.number}" for each in CORRECTIONS]


def test_every_configuration_has_its_rows_and_its_picture_by_one_name():
    for row in report_rows():
        for section in ("reproduced", "configurations", "texts"):
            assert page().row(section, row.label)
        assert f"figure-{row.id}" in {figure.get("id") for figure in page().all("figure")}
        assert full().markdown.count(f"| {row.label} ") == 4
        assert f">{row.label}</text>" in full().figures["figures/curves.svg"]


def test_the_pictures_of_the_markdown_are_those_on_disk(tmp_path):
    write(full(), tmp_path)
    shown = re.findall(r"\]\((figures/[^)]*)\)", (tmp_path / "report.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("figures/*"))
    assert {path.name for path in tmp_path.iterdir()} == {"figures", "report.html", "report.md"}


def test_corrections_explanations_checks_bounds_and_baselines_are_there():
    for text in ("".join(page().texts.values()), full().markdown):
        for words in (
            "error 12",
            "instead 12",
            "Why eight layers did not train",
            "is visible from",
            "Kneser-Ney 6-gram",
            "validation text, character 13,823",
            "validation is outside of it",
            "an example",
            "Dive into Deep Learning",
        ):
            assert words in text


def test_checks_that_are_not_met_are_named_and_all_are_counted():
    for text in (page().texts["repeat"], full().markdown):
        assert "Of 3 figures 2 are as printed" in text
        assert text.count("validation is outside of it") == 1
        assert "the RNN has 20,224 parameters" not in text
    assert "not met" not in Page(pages(of_few("rnn-torch-1x128", seeds=1), checks=CHECKS[:1]).html).texts["repeat"]


def test_the_commands_stand_as_they_are_typed_in_both_pages():
    commands = ("mlflow run . -P 'only=*x8,<b>`*_x`'", "mlflow run . -P seeds=3")
    both = pages(replace(of_few("gru-torch-2x32", seeds=1), commands=commands))
    made = Page(both.html).texts["repeat"]
    assert "To repeat it:\n" + "\n".join(commands) in made
    assert "\n\n" + "".join(f"    {command}\n" for command in commands) + "\n" in both.markdown


def test_parentheses_need_no_escape_in_markdown():
    assert "\\(" not in full().markdown
    assert "\\)" not in full().markdown


def test_what_was_not_run_or_not_finished_says_so_everywhere():
    found = of_few("gru-torch-2x32", "lstm-torch-2x32", "rnn-torch-1x128", seeds=2)
    found = with_runs(found, "lstm-torch-2x32", (cut(found["lstm-torch-2x32"].runs[0], 12),))
    both = pages(with_runs(found, "rnn-torch-1x128", ()))
    html = Page(both.html)
    assert "LSTM torch 2x32 was trained for 12 of 100 epochs" in html.texts["limitations"]
    assert "RNN torch 1x128 was not run" in html.texts["limitations"]
    assert html.row("configurations", "LSTM torch 2x32")[1].split() == ["1", "seed", "12", "of", "100", "epochs"]
    assert html.row("configurations", "RNN torch 1x128")[1].strip() == "not run"
    for words in ("12 of 100 epochs", "not run"):
        assert both.markdown.count(words) >= 4
        assert all(words in picture for picture in both.figures.values())


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_run_that_has_just_begun_is_no_error(epochs):
    found = of_few("gru-torch-2x32", seeds=1)
    found = with_runs(found, "gru-torch-2x32", (cut(found.configurations[0].runs[0], epochs),))
    assert f"{epochs} of 100 epochs" in pages(found).markdown


def test_nothing_recorded_is_a_page_too():
    found = reproduction(ends={})
    empty = pages(replace(found, configurations=found.configurations[:2]))
    assert "Nothing has been trained" in Page(empty.html).texts[""]


def test_a_quick_check_is_said_to_be_none_first():
    found = replace(of_few("gru-torch-2x32", seeds=1), quick=True)
    run = replace(cut(found.configurations[0].runs[0], 3), epochs_planned=3)
    both = pages(with_runs(found, "gru-torch-2x32", (run,)))
    words = "quick check of 3 epochs: no reproduction"
    html = Page(both.html)
    assert f"<title>A {words}" in both.html
    assert any(paragraph.get("class") == "banner" for paragraph in html.all("p"))
    assert both.markdown.startswith(f"# A {words}")


def test_other_epochs_than_the_protocols_are_said_first():
    found = of_few("gru-torch-2x32", seeds=1)
    run = replace(cut(found.configurations[0].runs[0], 10), epochs_planned=10)
    both = pages(with_runs(found, "gru-torch-2x32", (run,)))
    assert "trained for 10 epochs, where the protocol has 100" in Page(both.html).texts[""]
    assert not [p for p in page().all("p") if p.get("class") == "banner"]


@pytest.fixture
def other():
    """A reproduction in which everything that can be words is hostile."""
    row = replace(report_rows()[0], gap=HOSTILE, samples=(("it has", HOSTILE),))
    (trained,) = of_few(row.id, seeds=1).configurations
    statements = [Statement(HOSTILE, ("2",), "end", (row.id,), HOSTILE, reading=HOSTILE)]
    found = replace(reproduction(seeds=0), configurations=(replace(trained, reported=row),))
    hostile = replace(found, environment={HOSTILE: HOSTILE}, link="http://localhost/?a=1&b=<2>")
    return pages(hostile, [Verdict(each, "in part", HOSTILE, part=HOSTILE) for each in statements])


def test_words_of_others_stay_words_in_html(other):
    html = Page(other.html)
    assert not [tag for tag in html.all("b") if tag]
    assert HOSTILE in html.texts["configurations"]
    assert html.texts["repeat"].count(HOSTILE) == 2
    assert {"href": "http://localhost/?a=1&b=<2>"} in html.all("a")


def test_words_of_others_stay_words_in_markdown(other):
    markdown = other.markdown
    written = r"""\<b onclick='x()'\>\|\`\*\_\&"\$1\$\</b\>"""
    assert HOSTILE not in markdown
    assert markdown.count(written) >= 8
    rest = markdown.replace(written, "")
    assert "<b" not in rest
    assert "x()" not in rest
