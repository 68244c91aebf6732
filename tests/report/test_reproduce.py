"""A reproduction as a tracked run: what it trains, what it goes on with, and what is put together from its runs.

And the stage ``report``: its pages, rewritten from recorded runs.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from errno import ENOSPC
from functools import partial
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from models.config import ModelConfig
from pipeline.config import CorpusConfig, ReproduceConfig, TrainConfig
from pipeline.errors import CheckFailedError, DataUnavailableError, InputError, RecordingError
from pipeline.report.record import recorded_commands, recorded_reproduction
from pipeline.report.reproduce import ChecksNotMetError, reproduce
from pipeline.report.reproduction import TextFacts
from pipeline.report.rewrite import ReproductionRun, rewrite_report
from pipeline.stages.sweep import TextKey, TrainingTask, close_lost
from pipeline.support.workers import Event, Loss
from pipeline.text.corpus import Corpus, load_corpus
from pipeline.tracking import artifacts, queries, recorded
from pipeline.tracking.names import bare_tags
from pipeline.tracking.step import step_key
from pipeline.tracking.store import set_tags, setup
from pipeline.tracking.text_identity import corpus_keys
from tests.cli.commands import run
from tests.labs import copy_store, plain_store, store_at
from tests.pools import Inline, diverges, events_of, not_trained, pool_with
from tests.report.reproductions import TEXT

pytestmark = pytest.mark.usefixtures("plain_artifacts", "no_served_model")
TWO = ReproduceConfig(only="gru-scratch-1x8,lstm-scratch-1x8")
ONE = replace(TWO, only="gru-scratch-1x8")


def trainings(run_id: str) -> dict[str, Any]:
    return {training.tags["configuration"]: training for training in queries.nested_trainings(run_id)}


def facts_of(corpus: Corpus) -> TextFacts:
    """Made-up facts of a text, which take no time."""
    return replace(TEXT, corpus=corpus.name, corpus_sha256=corpus.corpus_sha256)


PLAN: dict[str, Any] = {"quick_epochs": 1, "facts_of": facts_of}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> CorpusConfig:
    """Another text in place of the book, just long enough for the report's windows."""
    path = tmp_path_factory.mktemp("text") / "topics.txt"
    path.write_text("\n".join(topics[name] for name in sorted(topics))[:19_000], encoding="utf-8")
    return CorpusConfig(str(path), "letters")


@pytest.fixture
def corpus(text: CorpusConfig) -> Corpus:
    """The text, in the cache of the test, where a worker finds it."""
    return load_corpus(text)


@pytest.fixture
def reproduced(corpus: Corpus) -> Callable[..., ReproductionRun]:
    """``reproduce`` on the text."""
    return partial(reproduce, corpus, **PLAN)


@pytest.fixture
def _no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.report.rewrite.pages", lambda *what: {})


@pytest.fixture(scope="module")
def kept(tmp_path_factory, empty_database, text) -> tuple[Path, ReproductionRun]:
    """The folder of a store, and the quick reproduction of two configurations in it, made once."""
    with plain_store(tmp_path_factory.mktemp("kept") / "lab", empty_database) as home:
        return home, reproduce(load_corpus(text), TWO, quick=True, make_pool=Inline, **PLAN)


@pytest.fixture
def done(kept) -> Iterator[ReproductionRun]:
    """A quick reproduction of two configurations, to read and not to resume."""
    home, run = kept
    with store_at(home):
        setup()
        yield run


@pytest.fixture
def own(no_store: Path, kept: tuple[Path, ReproductionRun]) -> ReproductionRun:
    """A copy of the quick reproduction of two configurations, for the test alone."""
    home, run = kept
    copy_store(home, no_store)
    setup()
    folder = no_store / run.folder.relative_to(home)
    return replace(run, folder=folder, result={**run.result, "report": str(folder / "report.html")})


@pytest.fixture
def given() -> list[TrainingTask]:
    """The trainings that were submitted to all pools of a test."""
    return []


