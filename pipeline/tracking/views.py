"""Saved views of the MLflow UI: which columns, charts and order a link opens. store.py and runs.py store them.

From MLflow 3.15 on, the UI keeps a shared view as an experiment tag ``mlflow.sharedViewState.<key>`` and opens it by
``viewStateShareKey=<key>``. That is not documented, so nothing here may ever fail a run.
"""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

from pipeline.tracking.names import HIDDEN

TAG_PREFIX = "mlflow.sharedViewState."

ALL_TEXTS = "tmlm-models"  # a table only: figures of different texts share no chart

FIRST_SEEN_MS = 1_767_225_600_000  # 2026-01-01, fixed: the tag's value must not change between commands

MODELS_VIEW = Path(__file__).with_name("models_view.json")


def models_view(corpus_sha256: str | None) -> dict[str, Any]:
    """Training runs on one text, best first; curves on a log axis, perplexity against cost, shapes side by side.

    Without a text, the trainings on all texts, in a table without charts. The file lists as deleted every chart that
    the UI would add by itself: one for each metric that is not the first of another chart.
    """
    state: dict[str, Any] = json.loads(MODELS_VIEW.read_text(encoding="utf-8"))
    if corpus_sha256 is None:
        state["compareRunCharts"] = [{**chart, "deleted": True} for chart in state["compareRunCharts"]]
    else:
        state["searchFilter"] += f" and tags.`{HIDDEN}corpus.sha256` = '{corpus_sha256}'"
    return state


def key_of(corpus_sha256: str | None) -> str:
    """The key of a text's view in links."""
    return f"tmlm-{corpus_sha256[:12]}" if corpus_sha256 else ALL_TEXTS


def view_tag(label: str, corpus_sha256: str | None) -> tuple[str, str]:
    """Key and value of the experiment tag that holds the view of a text, or of all texts."""
    packed = base64.b64encode(zlib.compress(json.dumps(models_view(corpus_sha256)).encode())).decode()
    state = {"name": label, "createdAt": FIRST_SEEN_MS, "updatedAt": FIRST_SEEN_MS, "state": f"deflate;{packed}"}
    return TAG_PREFIX + key_of(corpus_sha256), json.dumps(state)


def links(base: str, experiment_id: str, corpus_sha256: str | None, run_id: str | None) -> dict[str, str]:
    """Links to the UI by what they show: "table", "charts" of a text, and "run" for a run id."""
    runs = f"{base}/#/experiments/{experiment_id}/runs"
    view = f"{runs}?workflowType=machine_learning&viewStateShareKey={key_of(corpus_sha256)}"
    urls = {"table": view}
    if corpus_sha256:
        urls["charts"] = f"{view}&compareRunsMode=CHART"
    if run_id:
        urls["run"] = f"{runs}/{run_id}?workflowType=machine_learning"
    return urls
