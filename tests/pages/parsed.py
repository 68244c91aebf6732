"""HTML as its tags, its texts by section, and the rows of its tables."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """An HTML page as its tags, its text by section, and the rows of its tables; it fails on a tag left open."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.section, self.texts = "", {"": ""}
        self.rows: list[tuple[str, list[str]]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "details" and dict(attrs).get("class") == "section":
            self.section = dict(attrs)["id"] or ""
            self.texts[self.section] = ""
        if tag == "tr":
            self.rows.append((self.section, []))
        if tag in ("td", "th"):
            self.rows[-1][1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open or "script" in self.open:
            return
        self.texts[self.section] += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][1][-1] += f" {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def row(self, section: str, head: str, number: int = 0) -> list[str]:
        """The cells of a row, the first row of its name or a later one."""
        return [cells for where, cells in self.rows if where == section and cells[0].strip().startswith(head)][number]