@pytest.fixture
def pool(given: list[TrainingTask]) -> Callable[[int], Inline]:
    return pool_with(given)


def test_each_training_is_a_finished_run_nested_in_the_reproductions(done):
    found = trainings(done.reproduction.run_id)
    assert set(found) == {"gru-scratch-1x8", "lstm-scratch-1x8"}
    for each in found.values():
        assert (each.state, len(each.curve("perplexity/val"))) == ("finished", 1)
        assert each.configuration["train"]["preset"] == "report"
        assert each.name == f"{each.configuration['model']['cell']}-1x8-s0-scratch-report-topics"
        assert (each.params["precision"], each.params["kernel"]) == ("fp32", "torch")
        pooled = each.result["val_perplexity_pooled"]
        assert each.metrics["perplexity_pooled/val"] == pytest.approx(pooled, rel=1e-5) != each.result["val_perplexity"]
    parent = MlflowClient().get_run(done.reproduction.run_id)
    assert (parent.info.status, parent.data.tags["stage"]) == ("FINISHED", "reproduce")
    assert bare_tags(parent.data.tags).get("reproduction.quick", "") == "true"


def test_what_the_runs_came_to_is_put_together_from_the_record(done):
    (run,) = done.reproduction["gru-scratch-1x8"].runs
    own = trainings(done.reproduction.run_id)["gru-scratch-1x8"]
    assert run.val == tuple(own.curve("perplexity/val").values())
    assert (run.epochs, run.epochs_planned, run.is_whole, run.seed) == (1, 1, True, 0)
    assert run.train_pooled != run.train
    assert [prompt for prompt, _ in run.texts] == ["it has", "proceeded the", "staring hard"]
    assert all(text.startswith(prompt) and len(text) == len(prompt) + 20 for prompt, text in run.texts)
    assert run.test_perplexity is not None
    assert run.train_seconds > 0
    assert not done.reproduction["rnn-torch-1x128"].runs


def test_a_reproduction_that_an_earlier_recipe_of_our_own_began_is_completed(reproduced, own, corpus, given, pool):
    """It was recorded before trainings had ``counting_loss``."""
    recipe = {"stream": 5, "best": 5, "report": 3, "report-text": 4}
    identity = step_key("reproduce", {"quick": True, "recipe": recipe, **corpus_keys(corpus)})
    assert recorded.run_of(own.reproduction.run_id).tag("reproduction") == identity
    for training in trainings(own.reproduction.run_id).values():
        del training.configuration["train"]["counting_loss"]
        set_tags(training.id, {"config": json.dumps(training.configuration)})
    done = reproduced(
        replace(TWO, only="gru-scratch-1x8,gru-scratch-1x32,lstm-scratch-1x8"), quick=True, make_pool=pool
    )
    assert done.reproduction.run_id == own.reproduction.run_id
    assert [task.model.shape for task in given] == ["gru-1x32"]


@pytest.mark.usefixtures("_no_pages")
def test_what_is_to_be_trained(reproduced, store, given):
    """Each shape by our own recipe, too; only the report's have --precision."""
    said: list[str] = []
    config = ReproduceConfig(only="gru-*-1x128,gru-torch-2x32", seeds=2, precision="bf16")
    done = reproduced(config, say=said.append, make_pool=pool_with(given, not_trained))
    planned = [(task.role, task.model.shape, task.model.implementation, task.train.seed) for task in given]
    by_report = [("gru-1x128", "scratch"), ("gru-1x128", "torch"), ("gru-2x32", "torch")]
    assert planned == [
        *(("report", *model, seed) for seed in (0, 1) for model in by_report),
        *(("same-text", shape, "torch", seed) for seed in (0, 1) for shape in ("gru-2x32", "gru-1x128")),
    ]
    assert [task.train.precision for task in given] == ["bf16"] * 6 + ["fp32"] * 4
    assert len(done.result["failed"]) == 10
    assert "not trained here" in done.result["failed"][0]
    assert said[0].startswith("6 trainings by the report's protocol and 4 by our own recipe, with ")


