"""Saved views of the MLflow UI: which columns, charts and order a link opens. Plain data; tracking.py stores them.

From MLflow 3.15 on, the UI keeps a shared view as an experiment tag ``mlflow.sharedViewState.<key>`` and opens it by
``viewStateShareKey=<key>``. That is not documented, so nothing here may ever fail a run.
"""

import base64
import json
import zlib
from typing import Any

TAG_PREFIX = "mlflow.sharedViewState."
VIEWS = {"tmlm-models": "Time Machine lab: models"}  # key -> name
FIRST_SEEN_MS = 1_767_225_600_000  # 2026-01-01: a view has no other date than the version of this file

COLUMNS = [
    "attributes.`Duration`",
    "metrics.`final/val_perplexity`",
    "metrics.`final/test_perplexity`",
    "metrics.`final/test_bits_per_char`",
    "metrics.`cost/macs_per_char`",
    "metrics.`cost/parameters`",
    "metrics.`cost/train_seconds`",
    "params.`cell`",
    "params.`num_layers`",
    "params.`hidden_size`",
    "params.`preset`",
    "tags.`corpus`",
]


def _chart(uuid: str, kind: str, section: str, name: str, runs: int = 20, **options: Any) -> dict[str, Any]:
    return {
        "uuid": uuid,
        "type": kind,
        "runsCountToCompare": runs,
        "metricSectionId": section,
        "deleted": False,
        "isGenerated": False,
        "displayName": name,
        **options,
    }


def _lines(uuid: str, section: str, name: str, metrics: list[str], scale: str) -> dict[str, Any]:
    return _chart(
        uuid,
        "LINE",
        section,
        name,
        metricKey=metrics[0],
        selectedMetricKeys=metrics,
        lineSmoothness=0,
        scaleType=scale,
        xAxisKey="step",
        selectedXAxisMetricKey="",
        xAxisScaleType="linear",
        useGlobalXaxisKey=False,
        useGlobalLineSmoothing=False,
        displayPoints=False,
        yAxisKey="metric",
        selectedYAxisMetricKeys=metrics,
        yAxisExpressions=[],
        range={"xMin": None, "xMax": None, "yMin": None, "yMax": None},
    )


def _axis(metric: str) -> dict[str, str]:
    return {"key": metric, "type": "METRIC"}


def models_view() -> dict[str, Any]:
    """Training runs, best first; curves on a log axis, perplexity against cost, and the configurations side by side."""
    quality, training = "s-quality", "s-training"
    charts = [
        _lines("c-curves", quality, "Perplexity: train and validation", ["perplexity/train", "perplexity/val"], "log"),
        _chart(
            "c-cost",
            "SCATTER",
            quality,
            "Perplexity against MACs per character",
            50,
            xaxis=_axis("cost/macs_per_char"),
            yaxis=_axis("final/val_perplexity"),
        ),
        _chart(
            "c-parallel",
            "PARALLEL",
            quality,
            "Shapes",
            50,
            selectedParams=["cell", "num_layers", "hidden_size"],
            selectedMetrics=["cost/macs_per_char", "final/val_perplexity"],
            showAllRuns=True,
        ),
        _lines("c-rate", training, "Learning rate", ["training/learning_rate"], "linear"),
        _lines("c-norm", training, "Gradient norm", ["training/gradient_norm"], "log"),
    ]
    sections = [
        {"uuid": uuid, "name": name, "display": True, "isReordered": False, "deleted": False, "isGenerated": False}
        for uuid, name in ((quality, "Quality and cost"), (training, "Training"))
    ]
    return {
        "searchFilter": "tags.stage = 'train'",
        "orderByKey": "metrics.`final/val_perplexity`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": COLUMNS,
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "groupBy": None,
        "groupsExpanded": {},
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def view_tags() -> dict[str, str]:
    """The experiment tags that hold the views."""
    tags = {}
    for key, name in VIEWS.items():
        packed = base64.b64encode(zlib.compress(json.dumps(models_view()).encode())).decode()
        state = {"name": name, "createdAt": FIRST_SEEN_MS, "updatedAt": FIRST_SEEN_MS, "state": f"deflate;{packed}"}
        tags[TAG_PREFIX + key] = json.dumps(state)
    return tags


def links(base: str, experiment_id: str, run_id: str | None = None) -> dict[str, str]:
    """Addresses of the UI by what they show."""
    view = f"{base}/#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey=tmlm-models"
    found = {"table": view, "charts": f"{view}&compareRunsMode=CHART"}
    if run_id:
        found["run"] = f"{base}/#/experiments/{experiment_id}/runs/{run_id}?workflowType=machine_learning"
    return found
