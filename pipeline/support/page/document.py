"""A page as plain data: blocks of text, tables and charts, which templates render as HTML and as Markdown.

page.html.jinja and page.md.jinja have one branch for each class of block. All text is escaped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

NOTHING = "\N{EN DASH}"


class Part:
    """A part of a text or a block of a page."""

    @property
    def kind(self) -> str:
        """Which branch of the templates renders it."""
        return type(self).__name__


@dataclass(frozen=True)
class Link(Part):
    """A text that leads to an address; in Markdown, one that leads within the page is text only."""

    text: str
    href: str
    style: str = ""


@dataclass(frozen=True)
class Code(Part):
    """A text in a fixed-width font; ``is_sample``: what a model writes, with its spaces kept."""

    text: str
    style: str = ""
    is_sample: bool = False


@dataclass(frozen=True)
class Chip(Part):
    """A word in a frame, or in another style."""

    text: str
    style: str = "chip"


@dataclass(frozen=True)
class Meter(Part):
    """A share of 1 as a bar, in HTML only."""

    share: float


Inline = str | Link | Code | Chip | Meter
Text = Inline | Sequence[Inline]  # a sequence is written without spaces in between


# --- blocks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Heading(Part):
    text: str
    anchor: str = ""


@dataclass(frozen=True)
class Paragraph(Part):
    text: Text
    style: str = ""


@dataclass(frozen=True)
class Points(Part):
    """Terms with what there is to say of each."""

    items: Sequence[tuple[str | Link, Text]]
    style: str = "points"


@dataclass(frozen=True)
class Bullets(Part):
    items: Sequence[Text]


@dataclass(frozen=True)
class Groups(Part):
    """Short lists under titles."""

    items: Sequence[tuple[str, Sequence[Text]]]


@dataclass(frozen=True)
class Commands(Part):
    lines: Sequence[str]


@dataclass(frozen=True)
class Cell:
    """A table cell with smaller notes below its text; ``rows`` = 0 marks a place covered by the cell above."""

    text: Text = NOTHING
    notes: Sequence[Text] = ()
    style: str = ""
    rows: int = 1


@dataclass(frozen=True)
class Table(Part):
    """Column heads, and rows whose first cell is the row's head; ``groups`` are titles over so many columns.

    ``anchors`` are the ids of the rows, if they have any.
    """

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    groups: Sequence[tuple[str, int]] = ()
    style: str = "numbers"
    anchors: Sequence[str] = ()


@dataclass(frozen=True)
class Drawing:
    """SVG elements in a box of ``width`` x ``height`` user units."""

    width: float
    height: float
    elements: str

    def inline(self, labelled_by: str, style: str = "", role: str = "img", data: str = "") -> str:
        """The SVG element for a page, labelled by the element of this id."""
        box = f'viewBox="0 0 {self.width:g} {self.height:g}"'
        label = f'role="{role}" aria-labelledby="{labelled_by}"'
        return f'<svg class="chart {style}" {box} {label} {data}>{self.elements}</svg>'


@dataclass(frozen=True)
class Figure(Part):
    """A chart with its caption; ``file`` is the picture in its place in Markdown, and ``alt`` what it shows."""

    drawing: Drawing
    caption: Text
    anchor: str
    file: str = ""
    alt: str = ""


@dataclass(frozen=True)
class Panels(Part):
    """Small charts of one kind beside each other, in Markdown one picture."""

    figures: Sequence[Figure]
    file: str
    alt: str


@dataclass(frozen=True)
class Explorer(Part):
    """Two charts as SVG, a choice of curves (name, whether it is shown at first), and data for the script; HTML only.

    ``front`` may be "".
    """

    anchor: str
    front: str
    curves: str
    choices: Sequence[tuple[str, bool]]
    caption: str
    data: str


@dataclass(frozen=True)
class Fold(Part):
    """Blocks under a title that a click unfolds; ``summary`` stands beside the title, in HTML only."""

    title: str
    blocks: Sequence[Part]
    anchor: str = ""
    summary: Sequence[Chip] = ()
    style: str = "kind"


@dataclass(frozen=True)
class Section:
    anchor: str
    title: str
    blocks: Sequence[Part]
    is_open: bool = True


@dataclass(frozen=True)
class Page:
    """A title, an introduction, a chart beside it, and sections; one without blocks is left out."""

    title: str
    lead: Sequence[Part]
    sections: Sequence[Section]
    chart: Part | None = None
