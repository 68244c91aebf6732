"""Charts and sections of a saved view, in the format in which MLflow's UI stores them.

The format is undocumented; this is that of MLflow 3.15 to 3.17, whose line and scatter charts have the metrics' names
as titles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RUNS_OF_LINES, RUNS_OF_POINTS = 20, 200  # a chart draws at most so many runs, the first ones of the table

Chart = dict[str, Any]


def line(metrics: Sequence[str], x: str = "", runs: int = RUNS_OF_LINES) -> Chart:
    """Curves of metrics on a log axis, against the step or the metric ``x``."""
    return {
        "type": "LINE",
        "runsCountToCompare": runs,
        "metricKey": metrics[0],
        "selectedMetricKeys": list(metrics),
        "selectedYAxisMetricKeys": list(metrics),
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


def scatter(x: str, y: str) -> Chart:
    """One point for each run: metric ``y`` against metric ``x``."""
    return {
        "type": "SCATTER",
        "runsCountToCompare": RUNS_OF_POINTS,
        "xaxis": {"key": x, "type": "METRIC"},
        "yaxis": {"key": y, "type": "METRIC"},
    }


def parallel(parameters: Sequence[str], metrics: Sequence[str]) -> Chart:
    """Parallel coordinates, coloured by the last metric."""
    return {
        "type": "PARALLEL",
        "runsCountToCompare": RUNS_OF_POINTS,
        "selectedParams": list(parameters),
        "selectedMetrics": list(metrics),
        "showAllRuns": True,
    }


@dataclass(frozen=True)
class Section:
    """A titled section of charts; ``card_height`` is in pixels."""

    title: str
    charts: Sequence[Chart]
    columns: int = 2
    card_height: int = 400


def chart_state(sections: Sequence[Section], hidden: Sequence[str]) -> dict[str, Any]:
    """The part of a view's state that holds its charts.

    The UI adds a chart for each metric without one. It does not for the metrics in ``hidden``, which get a chart that
    is marked as deleted.
    """
    charts, states = [], []
    for number, section in enumerate(sections):
        uuid = f"section-{number}"
        states.append(
            {
                "uuid": uuid,
                "name": section.title,
                "display": True,
                "isReordered": False,
                "deleted": False,
                "isGenerated": False,
                "columns": section.columns,
                "cardHeight": section.card_height,
            }
        )
        charts += [_placed(chart, f"{uuid}-{place}", uuid) for place, chart in enumerate(section.charts)]
    charts += [_placed(line([metric]), f"no-{metric}", "section-0", deleted=True) for metric in hidden]
    return {"compareRunCharts": charts, "compareRunSections": states, "isAccordionReordered": True}


def _placed(chart: Chart, uuid: str, section: str, deleted: bool = False) -> Chart:
    return {"uuid": uuid, "metricSectionId": section, "deleted": deleted, "isGenerated": False, **chart}
