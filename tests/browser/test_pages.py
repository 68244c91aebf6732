"""The pages that are shared as files, as a person sees them: those of `tmlm export`, and that of the report."""

from pathlib import Path

import pytest

from tests.browser.conftest import Lab, Visit
from tests.report.page.pages import full

pytestmark = pytest.mark.browser

# texts of charts that are shown and cover another one, or leave their chart, by more than a pixel or two
COLLISIONS = """() => [...document.querySelectorAll("svg.chart")].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  const shown = [...svg.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()])
    .filter(([words, box]) => words && box.width);
  const common = (one, other) => Math.min(
    Math.min(one.right, other.right) - Math.max(one.left, other.left),
    (Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top)) / 3);
  const outside = shown.filter(([, box]) => Math.max(frame.left - box.left, box.right - frame.right) > 1);
  const over = shown.filter(([, box], place) => shown.slice(place + 1).some(([, other]) => common(box, other) > 1));
  return [...outside, ...over].map(([words]) => words);
})"""


UNFOLD = "document.querySelectorAll('details').forEach(section => { section.open = true })"


@pytest.fixture(params=["training", "trainings", "study", "report"])
def page_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A page's file."""
    if request.param == "report":
        (tmp_path / "report.html").write_text(full()["report.html"])
        return tmp_path / "report.html"
    lab: Lab = request.getfixturevalue("lab")
    return lab.exports / str(request.param) / "index.html"


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_page_fits_its_window_in_the_readers_colours_and_requests_nothing(page_file, visit: Visit, width, colours):
    opened = visit(page_file.as_uri(), width, colours)
    opened.page.wait_for_load_state("load")
    opened.page.evaluate(UNFOLD)
    wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert opened.page.evaluate(wide) == 0
    assert opened.page.evaluate(COLLISIONS) == []
    for box in opened.page.locator(".explorer input").all()[::2]:
        box.click()
    assert opened.page.evaluate(COLLISIONS) == []
    rgb = opened.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
    assert (sum(rgb[:3]) < 3 * 128) == (colours == "dark")
    assert opened.errors == []
    assert opened.requested == [page_file.as_uri()]


def test_a_head_sorts_its_table_by_value_and_what_has_none_comes_last(lab: Lab, visit: Visit):
    page = visit((lab.exports / "study" / "index.html").as_uri()).page
    table = page.locator("#trainings table")
    table.locator("tbody tr").first.evaluate("row => { row.cells[4].textContent = '' }")
    table.locator("tbody tr").last.evaluate("row => { row.cells[4].textContent = '1,000,000' }")
    for head, column in (("trial", 2), ("test", 4)):
        button = table.get_by_role("button", name=head)
        for direction in ("ascending", "descending"):
            button.press("Enter")
            assert table.locator("[aria-sort]").evaluate_all("heads => heads.map(head => head.ariaSort)") == [direction]
            cells = table.locator("tbody tr").evaluate_all(f"rows => rows.map(row => row.cells[{column}].textContent)")
            values = [float(cell.replace(",", "")) for cell in cells if cell]
            assert values == sorted(values, reverse=direction == "descending")
            assert "" not in cells[:2]


def test_pointing_at_the_curves_shows_the_figures_of_an_epoch(page_file, visit: Visit):
    opened = visit(page_file.as_uri())
    opened.page.evaluate(UNFOLD)
    readout = opened.page.locator(".explorer .readout").first
    assert "Point at" in readout.inner_text()
    assert readout.evaluate("box => getComputedStyle(box).position") == "static", "it would cover the charts' axes"
    opened.page.locator(".explorer svg.curves").first.hover()
    assert "; epoch" in readout.inner_text()
    assert opened.errors == []
