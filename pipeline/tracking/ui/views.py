"""Saved views of MLflow's UI: the runs, columns, charts and order that a link opens.

- Models: the comparable trainings on one text, finished or running.
- Study: the trials of one search, their front and their shapes.

Since MLflow 3.15, the UI stores a shared view as an experiment tag ``mlflow.sharedViewState.<key>`` and opens it by
``viewStateShareKey=<key>``. That is undocumented, so a failure here must never fail a run. The format of charts is that
of MLflow 3.15 to 3.17, whose line and scatter charts have the metrics' names as titles.
"""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pipeline.results import METRICS as RESULT_METRICS
from pipeline.results import TRAIN
from pipeline.tracking.names import recorded_tag
from pipeline.tracking.queries import NOT_FAILED
from pipeline.training import metrics
from pipeline.training.metrics import LOG10_MACS, SECONDS_CURVE, TRAIN_CURVE, VAL_CURVE

TAG_PREFIX = "mlflow.sharedViewState."

CREATED_MS = 1_767_225_600_000  # 2026-01-01; constant, so that the tag's value does not change between commands

METRICS = (  # all that a training records
    *(metrics.CURVES | metrics.REPORT_CURVES),
    *RESULT_METRICS,
    *(f"size/{name}" for name in metrics.FURTHER_SIZES),
    LOG10_MACS,
)

PERPLEXITY = "result/val_perplexity"
TRAINING_CURVES = ("training/learning_rate", "training/gradient_norm")

COLUMNS = {  # of the table, with their widths in pixels
    "attributes.`Run Name`": 190,
    "runDateAndNestInfo": 130,
    f"metrics.`{PERPLEXITY}`": 155,
    "metrics.`result/test_perplexity`": 160,
    f"metrics.`{metrics.MACS}`": 150,
    "params.`cell`": 55,
    "params.`num_layers`": 90,
    "params.`hidden_size`": 95,
    "params.`epochs`": 70,
    "metrics.`result/mixture_test_perplexity`": 205,
    "metrics.`result/test_bits_per_char`": 175,
    "metrics.`size/parameters`": 125,
    "metrics.`speed/train_seconds`": 155,
    "duration": 80,
}

ALWAYS_SHOWN = "attributes.`Run Name`", "runDateAndNestInfo"  # columns that the UI does not list as selected

DEFAULTS = {  # what the UI stores besides runs, columns and charts
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "datasetsFilter": [],
    "modelVersionFilter": "All Runs",
    "runsHiddenMode": "SHOW_ALL",
    "viewMaximized": False,
    "runListHidden": False,
    "useGroupedValuesInCharts": True,
    "hideEmptyCharts": True,
    "groupsExpanded": {},
    "autoRefreshEnabled": True,
    "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
}

RUNS_OF_LINES, RUNS_OF_POINTS = 20, 200  # a chart draws at most so many runs, the first ones of the table

Chart = dict[str, Any]


def line_chart(curves: Sequence[str], x: str = "", runs: int = RUNS_OF_LINES) -> Chart:
    """Curves on a log axis, against the step or the metric ``x``."""
    return {
        "type": "LINE",
        "runsCountToCompare": runs,
        "metricKey": curves[0],
        "selectedMetricKeys": list(curves),
        "selectedYAxisMetricKeys": list(curves),
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "scaleType": "log",
        "xAxisKey": "metric" if x else "step",
        "selectedXAxisMetricKey": x,
        "xAxisScaleType": "linear",
        "useGlobalXaxisKey": False,
        "useGlobalLineSmoothing": False,
        "lineSmoothness": 0,
        "displayPoints": False,
        "range": {"xMin": None, "xMax": None, "yMin": None, "yMax": None},
    }


def scatter_chart(x: str, y: str) -> Chart:
    """One point for each run: metric ``y`` against metric ``x``."""
    axes = {axis: {"key": key, "type": "METRIC"} for axis, key in (("xaxis", x), ("yaxis", y))}
    return {"type": "SCATTER", "runsCountToCompare": RUNS_OF_POINTS, **axes}


def parallel_chart() -> Chart:
    """Parallel coordinates of the shape and both objectives, coloured by perplexity."""
    axes = {"selectedParams": ["cell", "num_layers", "hidden_size"], "selectedMetrics": [LOG10_MACS, PERPLEXITY]}
    return {"type": "PARALLEL", "runsCountToCompare": RUNS_OF_POINTS, **axes, "showAllRuns": True}


