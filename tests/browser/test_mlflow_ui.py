"""What the links that commands print open in MLflow's UI."""

import re

import pytest

from tests.browser.conftest import Lab, Visit, said
from tests.browser.opened import Opened

pytestmark = pytest.mark.browser

SECTION = "experiment-view-compare-runs-section-header"


def sections(opened: Opened) -> list[str]:
    """The titles of the sections of charts, from the top."""
    opened.page.get_by_test_id(SECTION).first.wait_for()
    texts = opened.page.get_by_test_id(SECTION).all_inner_texts()
    return [re.sub(r"\s*\(\d+\).*", "", text, flags=re.DOTALL).strip() for text in texts]


def opened_by(command: str) -> str:
    """The address that ``tmlm ui --open`` opens."""
    (link,) = re.findall(r"http\S+", said("ui", "--open", command))
    return str(link)


@pytest.mark.parametrize("command", ["pipeline", "train"])
def test_a_training_opens_at_its_curves_before_its_constants(lab: Lab, visit: Visit, command):
    opened = visit(lab.link(command, "curves"))
    titles = sections(opened)
    assert titles[0] == "perplexity"
    assert titles.index("result") < titles.index("size") < titles.index("speed")
    opened.wait_for("train", "val", "Step")
    assert opened.our_errors == []
