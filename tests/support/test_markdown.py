"""Texts and tables: nothing of a text is markup, and every row has as many cells."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.support.markdown import markdown_table, plain, text_block, text_table


def test_a_table_in_markdown_has_a_rule_and_as_many_cells_in_every_row():
    assert markdown_table(("a", ""), [("1", "2"), ("", "x")]) == "| a |  |\n| --- | --- |\n| 1 | 2 |\n|  | x |"


def test_a_table_in_text_has_aligned_columns_and_nothing_behind_a_line():
    assert text_table(("", "head"), [("long name", "1"), ("b", "20")]) == (
        "           head\nlong name     1\nb            20"
    )
    assert text_table((), [("a", "1", "x"), ("bb", "10", "")], left=(0, 2)) == "a    1  x\nbb  10"


@pytest.mark.parametrize("text", ["plain", "``` out of the block <script>alert(1)</script>", "` `` ``` ````"])
def test_nothing_in_a_text_is_markup(text):
    first, *lines, last = text_block(text).splitlines()
    assert first == last
    assert set(first) == {"`"}
    assert all(first not in line for line in lines)


@given(st.text(st.sampled_from("ab \n\t\u2028\\`*_{}[]<>()#|~!&$'\"-+.:/=x1")))
def test_no_name_is_markup_whatever_is_in_it(name):
    unescaped = re.sub(r"\\[!-/:-@\[-`{-~]", "", plain(name))  # CommonMark's escapes
    assert not set("\\`*_{}[]<>#|~!&$") & set(unescaped)
    assert len(unescaped.splitlines()) <= 1
