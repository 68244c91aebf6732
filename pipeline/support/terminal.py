"""Text for a terminal: its width, and wrapping at word boundaries."""

import shutil
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from textwrap import fill

import wcwidth

LONGEST_LINE, SHORTEST_LINE = 112, 40  # columns

GAP = "   "  # between two texts side by side


def terminal_width() -> int:
    """The columns of the terminal, at least SHORTEST_LINE; LONGEST_LINE without one."""
    return max(SHORTEST_LINE, shutil.get_terminal_size((LONGEST_LINE, 24)).columns)


def line_width() -> int:
    """The columns to write prose in: the terminal's, but at most LONGEST_LINE."""
    return min(terminal_width(), LONGEST_LINE)


def wrapped(text: str, indent: str = "", further: str | None = None) -> str:
    """Wrap a paragraph at ``line_width()`` columns; its lines but the first are indented by ``further``, if given."""
    return fill(
        text,
        line_width(),
        initial_indent=indent,
        subsequent_indent=indent if further is None else further,
        break_on_hyphens=False,  # so that an option such as --batch-size stays on one line
    )


def shortened(text: str, width: int) -> str:
    """A text, cut in the middle to this many columns."""
    columns, end = wcwidth.width(text), (width - 2) // 2
    if columns <= width:
        return text
    return f"{wcwidth.clip(text, 0, width - 2 - end)}..{wcwidth.clip(text, columns - end, columns)}"


def in_lines(characters: Iterable[str], width: int) -> Iterator[str]:
    """Wrap a text that arrives character by character at ``width`` columns; yields it word by word."""
    column, gap = 0, ""
    for word in _words(characters, width):
        if word == "\n":
            yield word
            column, gap = 0, ""
        elif word.isspace():
            gap += word
        else:
            if column and column + len(gap) + wcwidth.width(word) > width:
                yield "\n"
                column, gap = 0, ""
            yield gap + word
            column, gap = column + len(gap) + wcwidth.width(word), ""


def _words(characters: Iterable[str], width: int) -> Iterator[str]:
    """Split into single spaces, single wide characters, and words of at most ``width`` characters."""
    word = ""
    for character in characters:
        is_apart = character.isspace() or wcwidth.width(character) == 2
        if word and (is_apart or len(word) == width):
            yield word
            word = ""
        if is_apart:
            yield character
        else:
            word += character
    if word:
        yield word


def side_by_side(left: str, right: str, width: int) -> str:
    """Two texts side by side, in columns of equal width; their tabs become spaces."""
    column = (width - len(GAP)) // 2
    texts = ["".join(in_lines(text.expandtabs(), column)).split("\n") for text in (left, right)]
    return "\n".join(f"{wcwidth.ljust(a, column)}{GAP}{b}".rstrip() for a, b in zip_longest(*texts, fillvalue=""))
