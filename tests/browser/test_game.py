"""The game of a page: its figures, and how it is played by keyboard and by touch."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.browser.conftest import Lab, Opened, Visit
from tests.browser.test_live_page import Live

pytestmark = pytest.mark.browser

# the guesses of the counting model, for each letter of the passage that is being played, until it is right
AS_COUNTING = """() => {
  const page = JSON.parse(document.getElementById("models").textContent), V = page.symbols.length;
  const passage = page.passages[Math.floor(Date.now() / 864e5) % page.passages.length];
  const ids = Array.from(passage, symbol => page.symbols.indexOf(symbol)), model = countingModel(page.counting, V);
  let state = model.start();
  return ids.slice(0, -1).map((id, place) => {
    const { logProbabilities, state: next } = model.step(state, id);
    state = next;
    const order = [...logProbabilities.keys()].filter(other => page.symbols[other] !== "<unk>");
    order.sort((one, other) => logProbabilities[other] - logProbabilities[one] || one - other);
    return order.slice(0, order.indexOf(ids[place + 1]) + 1).map(other => page.symbols[other]);
  }).slice(59);
}"""


class Game(Live):
    """An open game by what its elements are for."""

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened.page)
        self.opening = self.written()
        self.button("Guess the next letter").press("Enter")
        self.field = self.live.get_by_label("Type or tap the next letter")
        self.line = self.live.get_by_label("A line to paste")
        self.guesses: list[list[str]] = self.page.evaluate(AS_COUNTING)

    def text_of(self, name: str) -> str:
        return str(self.page.locator(f".game .{name}").inner_text())

    def rows(self) -> dict[str, list[str]]:
        rows = [row.locator("th, td").all_inner_texts() for row in self.page.locator(".game tbody tr").all()]
        return {name: cells for name, *cells in rows}


@pytest.fixture
def game(lab: Lab, visit: Visit) -> Game:
    return Game(visit((lab.exports / "training" / "index.html").as_uri()))


def test_the_bounds_are_shannons_and_the_lower_one_never_exceeds_the_upper_one(evaluate):
    by_hand = evaluate("bounds", [1, 1, 2, 3])
    assert (round(by_hand["lower"], 3), by_hand["upper"]) == (1.189, 1.5)
    assert by_hand["corrected"] == pytest.approx(1.5 + 2 / (8 * np.log(2)))
    generator = np.random.default_rng(0)
    needs = [generator.integers(1, generator.integers(2, 100), generator.integers(1, 121)).tolist() for _ in range(500)]
    for each in evaluate("needs => needs.map(bounds)", needs):
        assert -1e-9 <= each["lower"] <= each["upper"] + 1e-9


@pytest.mark.parametrize("letters", [60, 120])
@pytest.mark.parametrize("first", [0.75, 0.6, 0.45])
def test_the_interval_covers_the_upper_bound(evaluate, letters, first):
    shares = np.append(first, (1 - first) * (tail := 1 / np.arange(2, 28) ** 1.5) / tail.sum())
    needs = np.random.default_rng(0).choice(np.arange(1, 28), (400, letters), p=shares).tolist()
    intervals = np.array(evaluate("needs => needs.map((own, i) => interval(own, 27, generator(i), 500))", needs))
    entropy = -(shares * np.log2(shares)).sum()
    assert np.mean((intervals[:, 0] <= entropy) & (entropy <= intervals[:, 1])) >= 0.85


def test_a_model_guesses_by_its_probabilities_then_by_id_and_never_the_unknown_symbol(evaluate):
    logs = [-3, -1, -2, -2, -2]
    assert [evaluate("([logs, id]) => rank(logs, id, 1)", [logs, id]) for id in (0, 2, 3, 4)] == [4, 1, 2, 3]


@pytest.mark.ci
def test_who_guesses_as_counting_does_gets_its_figures_and_goes_on_to_120_letters(game: Game):
    assert game.field.evaluate("field => field === document.activeElement")
    assert len(game.text_of("passage")) == 61
    for goal in (60, 120):
        for guesses in game.guesses[goal - 60 : goal]:
            game.page.keyboard.type("".join(guesses))
        rows = game.rows()
        assert rows["you"][:3] == rows["n-grams on this page"][:3]
        needs = [len(guesses) for guesses in game.guesses[:goal]]
        assert rows["you"][0] == f"{np.mean(needs):.2f}"
        marks = "".join("▁▂▄▆▆▆▆▆▆█"[min(need, 10) - 1] for need in needs)
        assert re.search(rf"guesses per letter in {goal}: you {rows['you'][0]}, .* {marks}$", game.line.input_value())
        if goal == 60:
            game.button("Go on").press("Enter")
    assert not game.button("Go on").is_visible()
    game.page.keyboard.press("Escape")
    assert game.written() == game.opening
    assert game.text.is_visible()
    game.button("Guess the next letter").click()
    game.button("Show it").click()
    game.button("Stop").click()
    assert re.search(r"from memory: guesses per letter in 1: you 1 letter shown: .* ·$", game.line.input_value())


def test_letters_that_were_shown_leave_the_figures_of_the_player_undefined(game: Game):
    for _ in range(12):
        for letter in "etaoi":  # blind guesses, which would count as few
            game.field.press_sequentially(letter)
        game.button("Show it").click()
    game.button("Stop").click()
    rows = game.rows()
    assert len(rows["you"]) == 1
    assert not re.search(r"\d\.\d", rows["you"][0])
    assert [len(rows[name]) for name in ("n-grams on this page", "network", "both")] == [4, 4, 4]


def test_a_guess_before_and_a_symbol_of_no_alphabet_are_announced_and_do_not_count(game: Game):
    right = game.guesses[0][-1]
    wrong = "q" if right != "q" else "z"
    game.field.press_sequentially(wrong)
    assert game.text_of("heard") == f"Not “{wrong}”. Tried: {wrong}"
    game.page.keyboard.insert_text(f"{wrong.upper()}7")
    assert game.text_of("heard") == (
        f"2 characters, each a guess. You tried “{wrong}” before: it does not count. "
        "“7” is no symbol of this text: it does not count."
    )
    before = game.text_of("passage")
    game.page.keyboard.type(right)
    assert re.match(r"1 of 60, “.*”: you 2, n-grams on this page \d+, network \d+, both \d+\.", game.text_of("heard"))
    assert game.text_of("passage") == before[:-1] + right + "?"
    assert not game.page.locator(".bars, .next, [data-kind], .shade").locator("visible=true").count()


def test_another_network_begins_the_passage_anew(lab: Lab, visit: Visit):
    game = Game(visit((lab.exports / "trainings" / "index.html").as_uri()))
    game.button("Show it").click()
    assert len(game.text_of("passage")) == 62
    game.page.get_by_role("slider", name="Which network?").focus()
    game.page.keyboard.press("ArrowLeft")
    game.page.keyboard.press("ArrowRight")
    assert len(game.text_of("passage")) == 61


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_by_touch_tiles_come_before_the_keyboard_and_axe_finds_nothing(lab: Lab, visit: Visit, colours):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="`make browser` installs it").Axe()
    game = Game(visit((lab.exports / "training" / "index.html").as_uri(), 390, colours, by_touch=True))
    assert not game.field.evaluate("field => field === document.activeElement")
    tiles = game.page.locator(".tiles button")
    assert tiles.all_inner_texts() == ["␣", *"abcdefghijklmnopqrstuvwxyz"]
    assert axe.run(game.page).response["violations"] == []
    for guesses in game.guesses[:60]:
        tiles.nth(" abcdefghijklmnopqrstuvwxyz".index(guesses[-1])).tap()
    assert axe.run(game.page).response["violations"] == []
    assert game.rows()["you"][0] == "1.00"
    assert game.page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_passage_that_looks_like_markup_is_text(lab: Lab, visit: Visit, tmp_path: Path):
    page = (lab.exports / "training" / "index.html").read_text()
    (found,) = re.findall(r'id="models">(.*?)</script>', page, re.DOTALL)
    models = json.loads(found)
    swapped = str.maketrans("abc", "<>&")
    symbols = [symbol if symbol == "<unk>" else symbol.translate(swapped) for symbol in models["symbols"]]
    hostile = {"alphabet": "raw", "symbols": symbols, "passages": ["<i>&lt " * 30]}
    (tmp_path / "page.html").write_text(page.replace(found, json.dumps(models | hostile).replace("<", "\\u003c")))
    game = Game(visit((tmp_path / "page.html").as_uri()))
    for _ in range(60):
        game.button("Show it").click()
    assert game.text_of("passage") == ("<i>&lt " * 30)[:120]
    assert game.page.locator(".game i").count() == 0
    assert game.rows()["you"] == ["60 letters shown: no figure"]
