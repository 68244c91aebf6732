"""Tables of the page: what is recorded stands in its column, and what is missing is named."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.reproduction import Reproduction
from pipeline.report.table import report_rows
from pipeline.support.page.document import NOTHING
from pipeline.support.statistics import estimate, pooled_spread
from tests.report.page.pages import of_few, page, rendered
from tests.report.reproductions import reproduction
from tests.support.page.parsed import Page


def test_start_and_end_stand_beside_what_is_reported_and_the_verdicts():
    cells = [cell.strip() for cell in page().row("reproduced", "lstm-torch-1x128")]
    runs = reproduction()["lstm-torch-1x128"].runs
    assert cells[1] == "22"
    assert cells[5:8] == ["1", "2.07", "10.03"]
    assert float(cells[2]) == pytest.approx(23.5 * 1.01, abs=0.01)  # the first half epoch
    assert float(cells[3]) == pytest.approx(runs[0].val[0] * 1.01, abs=0.01)
    assert cells[4].split()[0] in "✓◐△✗?"
    assert cells[9] == NOTHING


def test_a_perplexity_has_the_interval_by_the_spread_over_seeds_of_all_configurations():
    found = reproduction()
    groups = {each.id: np.array([run.best() for run in each.runs]) for each in found.configurations}
    mean = estimate(groups["gru-torch-2x32"].tolist(), spread=pooled_spread([np.log(each) for each in groups.values()]))
    cells = page().row("configurations", "gru-torch-2x32")
    assert cells[2].split() == [f"{mean.mean:.2f}", f"{mean.low:.2f}", "to", f"{mean.high:.2f}"]


def test_another_recipe_has_its_own_column():
    found = of_few("gru-torch-2x32", seeds=1)
    (only,) = found.configurations
    found = replace(found, configurations=(replace(only, same_text=(replace(only.runs[0], windowed=5.08),)),))
    cells = Page(rendered(found)["report.html"]).row("configurations", "gru-torch-2x32")
    assert [cell.strip() for cell in cells[5:]] == ["5.08"]


def test_the_print_out_of_another_shape_is_corrected_and_the_others_agree():
    wrong = page().row("configurations", "gru-torch-1x128", 1)
    assert [cell.split() for cell in wrong[5:7]] == [
        ["60,672", "✗", "not", "5.95", "k"],
        ["63,045,632", "✗", "not", "6.32", "MMac"],
    ]
    agreeing = [cells[0] for where, cells in page().rows if where == "configurations" and "as printed" in cells[-3]]
    assert len(agreeing) == sum(bool(row.params) for row in report_rows()) - 1


def with_texts(found: Reproduction, *texts: tuple[str, str]) -> Reproduction:
    """The only configuration's only training, having written these."""
    (each,) = found.configurations
    return replace(found, configurations=(replace(each, runs=(replace(each.runs[0], texts=texts),)),))


def test_spaces_that_would_not_be_seen_are_shown():
    found = with_texts(of_few("rnn-torch-1x128", seeds=1), ("it has", "it has" + 20 * " "), ("staring hard", "a  b c"))
    both = rendered(found)
    for text in (Page(both["report.html"]).texts["texts"], both["report.md"]):
        assert "it has" + 20 * "␣" in text
        assert "a␣␣b c" in text
        assert "␣ is a space that would not be seen." in text
