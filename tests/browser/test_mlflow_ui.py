"""What the links that commands print, and those of `tmlm ui`, show in MLflow's UI."""

import re

import pytest

from pipeline.tracking.store import setup
from tests.browser.conftest import Lab, Opened, Visit
from tests.cli.commands import run

pytestmark = pytest.mark.browser

SECTION = "experiment-view-compare-runs-section-header"

FRONT = "size/log10_macs_per_char vs. result/val_perplexity"

VIEWS = {  # opened by -> name of the view, runs, sections of charts, and a text in a chart
    "models": ("Models of topics", 2, ["Quality and cost", "Shapes", "Training"], FRONT),
    "shapes": ("Study shapes on topics", 3, ["Front", "Shapes", "Curves"], FRONT),
}


def sections(opened: Opened) -> list[str]:
    """The titles of the sections of charts, from the top."""
    headers = opened.page.get_by_test_id(SECTION)
    headers.first.wait_for()
    return [re.sub(r"\s*\(\d+\).*", "", text, flags=re.DOTALL).strip() for text in headers.all_inner_texts()]


def link_to(what: str) -> str:
    """The address that ``tmlm ui`` opens."""
    code, _, messages = run("ui", what, "--no-open")
    (link,) = re.findall(r"http\S+", messages)
    assert code == 0
    return str(link)


@pytest.mark.parametrize("command", ["pipeline", "train"])
def test_the_link_of_a_training_opens_its_curves_above_its_constants(lab: Lab, visit: Visit, command):
    opened = visit(lab.link(command, "curves"))
    titles = sections(opened)
    assert titles[0] == "perplexity"
    assert titles.index("result") < titles.index("size") < titles.index("speed")
    opened.wait_for("train", "val", "Step")
    assert opened.errors == []


def test_a_run_begins_with_the_verdict_and_what_the_model_writes_and_models_say_what_an_alias_names(lab, visit: Visit):
    (run_id,) = re.findall(r"/runs/(\w+)/", lab.link("train", "curves"))
    opened = visit(f"{lab.address}/#/experiments/{setup().experiment_id}/runs/{run_id}")
    opened.wait_for("has on test")
    text = opened.page.inner_text("body")
    parts = ("Description", "has on test", "writes", "test bits per character", "The network is", "Metrics (")
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    models = visit(f"{lab.address}/#/models/time-machine-lm")
    models.wait_for("An alias begins with the name of its study", "@shapes-best", "Version 1")
    assert opened.errors + models.errors == []


def test_a_runs_first_line_opens_its_page_which_runs_the_model_in_mlflows_sandbox(lab: Lab, visit: Visit):
    (run_id,) = re.findall(r"/runs/(\w+)/", lab.link("pipeline", "curves"))
    opened = visit(f"{lab.address}/#/experiments/{setup().experiment_id}/runs/{run_id}")
    with opened.page.context.expect_page() as window:
        opened.page.get_by_role("link", name="Let it read your text").click()
    inside = window.value.frame_locator("iframe#html")
    inside.get_by_label("Text for the model to read").fill("the time")
    inside.get_by_text(re.compile(r"Next letter: .*%")).wait_for()


@pytest.mark.ci
def test_the_link_of_a_search_opens_the_view_of_its_trials(lab: Lab, visit: Visit):
    assert lab.link("search", "front") in link_to("shapes")


@pytest.mark.parametrize("what", VIEWS)
def test_a_view_has_its_runs_sections_and_charts(lab: Lab, visit: Visit, what):
    name, runs, titles, chart = VIEWS[what]
    opened = visit(link_to(what))
    opened.wait_for(name, f"{runs} matching runs", chart)
    assert sections(opened) == titles
    assert opened.errors == []
