"""Saved views of the UI: what is stored, and which link opens what."""

import base64
import json
import zlib

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.tracking import views
from pipeline.training.loop import EpochPoint
from pipeline.training.metrics import RESULT, SIZE, SPEED, epoch_metrics, final_metrics, size_metrics


def state_of(tag: str) -> dict:
    packed = json.loads(tag)["state"]
    assert packed.startswith("deflate;")
    state: dict = json.loads(zlib.decompress(base64.b64decode(packed.removeprefix("deflate;"))))
    return state


DIGEST = "9f258eadf409c46591c5c61d72c087cb"


def test_a_view_is_an_experiment_tag_that_unpacks_to_its_state():
    key, value = views.view_tag("time-machine: models", DIGEST)
    assert key == f"mlflow.sharedViewState.{views.key_of(DIGEST)}"
    assert json.loads(value)["name"] == "time-machine: models"
    state = state_of(value)
    assert state["searchFilter"] == f"tags.stage = 'train' and tags.`mlflow.tmlm.corpus.sha256` = '{DIGEST}'"
    assert state["orderByKey"] == "metrics.`result/val_perplexity`"
    assert [chart["type"] for chart in state["compareRunCharts"] if not chart["deleted"]][:3] == [
        "LINE",
        "SCATTER",
        "PARALLEL",
    ]


def test_the_view_of_all_texts_has_a_table_and_no_chart():
    state = state_of(views.view_tag("all", None)[1])
    assert state["searchFilter"] == "tags.stage = 'train'"
    assert all(chart["deleted"] for chart in state["compareRunCharts"])
    assert set(views.links("http://x", "0", None, None)) == {"table"}


def test_figures_of_different_texts_are_kept_apart():
    tables = {views.links("http://x", "0", digest, None)["table"] for digest in (DIGEST, DIGEST[::-1], None)}
    assert len(tables) == 3


def test_links_open_the_machine_learning_side_of_the_ui():
    found = views.links("http://127.0.0.1:5000", "0", DIGEST, "abc")
    assert set(found) == {"table", "charts", "run"}
    for url in found.values():
        assert url.startswith("http://127.0.0.1:5000/#/experiments/0/runs")
        assert "workflowType=machine_learning" in url
    assert "/runs/abc?" in found["run"]
    assert "compareRunsMode=CHART" in found["charts"]


def test_the_views_name_only_figures_that_runs_record():
    point = EpochPoint(1, 9.0, 8.0, 9.0, 8.0, 0.01, 1.0, 2.0, 100)
    result = dict.fromkeys([*RESULT, *SIZE, *SPEED], 1.0)
    recorded = set(epoch_metrics(point, "report")) | set(final_metrics(result))
    recorded |= set(size_metrics(closed_form(ModelConfig(), 28), 1))
    for digest in (None, DIGEST):
        state = state_of(views.view_tag("models", digest)[1])
        for column in state["selectedColumns"]:
            if column.startswith("metrics."):
                assert column.removeprefix("metrics.").strip("`") in recorded
        for chart in state["compareRunCharts"]:
            for metric in chart.get("selectedMetricKeys", []):
                assert metric in recorded, metric
