"""The pages that are shared as files: those of `tmlm export`, and that of the report."""

from pathlib import Path

import pytest

from tests.browser.conftest import Lab, Visit
from tests.checkout import ROOT

pytestmark = pytest.mark.browser

PAGES = ("training", "study", "report")


@pytest.fixture(params=PAGES)
def page_file(request: pytest.FixtureRequest) -> Path:
    """A page's file."""
    if request.param == "report":
        return ROOT / "docs" / "report" / "report.html"
    lab: Lab = request.getfixturevalue("lab")
    return lab.exports / str(request.param) / "index.html"


@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_page_fits_its_window_reports_no_error_and_requests_nothing(page_file, visit: Visit, width, colours):
    opened = visit(page_file.as_uri(), width, colours)
    opened.page.wait_for_load_state("load")
    opened.unfold()
    assert opened.excess_width == 0
    assert opened.errors == []
    assert opened.requested == [page_file.as_uri()]


@pytest.mark.parametrize(("colours", "is_dark"), [("light", False), ("dark", True)])
def test_a_page_is_dark_where_the_reader_wants_it(page_file, visit: Visit, colours, is_dark):
    opened = visit(page_file.as_uri(), colours=colours)
    red, green, blue = opened.page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)"
    )
    assert (red + green + blue < 3 * 128) == is_dark


@pytest.mark.ci
def test_pointing_at_the_curves_shows_the_figures_of_an_epoch(page_file, visit: Visit):
    opened = visit(page_file.as_uri())
    opened.unfold()
    readout = opened.page.locator(".explorer .readout").first
    assert "Point at" in readout.inner_text()
    opened.page.locator(".explorer svg.curves").first.hover()
    assert "; epoch" in readout.inner_text()
    assert opened.errors == []
