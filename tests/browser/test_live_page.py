"""The model that runs in an exported page, as a person uses it: it writes, reads, and changes with a study's slider."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Lab, Visit
from tests.data import unpacked

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

COLOURS = "[...document.querySelectorAll('#live .shade span')].map(letter => getComputedStyle(letter).background)"


class Live:
    """The page's elements by what they are for."""

    def __init__(self, page: "Page") -> None:
        self.page = page
        self.live = page.locator("#live")
        self.text = self.live.get_by_role("textbox", name="Text for the model")
        self.idle()

    def idle(self) -> None:
        """Wait until everything is read and written."""
        self.page.locator("#live[aria-busy=false]").wait_for()

    def button(self, name: str) -> "Locator":
        return self.live.get_by_role("button", name=name)

    def written(self) -> str:
        """The text once it is complete."""
        self.idle()
        return str(self.text.input_value())

    def bits(self, kind: str) -> float:
        """The bits per character that are shown, once they are known."""
        self.idle()
        return float(self.live.locator(f"[data-kind={kind}]").inner_text())

    def colours(self) -> list[str]:
        self.idle()
        return list(self.page.evaluate(COLOURS))


@pytest.fixture
def training(lab: Lab, visit: Visit) -> Live:
    return Live(visit((lab.exports / "training" / "index.html").as_uri()).page)


@pytest.fixture
def study(lab: Lab, visit: Visit) -> Live:
    return Live(visit((lab.exports / "study" / "index.html").as_uri()).page)


def test_a_seed_writes_its_own_text_and_writing_goes_on_where_it_was_stopped(training: Live):
    opening = training.written()
    training.button("Write").click()
    first = training.written()
    assert len(first) > len(opening)
    assert first.startswith(opening)
    training.live.get_by_text("A network finds its own text easy").wait_for()
    training.button("Another").click()
    training.button("Stop").click()
    begun = training.written()
    training.button("Write").click()
    training.page.wait_for_timeout(200)
    training.button("Stop").click()
    other = training.written()
    assert len(other) > len(begun)
    assert other.startswith(begun)
    assert not first.startswith(other)
    training.live.get_by_label("seed").fill("0")
    training.text.focus()
    training.page.wait_for_timeout(500)
    training.text.press("Escape")
    again = training.written()
    assert len(again) > len(opening)
    assert first.startswith(again)


@pytest.mark.ci
def test_a_typed_text_is_coloured_by_the_chosen_kind_and_the_cursor_tells_a_letters_bits(training: Live):
    training.button("Clear").click()
    training.page.keyboard.type("Hello, World")
    assert training.bits("network") != training.bits("counting")
    network = training.colours()
    assert len(network) == len("Hello, World")
    training.live.get_by_role("radio", name=re.compile("^network")).press("ArrowRight")
    training.live.get_by_role("radio", name="n-grams on this page", checked=True).wait_for()
    assert training.colours() != network
    training.text.press("Home")
    training.text.press("ArrowRight")
    training.live.get_by_text("“H” is the first letter").first.wait_for()
    training.text.press("ArrowRight")
    training.live.get_by_role("status").filter(has_text="“e” cost network").wait_for(state="attached")
    assert len(training.live.locator(".bars div").all()) == 27


def test_a_change_within_a_text_reads_it_as_if_it_had_been_typed_so(training: Live):
    training.text.fill("a small change within")
    whole = (training.colours(), training.bits("network"))
    training.text.fill("a change within")
    for _ in "change within":
        training.text.press("ArrowLeft")
    training.page.keyboard.type("small ")
    assert (training.colours(), training.bits("network")) == whole


def test_the_slider_of_a_study_changes_the_text_its_bits_and_the_cost(study: Live):
    def seen() -> tuple[str, float, str]:
        text = study.written()
        return text, study.bits("network"), study.live.locator(".facts").inner_text()

    assert study.live.locator("[data-kind=network]").inner_text() == "\N{EN DASH}", "a prompt of a text of one's own"
    study.button("Write").click()
    best = seen()
    slider = study.live.get_by_role("slider", name="Which network?")
    slider.press("Home")
    study.live.get_by_text("@lean").locator("visible=true").first.wait_for()
    smallest = seen()
    assert all(one != other for one, other in zip(best, smallest, strict=True))
    slider.press("End")
    study.page.wait_for_timeout(100)
    assert seen() == best


