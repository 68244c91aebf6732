"""Recording runs: what is logged, how a run ends, and that nothing is overwritten."""

import json
import os
import re
import shutil
from typing import Any

import mlflow
import pytest
from mlflow.tracking import MlflowClient

from pipeline import config
from pipeline.cli.main import cli
from pipeline.config import resolve
from pipeline.errors import InputError, RecordingError
from pipeline.tracking import runs
from pipeline.tracking.logged_model import SIGNATURE
from pipeline.tracking.names import bare_tags, recorded_tag
from pipeline.tracking.runs import dataset
from pipeline.tracking.store import setup
from pipeline.tracking.ui import views
from tests.labs import PNG, rows


def test_the_view_of_each_recorded_text_is_stored_with_the_experiment(store):
    text = {"corpus": "topics", "corpus.sha256": "ab" * 32}
    with runs.tracked_run("train", "a run", text):
        pass
    tags = MlflowClient().get_experiment("0").tags
    expected = dict([views.models("topics", "ab" * 32).tag])
    assert {key: value for key, value in tags.items() if key.startswith(views.TAG_PREFIX)} == expected


def test_a_run_that_has_ended_is_never_taken_up_again(store, monkeypatch):
    with runs.tracked_run("train", "done", {}) as run:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", run.id)
    with pytest.raises(InputError, match="has ended"), runs.tracked_run("prepare", "other", {}):
        pass
    recorded = MlflowClient().get_run(run.id)
    assert (recorded.info.run_name, recorded.data.tags["stage"]) == ("done", "train")


# --- how runs end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (ValueError("a bad day"), "FAILED", "ValueError: a bad day"),
        (KeyboardInterrupt(), "KILLED", "stopped by Ctrl-C"),
        (SystemExit(143), "KILLED", "stopped by SIGTERM"),
    ],
)
def test_a_run_ends_as_it_did_with_the_reason(store, error, status, reason):
    with pytest.raises(type(error)), runs.tracked_run("train", "a run", {}) as run:
        raise error
    recorded = MlflowClient().get_run(run.id)
    assert recorded.info.status == status
    assert recorded.data.tags["failure"] == reason
    assert mlflow.active_run() is None


@pytest.mark.parametrize("status", ["RUNNING", "FINISHED"])
def test_a_run_that_another_machine_has_resumed_is_not_ended_by_this_process(store, status):
    """This machine was cut off, taken for gone, and stops its training now."""
    run_ids = []

    def stop() -> None:
        with runs.tracked_run("train", "a run", {}) as run:
            run_ids.append(run.id)
            MlflowClient().set_tag(run.id, recorded_tag("process.started"), "0")
            MlflowClient().update_run(run.id, status)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    recorded = MlflowClient().get_run(run_ids[0])
    assert (recorded.info.status, bare_tags(recorded.data.tags).get("failure", "")) == (status, "")
    with runs.tracked_run("train", "the next run of this process", {}):
        pass


def test_a_run_says_what_made_it_and_one_inside_another_is_its_child_with_its_own_datasets(store):
    of_text = {"corpus": "topics"}
    with runs.tracked_run("pipeline", "p", {}) as parent, runs.tracked_run("train", "lstm-1x8-s0", of_text) as run:
        parent.datasets([dataset("a text", "digest", "https://host/text", "train")])
    recorded = MlflowClient().get_run(run.id)
    tags = bare_tags(recorded.data.tags)
    assert (recorded.info.run_name, tags["stage"], tags["corpus"]) == ("lstm-1x8-s0", "train", "topics")
    assert (tags["process.pid"], tags["mlflow.parentRunId"]) == (str(os.getpid()), parent.id)
    assert float(tags["process.started"]) > 0
    assert tags["git.dirty"] in ("true", "false")
    of_parent, of_child = (MlflowClient().get_run(each.id).inputs for each in (parent, run))
    assert of_parent is not None
    assert [each.dataset.name for each in of_parent.dataset_inputs] == ["a text"]
    assert of_child is None or not of_child.dataset_inputs
    assert json.loads(of_parent.dataset_inputs[0].dataset.source) == {"url": "https://host/text"}


