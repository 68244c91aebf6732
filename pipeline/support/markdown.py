"""Markdown text and tables with user text escaped, and plain-text tables."""

from collections.abc import Collection, Iterable, Sequence
from re import findall, sub
from textwrap import wrap

import wcwidth


def plain(text: str) -> str:
    """Escape a text, such as a name or a prompt, as one line of Markdown."""
    return sub(r"([\\`*_{}\[\]<>#|~!&$])", r"\\\1", " ".join(text.split()))


def text_block(text: str) -> str:
    """A text as a Markdown code block, wrapped at 72 characters.

    MLflow's UI does not wrap code: a longer line would push the panel beside the description out of the window.
    """
    lines = [part for line in text.splitlines() for part in wrap(line, 72) or [""]]
    fence = "`" * max(3, 1 + max(map(len, findall("`+", text)), default=0))
    return "\n".join([fence, *lines, fence])


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; cells are not escaped."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, ["---"] * len(heads), *rows))


def text_table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """A plain-text table; columns are right-aligned except those whose index is in ``left``."""
    lines = [heads, *rows] if heads else list(rows)
    widths = [max(map(wcwidth.width, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            wcwidth.ljust(cell, width) if number in left else wcwidth.rjust(cell, width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in lines
    )
