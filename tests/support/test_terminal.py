"""Lines for a terminal end between words and fit into its width."""

from collections.abc import Iterator

import pytest
import wcwidth

from pipeline.support.terminal import in_lines, side_by_side


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("it has a machine", ["it has a", "machine"]),
        ("it has\nno end", ["it has", "no end"]),
        ("abcdefghijkl", ["abcdefghij", "kl"]),
        ("a  b", ["a  b"]),
        ("cafe\N{COMBINING ACUTE ACCENT} nouns", ["cafe\N{COMBINING ACUTE ACCENT} nouns"]),
        ("她是一个很好的人", ["她是一个很", "好的人"]),
    ],
)
def test_lines_end_between_words(text, lines):
    assert "".join(in_lines(text, 10)).split("\n") == lines


def test_a_word_is_written_as_soon_as_it_is_whole():
    read = []

    def characters() -> Iterator[str]:
        for character in "it has been":
            read.append(character)
            yield character

    words = in_lines(characters(), 80)
    assert (next(words), "".join(read)) == ("it", "it ")
    assert (next(words), "".join(read)) == (" has", "it has ")


def test_a_tab_of_a_text_moves_no_column_beside_it():
    assert side_by_side("a\tb", "c", 23) == "a       b    c"


def test_two_texts_stand_side_by_side_in_columns_of_equal_width():
    lines = side_by_side("一二三四五六", "one two three", 23).split("\n")
    assert lines == ["一二三四五   one two", "六           three"]
    assert {wcwidth.width(line[: line.rindex("   ") + 3]) for line in lines} == {13}
