"""Saved views of the UI: what is stored, and which runs, columns and charts each shows."""

import base64
import json
import zlib

import pytest
from mlflow.utils import validation

from models.complexity import closed_form
from models.config import ModelConfig
from pipeline.results import METRICS
from pipeline.tracking.ui import views
from pipeline.training.loop import EpochPoint
from pipeline.training.metrics import epoch_metrics, final_metrics, size_metrics

DIGEST = "9f258eadf409c46591c5c61d72c087cb"
PARENT = "ab" * 16
MODELS = views.models("a text", DIGEST)
ALL = (MODELS, views.search("a study", "a text", PARENT))


@pytest.mark.parametrize("view", ALL, ids=lambda view: view.key)
def test_a_view_is_an_experiment_tag_that_unpacks_to_its_state_whose_columns_runs_record(view):
    key, value = view.tag
    assert key == f"mlflow.sharedViewState.{view.key}"
    stored = json.loads(value)
    assert stored["name"] == view.name
    assert json.loads(zlib.decompress(base64.b64decode(stored["state"].removeprefix("deflate;")))) == view.state
    assert len(value) <= min(5000, validation.MAX_EXPERIMENT_TAG_VAL_LENGTH), "5000 is MLflow 3.15's"
    metrics = [column[9:-1] for column in view.state["selectedColumns"] if column.startswith("metrics.")]
    assert metrics
    assert set(metrics) <= set(views.METRICS)


@pytest.mark.parametrize("view", ALL, ids=lambda view: view.key)
def test_mlflows_own_code_writes_the_same_view(view):
    """Only a script of MLflow's UI reads views: tests/browser opens these with it."""
    demo = pytest.importorskip("mlflow.demo.generators.saved_views", reason="MLflow 3.15 and 3.16 write none in Python")
    theirs = demo.DemoTraceSavedViewDef(view.key, view.name, views.TAG_PREFIX, view.state)
    written = json.loads(demo._serialize_trace_saved_view(theirs, views.CREATED_MS))
    assert (theirs.tag_key, written | {"updatedAt": views.CREATED_MS}) == (view.tag[0], json.loads(view.tag[1]))


def test_the_view_of_a_text_shows_its_comparable_trainings_that_have_not_failed():
    assert MODELS.query == (
        "attributes.status != 'FAILED' and attributes.status != 'KILLED' and tags.stage = 'train' "
        f"and tags.`mlflow.tmlm.protocol` = 'stream' and tags.`mlflow.tmlm.corpus.sha256` = '{DIGEST}'"
    )


def test_the_views_know_every_metric_that_a_training_records():
    """For each of them the UI would add a chart of its own."""
    point = EpochPoint(1, 9.0, 8.0, 9.0, 8.0, 0.01, 1.0, 2.0, 100, 1.0, 9.0)
    result = dict.fromkeys(METRICS.values(), 1.0)
    recorded = epoch_metrics(point, "report") | final_metrics(result)
    recorded |= size_metrics(closed_form(ModelConfig(), 28))
    assert set(views.METRICS) == set(recorded)
