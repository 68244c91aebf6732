"""Pages: what is data stands in HTML and Markdown, other people's words stay words, and a page needs only itself."""

import re
from base64 import b64encode
from collections import Counter
from hashlib import sha256

import pytest

from pipeline.pages import document as doc
from pipeline.pages.rendering import html, markdown
from tests.pages.parsed import Page

HOSTILE = """<b onclick='x()'>|`*_&"$1$</b>"""

WRITTEN = r"""\<b onclick='x()'\>\|\`\*\_\&"\$1\$\</b\>"""  # in Markdown


def every_block(words: str) -> list[doc.Block]:
    """One of each block, whose texts are all ``words``."""
    spans = [doc.Span(words, href="#there"), *(doc.Span(words, style) for style in ("code", "sample", "chip"))]
    text: list[str | doc.Span] = [words, *spans]
    rows: list[list[doc.TableCell | str]] = [[doc.TableCell(words), doc.TableCell(text, [text], "strong")], ["", words]]
    drawing = doc.Drawing(10, 10, "", "one", text, "figures/one.svg", words)
    return [
        doc.Heading(words),
        doc.Paragraph(text, "verdict"),
        doc.Points([(doc.Span(words, href="file.csv"), text)]),
        doc.Bullets([text]),
        doc.Table(words, (words, words), rows, ((words, 2),), anchors=("there", "b")),
        drawing,
        doc.Explorer(
            "all-of-it", "", drawing.inline("all-of-it-curves"), {words: True, f"{words}2": True}, words, "[]"
        ),
        doc.Section(words, [doc.Paragraph(text)], summary=[doc.Span(words)]),
    ]


def of(words: str) -> doc.Page:
    commands = doc.Section("Run", [doc.Commands(["tmlm train '*' <b>", "tmlm runs"])], "run")
    sections = [doc.Section(words, every_block(words), "all"), doc.Section("None", [], "none"), commands]
    return doc.Page(words, [doc.Markup("<i>1</i>")], sections, scripts=["let one = 1;"])


def test_cells_keep_their_parts_and_notes():
    made, written = Page(html(of("word"))), markdown(of("word"))
    assert [len(" ".join(row).split()) for _, row in made.rows] == [1, 2, 11, 1]  # of the table, in words
    assert "| word | **wordwordwordwordword** (wordwordwordwordword) |" in written
    assert "|  | word |" in written


def test_a_section_without_blocks_is_left_out():
    assert set(Page(html(of("word"))).texts) == {"", "all", "run"}
    assert "None" not in markdown(of("word"))


def test_every_text_of_every_block_is_in_both_pages_and_stays_words():
    made, written = Page(html(of(HOSTILE))), markdown(of(HOSTILE))
    assert not [tag for tag, attributes in made.tags if "onclick" in attributes]
    assert "".join(made.texts.values()).count(HOSTILE) == 52
    assert HOSTILE not in written
    assert "<b onclick" not in written.replace(WRITTEN, "")
    assert written.count(WRITTEN) == 48


def test_commands_stand_as_they_are_typed():
    assert "tmlm train '*' <b>\ntmlm runs" in Page(html(of("word"))).texts["run"]
    assert "\n\n    tmlm train '*' <b>\n    tmlm runs\n" in markdown(of("word"))


def test_a_page_needs_nothing_but_itself_and_runs_its_own_scripts_only():
    text = html(of("\u202eword"))  # written from right to left
    made = Page(text)
    assert "\u202e" not in text
    assert not made.all("img") + made.all("link") + made.all("iframe")
    assert not re.search(r"@import|url\(|<[^>]*\son\w+=|javascript:", text)
    (policy,) = [meta["content"] for meta in made.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    scripts = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    sources = [f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts]
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src {' '.join(sources)}"
    assert scripts[1:] == ["let one = 1;"]


def test_links_lead_somewhere_table_heads_have_scopes_and_charts_labels():
    made = Page(html(of("word")))
    anchors = Counter(attributes["id"] for _, attributes in made.tags if "id" in attributes)
    assert set(anchors.values()) == {1}
    assert {link["href"] for link in made.all("a")} <= {f"#{anchor}" for anchor in anchors} | {"file.csv"}
    assert {head.get("scope") for head in made.all("th")} == {"col", "colgroup", None}
    assert {svg["aria-labelledby"] for svg in made.all("svg")} <= set(anchors)


@pytest.mark.parametrize("text", [" (a) ", "plain"])
def test_markdown_keeps_spaces_between_parts_and_parentheses(text):
    assert f"x{text}y" in markdown(doc.Page("title", [doc.Paragraph(["x", text, "y"])], []))
