"""Texts and tables as Markdown, in which nothing of a text is markup, and tables in plain text."""

from collections.abc import Collection, Iterable, Sequence
from re import findall, sub
from textwrap import wrap


def plain(text: str) -> str:
    """A name or prompt as Markdown in one line, so that nothing in it is markup."""
    return sub(r"([\\`*_{}\[\]<>#|~!&$])", r"\\\1", " ".join(text.split()))


def text_block(text: str) -> str:
    """A text as a Markdown code block, so that nothing in it is markup; in lines of 72 characters.

    Code does not wrap in the UI: a longer line pushes the panel beside the description out of the window.
    """
    lines = [part for line in text.splitlines() for part in wrap(line, 72) or [""]]
    fence = "`" * max(3, 1 + max(map(len, findall("`+", text)), default=0))
    return "\n".join([fence, *lines, fence])


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, whose cells are Markdown too."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def text_table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """A table in plain text: columns as wide as they need, at the right but for those with a number in ``left``."""
    lines = [heads, *rows] if heads else list(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number in left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in lines
    )