@pytest.mark.usefixtures("_no_pages")
def test_a_worker_that_is_killed_costs_its_training_once_and_twice_leaves_it_out(reproduced, store, given):
    def dies(task: TrainingTask) -> list[Event] | None:
        return [Event("lost", task, Loss("the process died"))] if task.model.cell == "gru" else None

    done = reproduced(TWO, quick=True, make_pool=pool_with(given, dies))
    assert [task.model.cell for task in given] == ["lstm", "gru", "gru"]
    assert len(done.reproduction["lstm-scratch-1x8"].runs) == 1
    assert done.result["failed"] == ["gru-scratch-1x8, seed 0: the process died; it was lost before"]


def test_a_lost_training_whose_end_can_not_be_recorded_is_no_wrong_input(store, monkeypatch):
    def refuse() -> None:
        raise OSError(ENOSPC, "No space left on device")

    text = TextKey("time-machine", "", "letters", "", "time-machine")
    task = TrainingTask("report", 0, text, ModelConfig(), TrainConfig())
    monkeypatch.setattr("pipeline.tracking.liveness.client", refuse)
    with pytest.raises(RecordingError, match=r"a training was lost \(it died\), .*No space left on device") as refused:
        close_lost(Event("lost", task, Loss("it died")))
    assert refused.value.exit_code == 1


def test_a_check_that_is_not_met_says_so_after_all_is_recorded(reproduced, own):
    for training in trainings(own.reproduction.run_id).values():
        for split in ("train", "val"):
            MlflowClient().log_metric(training.id, f"perplexity/{split}", 3.0, step=1)  # which d2l never has
    with pytest.raises(CheckFailedError, match=r"--check is not met by 4 of .*gru-scratch-1x8, seed 0: ") as raised:
        reproduced(ONE, quick=True, check=True, make_pool=Inline)
    assert raised.value.exit_code == 4
    parent = MlflowClient().get_run(own.reproduction.run_id)
    assert parent.info.status == "FAILED"
    assert "outside" in artifacts.read_text(own.reproduction.run_id, "report/report.md")
    met = json.loads(artifacts.read_text(own.reproduction.run_id, "result.json"))["checks"]
    assert sum(each["is_met"] is False for each in met) == 4


def test_quick_and_only_that_exclude_each_other_are_refused(reproduced, store):
    with pytest.raises(InputError, match="--quick trains configurations of at most 64 units"):
        reproduced(ReproduceConfig(only="*-1x128"), quick=True)


def test_without_the_exact_text_nothing_is_begun(store, monkeypatch):
    monkeypatch.delenv("TMLM_DATA_DIR", raising=False)
    assert run("reproduce", "--quick", "--only", TWO.only)[0] == DataUnavailableError.exit_code == 3
    assert queries.latest(queries.has_tag("stage", "reproduce")) is None


def test_a_second_command_at_the_same_time_is_refused(reproduced, store, pool):
    def meanwhile(count: int) -> Any:
        reproduced(TWO, quick=True, make_pool=pool)

    with pytest.raises(InputError, match="is being reproduced by another command"):
        reproduced(TWO, quick=True, make_pool=meanwhile)


def stopped_halfway(task: TrainingTask) -> list[Event]:
    """Ctrl-C when half of a training is done."""

    def press_ctrl_c(share: float) -> None:
        if share >= 0.5:
            raise KeyboardInterrupt

    return events_of(task, press_ctrl_c)


@pytest.mark.slow
@pytest.mark.parametrize("has_checkpoints", [True, False])
def test_what_was_stopped_goes_on_in_its_own_run_if_its_checkpoints_are_there(reproduced, store, pool, has_checkpoints):
    with pytest.raises(KeyboardInterrupt):
        reproduced(ONE, quick=True, make_pool=pool_with([], stopped_halfway), quick_epochs=4)
    (parent,) = queries.search_runs(queries.has_tag("stage", "reproduce"))
    (begun,) = trainings(parent.id).values()
    if not has_checkpoints:
        shutil.rmtree(artifacts.artifact_path(begun.id, "checkpoints"))
    config = replace(ONE, precision="bf16")  # which is that of new trainings
    done = reproduced(config, quick=True, make_pool=pool, quick_epochs=4)
    (run,) = done.reproduction["gru-scratch-1x8"].runs
    assert (run.run_id == begun.id, run.epochs, run.is_whole) == (has_checkpoints, 4, True)
    assert run.val[0] == begun.curve("perplexity/val")[1]


