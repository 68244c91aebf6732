"""Pages of the report that are rendered once for many tests, and HTML as its tags, texts and rows."""

from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

from pipeline.report.checks import Check
from pipeline.report.corrections import Correction
from pipeline.report.explanations import Explanation
from pipeline.report.page.page import Pages, pages
from pipeline.report.reproduction import RecordedTraining, Reproduction
from pipeline.report.statements.bounds import names
from pipeline.report.statements.table import report_statements
from pipeline.report.statements.verdicts import WORDS, Verdict
from tests.report.reproductions import reproduction

VERDICTS = [
    Verdict(statement, WORDS[number % 5], f"because of number {number}", part="one of two")
    for number, statement in enumerate(report_statements())
]

CORRECTIONS = [Correction(n, f"error {n}", f"said {n}", f"found {n}", f"instead {n}") for n in range(1, 14)]

EXPLANATIONS = [Explanation("Why eight layers did not train", "They know letter frequencies & nothing else.")]

CHECKS = [
    Check("1", True, "the RNN has 20,224 parameters", "rnn-torch-1x128"),
    Check("2", None, "the GRU has another's: a known error", "gru-torch-1x128"),
    Check("3", True, "training is in its band", "gru-torch-2x32", "train", (5, 10, 100), 100),
    Check("4", False, "validation is outside of it", "gru-torch-2x32", "val", (5, 10, 100), 100),
    Check("5", None, "d2l has none of it", "gru-scratch-1x1024", "val", (), 50),
]

SENSITIVITY = dict.fromkeys(names(), (3, 4))

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


@cache
def full() -> Pages:
    return pages(reproduction(), VERDICTS, CORRECTIONS, EXPLANATIONS, CHECKS, SENSITIVITY)


@cache
def page() -> Page:
    return Page(full().html)


def of_few(*ids: str, **changes) -> Reproduction:
    """A reproduction of these configurations alone."""
    found = reproduction(**changes)
    return replace(found, configurations=tuple(found[id] for id in ids))


def cut(run: RecordedTraining, epochs: int) -> RecordedTraining:
    """The training as it was after so many epochs."""
    curves = {name: getattr(run, name)[:epochs] for name in ("train", "val", "train_pooled", "val_pooled")}
    return replace(run, status="KILLED", texts=(), test_perplexity=None, **curves)


def with_runs(found: Reproduction, id: str, runs: tuple[RecordedTraining, ...]) -> Reproduction:
    changed = [replace(each, runs=runs) if each.id == id else each for each in found.configurations]
    return replace(found, configurations=tuple(changed))