def test_the_slider_of_several_trainings_opens_with_the_best_of_them(lab: Lab, visit: Visit):
    live = Live(visit((lab.exports / "trainings" / "index.html").as_uri()).page).live
    assert sorted(live.locator(".stops span").all_inner_texts()) == ["LSTM 1x8, seed 0", "LSTM 1x8, seed 1"]
    rows = [row.locator("td").all_inner_texts() for row in live.page.locator("#trainings tbody tr").all()]
    seed = min(rows, key=lambda row: float(row[1]))[0]
    assert (
        live.locator(".facts b").first.inner_text() == live.locator(".chosen").inner_text() == f"LSTM 1x8, seed {seed}"
    )


def test_who_knew_it_has_the_bits_of_the_other_views_and_the_letters_that_each_side_was_ahead_on(training: Live):
    def value(figure: str) -> float:
        return float(training.live.locator(f"[data-{figure}]").get_attribute("value") or "nan")

    text = "a text that both of them read"
    training.text.fill(text)
    network, likely = training.colours(), training.live.locator(".next").inner_text()
    training.live.get_by_role("radio", name="who knew it").check()
    assert training.colours() != network
    for side in ("network", "counting"):
        assert value(f"sum={side}") == pytest.approx(value(f"kind={side}") * (len(text) - 1), abs=1e-6)
        assert value(f"letters={side}") == training.live.locator(f".shade [data-ahead={side}]").count() > 0
    assert training.live.locator(".next").inner_text() == likely
    two = r"n-grams on this page \(orders 1 to \d, pruned\), [\d,]+ of [\d,]+: [\d.]+; of .* orders 1 to 10: [\d.]+"
    training.live.get_by_text(re.compile(two)).wait_for()
    training.text.press("End")
    said = re.compile(
        r"“d” cost network [\d.]+, n-grams .* bits; the n-grams on this page had a context of \d characters?\."
    )
    training.live.get_by_role("status").filter(has_text=said).wait_for(state="attached")
    training.page.set_viewport_size({"width": 390, "height": 800})
    assert training.page.evaluate("document.documentElement.scrollWidth") == 390


@pytest.mark.parametrize("width", [1400, 390])
def test_the_sums_of_who_knew_it_stand_side_by_side_below_its_name_in_a_wide_font(lab: Lab, visit: Visit, width):
    page = Live(visit((lab.exports / "training" / "index.html").as_uri(), width).page).page
    page.add_style_tag(content="* { font-family: 'DejaVu Sans', Verdana, sans-serif !important; }")
    name, network, counting = (
        page.locator(f"#live .kinds .difference > span >> nth={at}").bounding_box() for at in range(3)
    )
    assert name
    assert network
    assert counting
    assert name["y"] + name["height"] <= network["y"] == counting["y"]
    assert network["x"] == name["x"]
    assert network["x"] + network["width"] <= counting["x"]
    sums = [page.locator(f"[data-sum={side}]").bounding_box() for side in ("network", "counting")]
    assert sums[0]
    assert sums[1]
    assert sums[0]["y"] == sums[1]["y"]


def test_a_page_without_ngrams_has_the_view_of_the_network_alone(study: Live):
    study.live.get_by_text("N-grams, networks on top of them, and passages").wait_for()
    assert study.live.get_by_role("radio").count() == 1
    assert study.button("Guess the next letter").count() == 0


@pytest.mark.parametrize("what", ["training", "trainings", "study"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing(lab: Lab, visit: Visit, what, colours):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="`make browser` installs it").Axe()
    opened = visit((lab.exports / what / "index.html").as_uri(), colours=colours)
    for kind in Live(opened.page).live.get_by_role("radio").all():
        kind.check()
        found = axe.run(opened.page).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    assert opened.errors == []


def test_a_page_of_before_still_opens(visit: Visit, tmp_path: Path):
    opened = visit((unpacked(tmp_path) / "index.html").as_uri())
    assert Live(opened.page).written()
    assert opened.errors == []


def test_a_character_in_no_alphabet_is_said_to_be_read_as_a_space(training: Live):
    training.text.fill("naïve")
    training.live.get_by_text("“ï” and all else as a space").wait_for()


@pytest.mark.parametrize("damage", [('{"symbols"', '"symbols"'), ('"data": "', '"data": "~')])
def test_a_damaged_page_says_so(lab: Lab, visit: Visit, tmp_path: Path, damage: tuple[str, str]):
    page = (lab.exports / "training" / "index.html").read_text()
    (tmp_path / "damaged.html").write_text(page.replace(*damage))
    visit((tmp_path / "damaged.html").as_uri()).page.get_by_role("alert").get_by_text("is damaged").wait_for()
