"""The page: it has what was recorded and nothing else, in one file, and other people's words stay words."""

import re
import struct
from dataclasses import replace

import pytest

from pipeline.report.page.page import Pages, pages, write
from pipeline.report.page.sheets import NOTHING
from pipeline.report.table import read_table, report_table
from tests.report.page.pages import (
    CHECKS,
    CORRECTIONS,
    EXPLANATIONS,
    VERDICTS,
    Page,
    cut,
    full,
    of_few,
    page,
    with_runs,
)
from tests.report.reproductions import ENDS, reproduction

HOSTILE = """<b onclick='x()'>|`*_&"$1$</b>"""


pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def drawn() -> Pages:
    """A page of one configuration with its pictures, which is set up before these are left out."""
    return pages(of_few("lstm-torch-1x128"))


def test_the_page_needs_nothing_but_itself(drawn):
    assert not page().all("script") + page().all("link") + page().all("iframe")
    assert all((image["src"] or "").startswith("data:image/png;base64,") for image in page().all("img"))
    assert all((image["src"] or "").startswith("data:image/png;base64,iVBOR") for image in Page(drawn.html).all("img"))
    assert not re.search(r"@import|url\(|\son\w+=|javascript:", full().html)
    policy = page().all("meta")[-1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert (policy["content"] or "").startswith("default-src 'none'")


@pytest.mark.slow
def test_a_page_of_all_configurations_is_small(monkeypatch):
    monkeypatch.undo()
    every = pages(reproduction(), VERDICTS, CORRECTIONS, EXPLANATIONS, CHECKS)
    assert len(every.figures) == 17 + 5
    assert len(every.html.encode()) < 2_500_000
    assert len(every.markdown.encode()) < 100_000
    assert sum(map(len, every.figures.values())) < 1_000_000


def test_the_contents_lead_to_every_section_and_each_link_to_an_anchor():
    anchors = {attributes["id"] for _, attributes in page().tags if "id" in attributes}
    links = [link["href"] or "" for link in page().all("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= anchors
    assert {section["id"] for section in page().all("section")} <= {link[1:] for link in links}


def test_tables_have_captions_and_their_heads_scopes_and_figures_have_words():
    assert len(page().all("caption")) == len(page().all("table"))
    assert {head.get("scope") for head in page().all("th")} == {"col", "colgroup", "row"}
    assert len(page().all("figcaption")) == len(page().all("figure")) == 17 + 5
    assert all(len(image["alt"] or "") > 40 for image in page().all("img"))


def test_the_figures_of_the_markdown_are_those_on_disk(drawn, tmp_path):
    assert len(full().figures) == full().markdown.count("](figures/") == 17 + 5
    write(drawn, tmp_path)
    shown = re.findall(r"\]\((figures/[^)]*)\)", (tmp_path / "report.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("figures/*"))
    assert len(shown) == 1 + 1
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == drawn.html
    for name in shown:
        png = (tmp_path / name).read_bytes()
        width, height = struct.unpack(">II", png[16:24])
        assert png.startswith(b"\x89PNG")
        assert width > 500
        assert height > 300
        assert 5_000 < len(png) < 70_000, name


def test_every_configuration_has_its_rows_and_its_figure():
    for row in report_table().rows:
        for section in ("perplexity", "cost", "texts"):
            assert page().row(section, row.id)
        assert f"figures/{row.id}.png" in full().figures
        assert full().markdown.count(f"| {row.id} ") == 4  # in the table of checks too


def test_another_number_makes_another_page(monkeypatch):
    monkeypatch.undo()  # pictures count
    monkeypatch.setattr("pipeline.report.page.figures.PAGE_DOTS_PER_INCH", 30)
    monkeypatch.setattr("pipeline.report.page.page.QUESTIONS", ())
    ends = {"gru-torch-2x32": ENDS["gru-torch-2x32"]}
    found = of_few("gru-torch-2x32", seeds=1, ends=ends)
    better = of_few("gru-torch-2x32", seeds=1, ends={"gru-torch-2x32": (4.1, 4.5)})
    before, after = pages(found), pages(better)
    for one, other in ((before.html, after.html), (before.markdown, after.markdown)):
        assert one != other
        assert "so that none of the 1 networks is" in one
        assert "so that 1 of the 1 networks is better than a 4-gram" in other
    assert before.figures["figures/gru-torch-2x32.png"] != after.figures["figures/gru-torch-2x32.png"]
    assert pages(found) == before


def test_corrections_explanations_checks_and_baselines_are_there():
    for text in ("".join(page().texts.values()), full().markdown):
        for words in ("error 12", "instead 12", "Why eight layers did not train", "Kneser-Ney 6-gram", "outside of it",
                      "validation text, character 13,823", "an example", "Dive into Deep Learning"):  # fmt: skip
            assert words in text


def test_the_page_opens_with_what_the_report_is_and_what_is_measured():
    top = page().texts[""]
    for words in ("is a coursework report of 2023", "28 is a blind guess", "multiply-accumulate operations"):
        assert words in top
        assert words in full().markdown.partition("## Summary")[0]


def test_the_commands_stand_as_they_are_typed_in_both_pages():
    commands = ("mlflow run . -P 'only=*x8,<b>`*_x`'", "mlflow run . -P seeds=3")
    both = pages(replace(of_few("gru-torch-2x32", seeds=1), commands=commands))
    (made,) = [text for name, text in Page(both.html).texts.items() if name == "made"]
    assert "To repeat it:\n" + "\n".join(commands) in made
    assert not Page(both.html).all("b")
    assert "\n\n" + "".join(f"    {command}\n" for command in commands) + "\n" in both.markdown


def test_parentheses_need_no_escape_in_markdown():
    assert "\\(" not in full().markdown
    assert "\\)" not in full().markdown


def test_what_was_not_run_or_not_finished_says_so_everywhere():
    found = of_few("gru-torch-2x32", "lstm-torch-2x32", "rnn-torch-1x128", seeds=2)
    found = with_runs(found, "lstm-torch-2x32", (cut(found["lstm-torch-2x32"].runs[0], 12),))
    found = with_runs(found, "rnn-torch-1x128", ())
    both = pages(found)
    html = Page(both.html)
    assert (
        "1 of 3 configurations were trained for all their epochs; lstm-torch-2x32 was trained for 12 of 100 epochs; "
        "rnn-torch-1x128 was not run." in (html.texts["summary"])
    )
    assert html.row("perplexity", "lstm-torch-2x32")[3].split() == ["1", "seed", "12", "of", "100", "epochs"]
    assert (
        html.row("perplexity", "lstm-torch-2x32")[12].strip() == NOTHING
    )  # no figure to be printed in the report's place
    assert html.row("perplexity", "rnn-torch-1x128")[3:5] == [" not run", f" {NOTHING}"]
    assert "Incomplete: lstm-torch-2x32 (12 of 100 epochs)" in html.texts["questions"]
    assert "rnn-torch-1x128: not run" in html.texts["configurations"]
    for words in ("12 of 100 epochs", "not run"):
        assert both.markdown.count(words) >= 4


def test_what_its_time_cut_short_is_said_in_a_sentence_and_has_no_rank(monkeypatch):
    drawn: list[list[str]] = []
    monkeypatch.setattr(
        "pipeline.report.page.figures._page_labels",
        lambda axes, x, y: drawn.append([label.get_text() for label in axes.get_yticklabels()]),
    )
    ids = ("gru-scratch-1x8", "gru-scratch-1x32", "gru-scratch-1x1024")
    found = of_few(*ids, seeds=1)
    short = replace(cut(found[ids[2]].runs[0], 2), val=(1.5, 1.4), stopped="--max-seconds 150")
    both = pages(with_runs(found, ids[2], (short,)))
    html = Page(both.html)
    assert (
        "2 of 3 configurations were trained for all their epochs; gru-scratch-1x1024 was stopped after 2 of 50 epochs "
        "(--max-seconds 150)." in html.texts["summary"]
    )
    best = {id: min(found[id].runs[0].val) for id in ids}
    assert (
        f"Best validation perplexity: gru-scratch-1x32 {best[ids[1]]:.2f} and gru-scratch-1x8 {best[ids[0]]:.2f}. "
        "Incomplete: gru-scratch-1x1024 (2 of 50 epochs, stopped by --max-seconds 150)."
    ) in html.texts["questions"]
    assert ["GRU 1x8", "GRU 1x32", "GRU 1x1024\n(2 of 50 epochs)"] in drawn
    assert "training is at" in html.texts["configurations"]


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_run_that_has_just_begun_is_no_error(epochs):
    found = of_few("gru-torch-2x32", seeds=1)
    found = with_runs(found, "gru-torch-2x32", (cut(found.configurations[0].runs[0], epochs),))
    assert f"{epochs} of 100 epochs" in pages(found).markdown


def test_nothing_recorded_is_a_page_too():
    found = reproduction(ends={})
    empty = pages(replace(found, configurations=found.configurations[:2]))
    assert "Nothing has been trained" in Page(empty.html).texts[""]


def test_a_quick_check_is_said_to_be_none_in_every_place():
    found = replace(of_few("gru-torch-2x32", seeds=1), quick=True)
    run = replace(cut(found.configurations[0].runs[0], 3), epochs_planned=3)
    both = pages(with_runs(found, "gru-torch-2x32", (run,)))
    words = "quick check of 3 epochs: no reproduction"
    html = Page(both.html)
    assert f"<title>A {words}" in both.html
    assert words in html.texts[""]
    assert any(paragraph.get("class") == "banner" for paragraph in html.all("p"))
    assert all(words in (image["alt"] or "") for image in html.all("img"))
    assert both.markdown.startswith(f"# A {words}")
    assert html.texts["questions"].count(words) == 2
    assert html.row("perplexity", "gru-torch-2x32")[12].strip() == NOTHING


def test_a_quick_check_is_said_in_the_title_of_every_figure(monkeypatch):
    titles: list[str] = []

    def keep(*arguments: object) -> bytes:
        titles.append(str(arguments[-1]))
        return b""

    monkeypatch.setattr("pipeline.report.page.page.training_curves", keep)
    pages(replace(of_few("gru-torch-2x32", "lstm-torch-2x32", seeds=1), quick=True))
    assert len(titles) == 2
    assert all("quick check of 100 epochs: no reproduction" in title for title in titles)


@pytest.fixture
def other(tmp_path):
    """A table of someone else's, in which everything that can be words is hostile; its first row was trained."""
    path = tmp_path / "theirs.csv"
    quoted = HOSTILE.replace('"', '""')
    path.write_text(
        "id,implementation,cell,num_layers,hidden_size,perplexity_end,params_reported,gap_as_reported,sample_it_has\n"
        f'"{quoted}",torch,gru,1,16,6,1 k,"{quoted}","{quoted}"\n'
        "../../etc,torch,lstm,1,16,,,,\n..\\..\\etc,scratch,gru,1,4,,,,\n"
    )
    table = read_table(path, HOSTILE)
    found = reproduction(seeds=1, table=table, ends={HOSTILE: (5.0, 6.0)})
    return replace(found, environment={HOSTILE: HOSTILE}, link="http://localhost/?a=1&b=<2>")


def test_another_table_has_no_corrections_and_one_comparison(other):
    both = pages(other)
    html = Page(both.html)
    assert not {"verdicts", "corrections", "explanations", "checks"} & set(html.texts)
    assert len(both.figures) == 1 + 3
    assert "All configurations compared" in html.texts["questions"]
    assert "0 of 1 reported size (parameters, MACs)" in html.texts["summary"]
    assert "read off prose" not in html.texts["perplexity"]
    assert "it corrects nothing that was measured under another one" in html.texts["perplexity"]
    assert "what should stand in the place" not in html.texts["perplexity"]
    assert "Corrected" not in html.texts["perplexity"]


def test_words_of_a_table_stay_words_in_html(other):
    html = Page(pages(other).html)
    assert not html.all("b")
    assert HOSTILE in html.texts["configurations"]
    assert html.rows[2][1][0].split() == HOSTILE.split()
    assert html.texts["made"].count(HOSTILE) == 2
    assert {"href": "http://localhost/?a=1&b=<2>"} in html.all("a")


def test_words_of_a_table_stay_words_in_markdown(other):
    markdown = pages(other).markdown
    written = r"""\<b onclick='x()'\>\|\`\*\_\&"\$1\$\</b\>"""
    assert HOSTILE not in markdown
    assert markdown.count(written) >= 8
    rest = markdown.replace(written, "")
    assert "<b" not in rest
    assert "x()" not in rest


def test_figures_of_a_table_stay_in_their_folder_and_apart(other, tmp_path):
    both = pages(other)
    assert len(set(map(str.lower, both.figures))) == 4
    assert all(re.fullmatch(r"figures/[\w-]+\.png", name) for name in both.figures)
    write(both, tmp_path / "page")
    assert len(list((tmp_path / "page" / "figures").iterdir())) == 4
    assert {path.name for path in (tmp_path / "page").iterdir()} == {"figures", "report.html", "report.md"}