def test_parameters_are_recorded_once_they_are_known_and_left_as_mlflow_run_has_logged_them(store, monkeypatch):
    """`-P learning_rate=1e-3` is logged by the parent process as '1e-3'; logging 0.001 over it would raise."""
    setup()
    first = MlflowClient().create_run("0")
    MlflowClient().log_param(first.info.run_id, "learning_rate", "1e-3")
    monkeypatch.setenv("MLFLOW_RUN_ID", first.info.run_id)
    with runs.tracked_run("train", "adopted", {}) as run:
        run.params({"learning_rate": 0.001, "hidden_size": 32, "epochs": None, "device": "auto"})
        run.params({"hidden_size": 64, "epochs": 5, "device": "cpu"})  # the first is decided, the others are only now
    assert run.id == first.info.run_id
    recorded = MlflowClient().get_run(run.id)
    assert recorded.data.params == {"learning_rate": "1e-3", "hidden_size": "32", "epochs": "5", "device": "cpu"}
    assert recorded.info.run_name == run.name == "adopted", "pictures are titled by it"
    assert "MLFLOW_RUN_ID" not in os.environ, "a nested run must not adopt it again"


def test_metrics_are_rounded_counts_are_not_and_both_are_in_the_database_when_the_call_returns(store):
    with runs.tracked_run("train", "a run", {}) as run:
        run.metrics({"perplexity/val": 3.141592653589793}, step=2)
        run.constants({"size/parameters": 12_345_678})
        assert rows(store / "mlruns" / "mlflow.db", "SELECT key, value, step FROM metrics") == [
            ("perplexity/val", 3.14159, 2),
            ("size/parameters", 12_345_678, 0),
        ]


def test_a_picture_with_a_section_is_an_artifact_and_an_image_among_the_charts(store):
    with runs.tracked_run("train", "a run", {}) as run:
        run.picture("plots/perplexity.png", PNG, "summary")
        run.picture("plots/gap.png", PNG)
    client = MlflowClient()
    assert [file.path for file in client.list_artifacts(run.id, "plots")] == ["plots/gap.png", "plots/perplexity.png"]
    images = [file.path for file in client.list_artifacts(run.id, "images")]
    assert len(images) == 2, "one in full and one small"
    assert all(re.match(r"images/summary~perplexity[+%]step[+%]0[+%]", path) for path in images)


def id_of(**options: Any) -> str:
    model, train = resolve(options)
    return config.config_id(model, train, "digest of the text")


def test_configurations_that_compute_the_same_but_for_the_seed_share_their_id():
    same = {"seed": 7}, {"threads": 4}, {"device": "cpu"}, {"max_seconds": 60.0}
    others = {"epochs": 7}, {"hidden_size": 9}, {"learning_rate": 0.5}, {"preset": "report"}
    assert {id_of(**options) for options in same} == {id_of()}
    assert len({id_of(), *(id_of(**options) for options in others)}) == 5


def test_a_run_whose_database_was_deleted_is_not_called_finished(store):
    """SQLite goes on writing into the deleted file, where nobody will find the run."""

    def record() -> None:
        with runs.tracked_run("train", "a run", {}):
            shutil.rmtree(store / "mlruns")

    with pytest.raises(RecordingError, match=r"mlflow\.db was moved or deleted while a run"):
        record()
    assert mlflow.active_run() is None


def test_the_served_models_parameters_and_defaults_are_those_of_tmlm_sample():
    options = {
        p.name: p.default for p in cli.commands["sample"].params if p.name not in ("model", "prompts", "as_json")
    }
    assert {spec.name: spec.default for spec in SIGNATURE.params.params} == options
