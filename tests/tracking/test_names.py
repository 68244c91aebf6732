"""Names of tags and metrics: what the UI hides, and how the records of release 0.1 are read."""

import pytest
from mlflow.tracking import MlflowClient

from pipeline.tracking import names, records, runs
from pipeline.tracking.names import VISIBLE
from pipeline.tracking.store import setup

EARLIER_TAGS = {"stage": "train", "corpus": "topics", "corpus.sha256": "ab", "step_key": "k"}
EARLIER_METRICS = {"final/val_perplexity": 5.0, "cost/macs_per_char": 1000.0, "cost/train_seconds": 2.0}


def earlier_run(store, **tags: str) -> str:
    """A finished run with tags and metrics under the names of release 0.1."""
    client = MlflowClient()
    run_id = str(client.create_run("0", tags={**EARLIER_TAGS, **tags}).info.run_id)
    for name, value in EARLIER_METRICS.items():
        client.log_metric(run_id, name, value, step=26)
    client.set_terminated(run_id)
    return run_id


@pytest.fixture
def earlier(store) -> str:
    setup()
    return earlier_run(store)


def test_the_ui_hides_all_tags_but_those_that_people_filter_by(store):
    tags = {**EARLIER_TAGS, "config_id": "c", "study": "s", "trained_run": "abc"}
    with runs.tracked_run("train", "a run", tags) as run:
        run.tags({"stopped": "--max-seconds 1"})
    shown = {name for name in MlflowClient().get_run(run.id).data.tags if not name.startswith("mlflow.")}
    assert shown == set(VISIBLE) - {"failure"}


def test_a_tag_is_read_by_its_bare_name(store):
    with runs.tracked_run("train", "a run", EARLIER_TAGS) as run:
        pass
    recorded = MlflowClient().get_run(run.id)
    assert records.tag(recorded, "corpus.sha256") == "ab"
    assert records.tag(recorded, "stage") == "train"
    assert records.tag(recorded, "trained_run") == ""


def test_tags_of_release_0_1_are_read_by_the_same_names(earlier):
    assert records.tag(MlflowClient().get_run(earlier), "corpus.sha256") == "ab"


def test_metrics_of_release_0_1_are_read_by_the_names_of_this_one(earlier):
    assert records.figures(MlflowClient().get_run(earlier)) == {
        "result/val_perplexity": 5.0,
        "size/macs_per_char": 1000.0,
        "size/log10_macs_per_char": 3.0,
        "speed/train_seconds": 2.0,
    }


def test_metrics_recorded_by_a_resumed_training_win_over_those_of_the_version_that_started_it():
    assert names.with_new_names({"result/val_perplexity": 4.0, "final/val_perplexity": 5.0}) == {
        "result/val_perplexity": 4.0
    }


def test_searches_find_runs_of_every_version_the_latest_first(earlier):
    with runs.tracked_run("train", "a run", EARLIER_TAGS) as run:
        run.constants({"result/val_perplexity": 4.0})
    assert [each.run_id for each in records.finished_trainings("ab")] == [run.id, earlier]
    assert [each.metrics["result/val_perplexity"] for each in records.finished_trainings("ab")] == [4.0, 5.0]
    assert records.latest_run({"stage": "train", "step_key": "k"}) == run.id


def test_the_latest_training_of_each_text_is_found_whichever_version_recorded_it(earlier, store):
    other = earlier_run(store, **{"corpus.sha256": "cd"})
    with runs.tracked_run("train", "a run", EARLIER_TAGS) as run:
        pass
    assert [each.info.run_id for each in records.latest_of_each_text()] == [run.id, other]


def test_a_reopened_run_of_release_0_1_has_each_tag_under_one_name(store):
    setup()
    earlier = earlier_run(store, stage="search", mine="favourite")
    with runs.tracked_run("search", "a run", EARLIER_TAGS, resumed=MlflowClient().get_run(earlier)):
        pass
    shown = {name for name in MlflowClient().get_run(earlier).data.tags if not name.startswith("mlflow.")}
    assert shown == {"stage", "corpus", "mine"}


def test_constants_are_at_step_0_and_their_last_value_counts(store):
    with runs.tracked_run("search", "a run", {}) as run:
        run.constants({"result/val_perplexity": 5.0})
    with runs.tracked_run("search", "a run", {}, resumed=MlflowClient().get_run(run.id)) as run:
        run.constants({"result/val_perplexity": 4.0})
    history = MlflowClient().get_metric_history(run.id, "result/val_perplexity")
    assert [metric.step for metric in history] == [0, 0]
    assert MlflowClient().get_run(run.id).data.metrics == {"result/val_perplexity": 4.0}
