"""What comes out is declared once: the form of what is read, and what tables show, follow from it."""

import ast
import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import pytest
from typing_extensions import TypedDict

from pipeline.config import COST_NAMES, COSTS
from pipeline.results import FIGURES, SEARCH, STAGES, TRAIN, Figure, Member, Rival
from pipeline.support.records import Count, has_form
from tests.pages import made_up

ROOT = Path(__file__).parents[1] / "pipeline"
STUDY: Any = made_up.study().search
RECORDED = [
    (STAGES[TRAIN].result, made_up.training().result),
    (STAGES[SEARCH].result, STUDY.result),
    (Member, STUDY.result["front"][0]),
    (Rival, STUDY.result["compared"][0]),
]
LISTED = {  # where three or more figures may be listed, and why
    "config.py": "SIZES, from which costs are computed, is below results.py",
    "pages/page_models.py": "what model.js shows of a network",
}


@pytest.mark.parametrize(("form", "recorded"), RECORDED)
def test_an_earlier_result_is_read_without_the_figures_that_a_later_version_adds(form, recorded):
    fields = {**get_type_hints(form, include_extras=True), "new_figure": Annotated[Count, Figure("size")]}
    later = TypedDict("later", fields, total=form.__total__)  # type: ignore[misc]
    assert has_form(recorded, later)
    assert not has_form({**recorded, "new_figure": "many"}, later)


def test_a_front_and_its_rivals_have_the_costs_that_a_search_may_minimise():
    (cost,) = (get_args(get_type_hints(STAGES[SEARCH].result)["cost"]),)
    assert {*cost} == {*COSTS}
    assert all({*COST_NAMES} <= {*get_type_hints(form)} for form in (Member, Rival))


def test_tracking_names_no_stage():
    for path in (ROOT / "tracking").rglob("*.py"):
        assert not re.search(rf"stage\b.*[\"']({'|'.join(STAGES)})[\"']", path.read_text()), path


def test_no_other_file_lists_figures():
    """A tuple, list or set with three names of figures would be forgotten when one is added."""
    listing = set()
    for path in {*ROOT.rglob("*.py")} - {ROOT / "results.py"}:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                words = [element.value for element in node.elts if isinstance(element, ast.Constant)]
                if len(FIGURES.keys() & {str(word).rpartition("/")[2] for word in words}) > 2:
                    listing.add(str(path.relative_to(ROOT)))
    assert listing == {*LISTED}