class ChartSection(NamedTuple):
    """A titled section of charts; ``card_height`` is in pixels."""

    title: str
    charts: Sequence[Chart]
    columns: int = 2
    card_height: int = 400


def key(kind: Literal["models", "search"], identity: str) -> str:
    """The key of a view; ``identity`` is the digest of its text or the run id of its search."""
    return f"{kind}-{identity[:8]}"


class View(NamedTuple):
    """A saved view, opened by ``key`` and listed as ``name``; ``query`` selects its runs, in MLflow's search syntax."""

    key: str
    name: str
    query: str
    sections: Sequence[ChartSection]
    columns: Mapping[str, int] = COLUMNS

    @property
    def state(self) -> dict[str, Any]:
        """The state that the UI restores.

        The UI adds a chart for each metric without one, so that every metric has one that is marked as deleted.
        """
        chosen = ["attributes.`Duration`" if name == "duration" else name for name in self.columns]
        placed = [
            (f"section-{number}-{place}", f"section-{number}", False, chart)
            for number, section in enumerate(self.sections)
            for place, chart in enumerate(section.charts)
        ]
        placed += [(f"no-{metric}", "section-0", True, line_chart([metric])) for metric in METRICS]
        charts = [
            {"uuid": uuid, "metricSectionId": section, "deleted": deleted, "isGenerated": False, **chart}
            for uuid, section, deleted, chart in placed
        ]
        return {
            **DEFAULTS,
            "searchFilter": self.query,
            "orderByKey": f"metrics.`{PERPLEXITY}`",
            "orderByAsc": True,
            "selectedColumns": [name for name in chosen if name not in ALWAYS_SHOWN],
            "columnOrder": list(self.columns),
            "columnWidths": dict(self.columns),
            "groupBy": None,
            "compareRunCharts": charts,
            "compareRunSections": [
                {
                    "uuid": f"section-{number}",
                    "name": section.title,
                    "display": True,
                    "isReordered": False,
                    "deleted": False,
                    "isGenerated": False,
                    "columns": section.columns,
                    "cardHeight": section.card_height,
                }
                for number, section in enumerate(self.sections)
            ],
            "isAccordionReordered": True,
        }

    @property
    def tag(self) -> tuple[str, str]:
        """Key and value of the experiment tag that holds the view."""
        packed = base64.b64encode(zlib.compress(json.dumps(self.state, separators=(",", ":")).encode())).decode()
        times = {"createdAt": CREATED_MS, "updatedAt": CREATED_MS}
        return TAG_PREFIX + self.key, json.dumps({"name": self.name, **times, "state": f"deflate;{packed}"})


def models(text: str, corpus_sha256: str) -> View:
    """The comparable trainings on a text."""
    query = (
        f"{NOT_FAILED} and tags.stage = '{TRAIN}' and tags.`{recorded_tag('protocol')}` = "
        f"'{metrics.COMPARABLE}' and tags.`{recorded_tag('corpus.sha256')}` = '{corpus_sha256}'"
    )
    sections = (
        ChartSection("Quality and cost", (line_chart((TRAIN_CURVE, VAL_CURVE)), scatter_chart(LOG10_MACS, PERPLEXITY))),
        ChartSection("Shapes", (parallel_chart(),), columns=1, card_height=360),
        ChartSection("Training", [line_chart([curve]) for curve in TRAINING_CURVES], card_height=300),
    )
    return View(key("models", corpus_sha256), f"Models of {text}", query, sections)


def search(study: str, text: str, parent: str) -> View:
    """The trials of one search and the confirmations of its picks; ``parent`` is the id of the search's run."""
    sections = (
        ChartSection("Front", (scatter_chart(LOG10_MACS, PERPLEXITY),), 1, 460),
        ChartSection("Shapes", (parallel_chart(),), columns=1, card_height=400),
        ChartSection("Curves", (line_chart((VAL_CURVE,), runs=50), line_chart((VAL_CURVE,), SECONDS_CURVE, runs=50))),
    )
    query = f"tags.stage = '{TRAIN}' and tags.`mlflow.parentRunId` = '{parent}'"
    columns = {**COLUMNS, "params.`seed`": 60, "tags.`stopped`": 220}
    return View(key("search", parent), f"Study {study} on {text}", query, sections, columns)
