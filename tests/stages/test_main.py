"""The main job: one parent run with a run for each step, and which steps of an earlier one it reuses."""

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.config import CorpusConfig, resolve
from pipeline.stages.commands import next_steps, sample_command
from pipeline.stages.main import PipelineRun, pipeline
from pipeline.text.corpus import load_corpus
from pipeline.tracking import recorded
from pipeline.tracking.references import training_of
from pipeline.tracking.store import setup
from pipeline.training.metrics import TRAIN_CURVE, VAL_CURVE
from pipeline.training.sentences import verdict
from tests.cli.commands import assert_described, succeeds
from tests.labs import TINY, copy_store, plain_store

pytestmark = pytest.mark.usefixtures("plain_artifacts", "no_served_model")


def run_pipeline(text: Path, force: bool = False, **options):
    config = CorpusConfig(str(text), "letters")
    return pipeline(load_corpus(config), *resolve({**TINY, **options}), force=force)


@pytest.fixture(scope="module")
def piped_store(tmp_path_factory, empty_database, small_text) -> tuple[Path, PipelineRun]:
    """A store with one run of the pipeline, to be copied."""
    with plain_store(tmp_path_factory.mktemp("piped") / "lab", empty_database) as home:
        return home, run_pipeline(small_text)


@pytest.fixture
def first(no_store: Path, piped_store: tuple[Path, PipelineRun]) -> PipelineRun:
    """The run of the pipeline, alone in a store of the test's own."""
    home, step = piped_store
    copy_store(home, no_store)
    setup()
    checkpoint = str(step.result["checkpoint"]).replace(str(home), str(no_store))
    return replace(step, result={**step.result, "checkpoint": checkpoint})


def test_the_pipeline_is_one_parent_with_a_run_for_each_step(first):
    children = MlflowClient().search_runs(["0"], f"tags.`mlflow.parentRunId` = '{first.result['run_id']}'")
    assert {run.data.tags["stage"] for run in children} == {"prepare", "train", "evaluate", "sample"}
    assert {run.info.status for run in children} == {"FINISHED"}
    parent = MlflowClient().get_run(first.result["run_id"])
    assert all(parent.data.tags[f"mlflow.tmlm.step.{run.data.tags['stage']}"] == run.info.run_id for run in children)
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["result/val_perplexity"] == pytest.approx(first.result["val_perplexity"], rel=1e-5)
    assert first.result["perplexity"] == pytest.approx(first.result["test_perplexity"], rel=1e-9)
    assert first.result["reused"] == []
    assert training_of(first.result["run_id"]).id == first.result["trained_run"], "it stands for its training"


def test_what_is_printed_and_recorded_beside_a_text_writes_it(first):
    run_id = first.result["trained_run"]
    assert succeeds(sample_command(run_id)) == f"{first.result['texts'][0]}\n"
    assert_described(run_id)
    own = next_steps({"corpus": "a b.txt", "alphabet": "raw", "hidden_size": 8})
    assert "search --quick --corpus 'a b.txt' --alphabet raw  " in own
    assert "pipeline" not in own
    assert "search --quick  " in next_steps({"corpus": "auto"}), "as `mlflow run` gives it"


def test_the_parents_page_has_the_figures_and_curves_of_the_training_and_links_to_the_steps(first):
    parent, trained = (MlflowClient().get_run(first.result[name]).data for name in ("run_id", "trained_run"))
    assert all(f"/runs/{step.run_id}?" in parent.tags["mlflow.note.content"] for step in first.steps)
    final = {name for name in trained.metrics if name.split("/")[0] in ("result", "size", "speed")}
    assert {name: trained.metrics[name] for name in final & parent.metrics.keys()}.items() <= parent.metrics.items()
    assert {"result/val_perplexity", "size/log10_macs_per_char", "speed/train_seconds"} <= parent.metrics.keys()
    for curve in (TRAIN_CURVE, VAL_CURVE):
        of_parent, of_training = (
            recorded.run_of(first.result[name]).curve(curve) for name in ("run_id", "trained_run")
        )
        assert of_parent == of_training
        assert len(of_training) == 2
    said, text, *_ = parent.tags["mlflow.note.content"].split("\n\n")
    assert (said, text[:3]) == (verdict(first.result), "```")


def test_what_nothing_has_changed_for_is_taken_again_unless_it_is_forced(first, small_text, monkeypatch):
    """Also if the same text is named in another way."""
    monkeypatch.chdir(small_text.parent)
    again = run_pipeline(Path(small_text.name))
    assert again.result["reused"] == ["prepare", "train", "evaluate", "sample"]
    assert again.result["val_perplexity"] == first.result["val_perplexity"]
    assert again.result["texts"] == first.result["texts"]
    assert again.result["run_id"] != first.result["run_id"]
    assert run_pipeline(small_text, force=True).result["reused"] == []


def test_another_configuration_does_only_what_depends_on_it(first, small_text):
    assert run_pipeline(small_text, epochs=1).result["reused"] == ["prepare"]


def test_a_training_by_hand_is_taken_by_the_pipeline(trained, small_text):
    done = run_pipeline(small_text)
    assert done.result["reused"] == ["train"]
    assert done.result["trained_run"] == trained.run_id
