"""Saved views of the MLflow UI: which columns, charts and order a link opens. Plain data; tracking.py stores them.

From MLflow 3.15 on, the UI keeps a shared view as an experiment tag ``mlflow.sharedViewState.<key>`` and opens it by
``viewStateShareKey=<key>``. That is not documented, so nothing here may ever fail a run.
"""

import base64
import json
import zlib
from typing import Any

TAG_PREFIX = "mlflow.sharedViewState."
ALL_TEXTS = "tmlm-models"  # a table only: figures of different texts share no chart
FIRST_SEEN_MS = 1_767_225_600_000  # 2026-01-01: a view has no other date than the version of this file

# Column -> its width, from left to right: what decides, then what was built, fit into a window of 1440 pixels.
COLUMNS = {
    "attributes.`Run Name`": 190,
    "runDateAndNestInfo": 130,  # when, and how it ended
    "metrics.`final/val_perplexity`": 140,
    "metrics.`final/test_perplexity`": 145,
    "metrics.`cost/macs_per_char`": 150,
    "params.`cell`": 55,
    "params.`num_layers`": 90,
    "params.`hidden_size`": 95,
    "tags.`corpus`": 115,
    "params.`preset`": 70,
    "metrics.`final/test_bits_per_char`": 165,
    "metrics.`cost/parameters`": 125,
    "metrics.`cost/train_seconds`": 145,
    "duration": 80,
}
# The UI adds a chart of its own for every metric that is not the first one of another chart, shown or deleted.
UNCHARTED = ["perplexity/val", "perplexity_pooled/train", "perplexity_pooled/val", "training/seconds"]
UNCHARTED += [f"final/{name}" for name in ("val_perplexity", "test_perplexity", "test_bits_per_char", "best_epoch")]
UNCHARTED += ["final/ngram_val_perplexity", "final/ngram_test_perplexity"]
UNCHARTED += [f"cost/{name}" for name in ("parameters", "trained_parameters", "macs_per_char", "matmul_macs_per_char")]
UNCHARTED += [f"cost/{name}" for name in ("report_parameters", "report_macs", "train_seconds", "chars_per_second")]


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


def _section(uuid: str, name: str, columns: int, height: int) -> dict[str, Any]:
    shown = {"uuid": uuid, "name": name, "display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    return {**shown, "columns": columns, "cardHeight": height}


def models_view(corpus_sha256: str | None) -> dict[str, Any]:
    """Training runs on one text, best first; curves on a log axis, perplexity against cost, shapes side by side.

    Without a text: those on all texts, in a table without charts.
    """
    quality, shapes, training = "s-quality", "s-shapes", "s-training"
    curves = ["perplexity/train", "perplexity/val"]
    charts = [
        _lines("c-curves", quality, "Perplexity: train and validation", curves, "log"),
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
            shapes,
            "Shapes",
            50,
            selectedParams=["cell", "num_layers", "hidden_size"],
            selectedMetrics=["cost/macs_per_char", "final/val_perplexity"],
            showAllRuns=True,
        ),
        _lines("c-rate", training, "Learning rate", ["training/learning_rate"], "log"),
        _lines("c-norm", training, "Gradient norm", ["training/gradient_norm"], "log"),
    ]
    if corpus_sha256 is None:
        charts = [{**chart, "deleted": True} for chart in charts]
    charts += [{**_lines(f"c-no-{key}", training, key, [key], "linear"), "deleted": True} for key in UNCHARTED]
    sections = [
        _section(quality, "Quality and cost", 2, 400),
        _section(shapes, "Shapes", 1, 360),
        _section(training, "Training", 2, 300),
    ]
    return {
        "searchFilter": "tags.stage = 'train'"
        + (f" and tags.`corpus.sha256` = '{corpus_sha256}'" if corpus_sha256 else ""),
        "orderByKey": "metrics.`final/val_perplexity`",
        "orderByAsc": True,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": [
            "attributes.`Duration`",
            *(column for column in COLUMNS if column.startswith(("metrics.", "params.", "tags."))),
        ],
        "columnOrder": list(COLUMNS),
        "columnWidths": COLUMNS,
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
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
    }


def key_of(corpus_sha256: str | None) -> str:
    """The key of a text's view, by which a link names it."""
    return f"tmlm-{corpus_sha256[:12]}" if corpus_sha256 else ALL_TEXTS


def view_tag(label: str, corpus_sha256: str | None) -> tuple[str, str]:
    """Key and value of the experiment tag that holds the view of a text, or of all texts."""
    packed = base64.b64encode(zlib.compress(json.dumps(models_view(corpus_sha256)).encode())).decode()
    state = {"name": label, "createdAt": FIRST_SEEN_MS, "updatedAt": FIRST_SEEN_MS, "state": f"deflate;{packed}"}
    return TAG_PREFIX + key_of(corpus_sha256), json.dumps(state)


def links(base: str, experiment_id: str, corpus_sha256: str | None, run_id: str | None) -> dict[str, str]:
    """Addresses of the UI by what they show: the models of a text (or a table of all), and a run's page."""
    runs = f"{base}/#/experiments/{experiment_id}/runs"
    view = f"{runs}?workflowType=machine_learning&viewStateShareKey={key_of(corpus_sha256)}"
    found = {"table": view}
    if corpus_sha256:
        found["charts"] = f"{view}&compareRunsMode=CHART"
    if run_id:
        found["run"] = f"{runs}/{run_id}?workflowType=machine_learning"
    return found
