"""The notebook docs/tour.ipynb, executed by a notebook's kernel without a network."""

import pytest

from tests.checkout import Checkout


@pytest.mark.slow
@pytest.mark.timeout(600)  # a minute where nothing else runs
def test_the_tour_runs_to_its_end_and_shows_curves_a_front_and_runs(tmp_path):
    from tests.tour import executed

    notebook = executed(Checkout(tmp_path))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "Warning" not in "".join(output.text for output in outputs if output.get("name") == "stderr")
    shown = [output.data for output in outputs if output.output_type == "execute_result"]
    assert sum("image/png" in data for data in shown) == 2
    assert sum("<table" in data.get("text/html", "") for data in shown) == 3
    (front,) = [data["text/plain"] for data in shown if data["text/plain"].startswith("Search tour on python-docs")]
    assert "6 trials, front of " in front
