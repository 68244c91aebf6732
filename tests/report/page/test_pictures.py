"""The charts of the report's page: they are drawn from the recorded trainings, and the script gets the same figures."""

import json

import pytest

from pipeline.report.page.pictures import report_explorer
from pipeline.support.statistics import geometric_mean
from tests.report.page.pages import of_few


def test_the_script_has_every_seed_and_the_point_their_mean():
    found = of_few("gru-torch-2x32", "lstm-torch-2x32")
    drawn = report_explorer(found)
    assert drawn
    for given, configuration in zip(json.loads(drawn.data), found.configurations, strict=True):
        assert given["seeds"] == [0, 1, 2]
        for split in ("train", "val"):
            for values, run in zip(given[split], configuration.runs, strict=True):
                assert values == pytest.approx(getattr(run, f"{split}_pooled"), rel=1e-3)
        mean = geometric_mean([run.val_pooled[run.best_epoch - 1] for run in configuration.runs])
        assert f"validation perplexity {mean:.2f} at the best epoch (3 seeds)" in drawn.front
