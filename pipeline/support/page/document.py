"""A page as plain data: blocks of text, tables and charts. page.html.jinja and page.md.jinja have a branch for each.

All text is escaped there. Import the module as a whole: ``doc.Table``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Union

NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Span:
    """A part of a text with a style: a CSS class, "code", or "sample" for what a model writes, with its spaces kept.

    ``href`` is the address that it leads to; in Markdown, one within the page is left out.
    """

    text: str
    style: str = ""
    href: str = ""


Text = str | Span | Sequence[str | Span]  # a sequence is written without spaces in between


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Paragraph:
    text: Text
    style: str = ""


@dataclass(frozen=True)
class Points:
    """Terms with what there is to say of each."""

    items: Sequence[tuple[str | Span, Text]]


@dataclass(frozen=True)
class Bullets:
    items: Sequence[Text]


@dataclass(frozen=True)
class Commands:
    lines: Sequence[str]


@dataclass(frozen=True)
class TableCell:
    """A table cell with smaller notes below its text."""

    text: Text = NOTHING
    notes: Sequence[Text] = ()
    style: str = ""


@dataclass(frozen=True)
class Table:
    """Column heads, and rows whose first cell is the row's head; ``groups`` are titles over so many columns.

    A cell that is only a text may be given as a string. ``anchors`` are the ids of the rows, if they have any.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[TableCell | str]]
    groups: Sequence[tuple[str, int]] = ()
    style: str = "numbers"
    anchors: Sequence[str] = ()


@dataclass(frozen=True)
class Drawing:
    """SVG elements in a box of ``width`` x ``height`` user units; in Markdown the picture ``file``, with ``alt``."""

    width: float
    height: float
    elements: str
    anchor: str = ""
    caption: Text = ""
    file: str = ""
    alt: str = ""

    def inline(self, labelled_by: str, style: str = "", role: str = "img", data: str = "") -> str:
        """The SVG element for a page, labelled by the element of this id."""
        box = f'viewBox="0 0 {self.width:g} {self.height:g}"'
        label = f'role="{role}" aria-labelledby="{labelled_by}"'
        return f'<svg class="chart {style}" {box} {label} {data}>{self.elements}</svg>'


@dataclass(frozen=True)
class Explorer:
    """Two charts as SVG, a choice of curves (name -> whether it is shown at first) and the script's data; HTML only."""

    anchor: str
    front: str  # "" for one without
    curves: str
    choices: Mapping[str, bool]
    caption: str
    data: str


@dataclass(frozen=True)
class Markup:
    """Elements as they are, which a script of the page brings to life; HTML only."""

    html: str


@dataclass(frozen=True)
class Section:
    """Blocks under a title that a click unfolds, left out if there are none; ``summary`` stands beside the title."""

    title: str
    blocks: Sequence["Block"]
    anchor: str = ""
    is_open: bool = True
    summary: Sequence[Span] = ()


Block = Union[Heading, Paragraph, Points, Bullets, Commands, Table, Drawing, Explorer, Markup, Section]  # noqa: UP007


@dataclass(frozen=True)
class Page:
    """A title, an introduction, a chart beside it, and sections; ``scripts`` run after the page's own."""

    title: str
    lead: Sequence[Block]
    sections: Sequence[Section]
    chart: Drawing | None = None
    scripts: Sequence[str] = ()