def test_a_folder_that_cant_be_written_is_told_before_anything_is_trained(
    reproduced, store, tmp_path, given, pool, monkeypatch
):
    monkeypatch.setattr("pipeline.report.reproduce.report_folder", lambda quick: tmp_path / "file")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file can't be written: "):
        reproduced(ONE, quick=True, make_pool=pool)
    assert given == []


@pytest.mark.slow
def test_a_training_that_has_diverged_is_not_made_again_and_misses_the_check_each_time(reproduced, store, given):
    lacking = "gru-scratch-1x8, seed 0: the loss is nan"
    for _ in range(2):
        with pytest.raises(ChecksNotMetError, match=f"--check lacks 1 of the trainings: {lacking}") as raised:
            reproduced(ONE, quick=True, check=True, make_pool=pool_with(given, diverges))
        assert raised.value.done.result["failed"] == [lacking]
    assert len(given) == 1


@pytest.mark.slow
def test_each_command_is_kept_once_and_shown_as_it_was_given(reproduced, own, pool):
    named = "mlflow run . --env-manager local -e reproduce -P only=gru-scratch-1x8"
    assert own.reproduction.commands == (f"{named.replace('-1x8', '-1x8,lstm-scratch-1x8')} -P quick=true",)
    reproduced(replace(ONE, precision="bf16"), quick=True, make_pool=pool)
    again = reproduced(replace(ONE, workers=2), quick=True, make_pool=pool)  # which trains nothing else
    assert again.reproduction.commands == (
        *own.reproduction.commands,
        f"{named} -P precision=bf16 -P quick=true",
        f"{named} -P quick=true",
    )
    for page in ("report.md", "report.html"):
        text = (again.folder / page).read_text()
        assert all(command in text for command in again.reproduction.commands)
    assert len(recorded_commands(again.reproduction.run_id)) == 3


# --- its pages -------------------------------------------------------------------------------------------------------


def test_the_pages_are_on_disk_and_among_the_artifacts_and_name_no_folder_of_the_machine(done, kept):
    assert done.folder == kept[0] / "mlruns" / "report-quick"
    assert done.result["report"] == str(done.folder / "report.html")  # what the command prints
    result = artifacts.read_text(done.reproduction.run_id, "result.json")
    assert json.loads(result)["report"] == "report/report.html"
    for name in ("report.html", "report.md", "result.json", "figures/answer.svg"):
        text = (done.folder / name).read_text()
        assert text == artifacts.read_text(done.reproduction.run_id, f"report/{name}")
        assert "gru-scratch-1x8" in text
        assert str(kept[0]) not in text + result


def test_a_report_on_nothing_is_refused(store):
    with pytest.raises(InputError, match="there is no reproduction yet; run `tmlm reproduce` first"):
        rewrite_report("")
    with pytest.raises(InputError, match="0123 is not a run of"):
        recorded_reproduction("0123")


@pytest.mark.slow
def test_a_quick_reproduction_is_reported_on_only_if_there_is_no_other(reproduced, own):
    assert rewrite_report("").reproduction.run_id == own.reproduction.run_id
    whole = reproduced(ONE, make_pool=pool_with([], not_trained))
    reproduced(ONE, quick=True, make_pool=pool_with([], not_trained))
    assert rewrite_report("").reproduction.run_id == whole.reproduction.run_id


def test_a_reproduction_that_has_not_come_far_enough_says_so(own):
    artifacts.artifact_path(own.reproduction.run_id, "text.json").unlink()
    with pytest.raises(InputError, match="has not come far enough to report on; run `tmlm reproduce` again"):
        rewrite_report(own.reproduction.run_id)
