"""The charts of the report's page: they are drawn from the recorded trainings, and the script gets the same figures."""

import json
from dataclasses import replace

import pytest

from pipeline.report.page.pictures import answer_picture, explorer
from pipeline.report.reproduction import Configuration
from pipeline.support.statistics import geometric_mean
from tests.report.alterations import with_runs
from tests.report.page.pages import of_few
from tests.report.reproductions import ENDS, cut, reproduction

TWO = ("gru-torch-2x32", "lstm-torch-2x32")


def configuration(id: str, seeds: int = 3) -> Configuration:
    return reproduction(seeds, {id: ENDS[id]})[id]


def test_the_script_has_every_seed_and_the_point_their_mean():
    found = of_few(*TWO)
    drawn = explorer(found)
    assert drawn
    for given, configuration in zip(json.loads(drawn.data), found.configurations, strict=True):
        assert given["seeds"] == [0, 1, 2]
        for split in ("train", "val"):
            for values, run in zip(given[split], configuration.runs, strict=True):
                assert values == pytest.approx(getattr(run, f"{split}_pooled"), rel=1e-3)
        mean = geometric_mean([run.val_pooled[run.best_epoch - 1] for run in configuration.runs])
        assert f"validation perplexity {mean:.2f} at the best epoch (3 seeds)" in drawn.front


def test_an_unfinished_training_is_not_drawn():
    found = of_few("gru-scratch-1x8", "gru-torch-2x32")
    drawn = explorer(with_runs(found, "gru-torch-2x32", (cut(found["gru-torch-2x32"].runs[0], 60),)))
    assert drawn
    assert ("GRU 1x8</text>" in drawn.front, "GRU 2x32" in drawn.front) == (True, False)


def test_an_unfinished_training_says_so():
    shown = configuration("gru-torch-2x32", 1)
    started = replace(shown, runs=(cut(shown.runs[0], 1),))
    for each, words in ((started, "1 of 100 epochs"), (replace(shown, runs=()), "not run")):
        assert words in answer_picture(replace(reproduction(), configurations=(each,))).elements
