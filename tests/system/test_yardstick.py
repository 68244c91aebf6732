"""What 4aa78f6 has recorded is read by every later version, and continued unless its recipe is another one.

``tests.yardstick`` made the store and the figures that the same code got from a copy of it. On another processor they
differ in the last digits; ``python -m tests.yardstick compare`` shows on one machine that nothing has changed.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from models.decoding import Decoding
from pipeline.cli import doctor
from pipeline.config import RECIPE, AnswerConfig, CorpusConfig, SearchConfig, config_id
from pipeline.errors import InputError
from pipeline.export.export import export
from pipeline.search.summary import SearchRun
from pipeline.stages import train as train_stage
from pipeline.stages.answer import answer
from pipeline.stages.sample import write_texts
from pipeline.stages.search import search
from pipeline.stages.tasks import TrainingTask
from pipeline.text.corpus import load_corpus
from pipeline.tracking import recorded
from tests import yardstick
from tests.cli.commands import run
from tests.labs import leave_out_the_served_model, make_artifacts_plain, store_at
from tests.pools import pool_with
from tests.yardstick import (
    ANSWER,
    BY_SECONDS,
    CUT_OFF,
    CUT_OFF_EPOCHS,
    FINISHED,
    PLAN,
    SEARCH,
    STUDY,
    TEXT,
    runs_of,
    trials_of,
)

EXPECTED: dict[str, Any] = json.loads(yardstick.FIGURES.read_text())
AS_RECORDED = 1e-4  # relative difference to figures of another processor

T = TypeVar("T")


def unpacked(home: Path) -> None:
    """The store in a folder of its own, as if its checkout was moved there."""
    yardstick.unpack(home)
    doctor.repair()


def id_of(home: Path, name: str) -> str:
    """The id of a training that a person started."""
    (found,) = (run["id"] for run in runs_of(home) if run["name"] == name and not run["parent"])
    return str(found)


def recipe_of(home: Path) -> int:
    """The recipe by which all of the store was trained."""
    (config,) = (run["tags"]["config"] for run in runs_of(home) if run["name"] == CUT_OFF)
    return int(json.loads(config)["recipe"])


def continued(home: Path, go_on: Callable[[], T]) -> T | None:
    """What ``go_on`` returns; None if it refuses to, as it has to where the recipe of the trainings is another one."""
    if (recipe := recipe_of(home)) == RECIPE["stream"]:
        return go_on()
    with pytest.raises(InputError, match=rf"by recipe {recipe}\b.* by recipe {RECIPE['stream']}\b"):
        go_on()
    return None


# --- read -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a copy that the tests of this part share, and only read."""
    home = tmp_path_factory.mktemp("yardstick") / "lab"
    with store_at(home):
        unpacked(home)
        yield home


def test_every_training_is_listed_as_it_was_left(kept):
    code, out, _ = run("runs", "--all", "--json")
    listed = {(row["name"], row["study"]): row for row in json.loads(out)["runs"]}
    assert code == 0
    assert {key: row["state"] for key, row in listed.items()} == {
        (each["name"], each["tags"].get("study", "")): each["status"].lower()
        for each in runs_of(kept)
        if each["tags"]["stage"] == "train"
    }
    assert len(listed) == 10
    folded = {row["name"] for row in json.loads(run("runs", "--json")[1])["runs"]}
    assert folded == {each["name"] for each in runs_of(kept) if not each["parent"]}
    for name in (*FINISHED, BY_SECONDS):
        assert listed[name, ""]["test_perplexity"] == EXPECTED["runs"][name]["result/test_perplexity 0"]


@pytest.mark.parametrize("name", [*FINISHED, BY_SECONDS])
def test_a_finished_training_writes_what_it_wrote(kept, name):
    run_id = id_of(kept, name)
    greedy = {each["prompt"]: each["text"] for each in recorded.read_samples(run_id) if each["method"] == "greedy"}
    code, out, err = run("sample", run_id, "--prompt", "it has", "--length", "20", "--method", "greedy")
    assert (code, out) == (0, f"{greedy['it has']}\n"), err


@pytest.mark.parametrize("name", [*FINISHED, BY_SECONDS])
def test_a_finished_training_is_exported(kept, name, monkeypatch, tmp_path):
    done = export(id_of(kept, name), tmp_path / "page")
    assert (done["kind"], done["name"]) == ("training", name)
    assert name in (tmp_path / "page" / "index.html").read_text()
    weights = tmp_path / "page" / "model" / "weights.safetensors"
    assert write_texts(str(weights), ["it has"], 5, Decoding(method="greedy"))[0].startswith("it has")


def test_every_configuration_has_the_id_that_it_had(kept):
    if recipe_of(kept) == RECIPE["stream"]:
        for run in recorded.trainings():
            assert config_id(*run.configs, run.corpus_sha256) == run.config_id, run.name


def test_a_study_that_is_not_finished_says_so_when_it_is_exported(kept, tmp_path):
    with pytest.raises(InputError, match="has no result yet; the same command again finishes it"):
        export(STUDY, tmp_path / "page")


# --- continued --------------------------------------------------------------------------------------------------------


@pytest.fixture
def left(no_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a copy whose killed runs are closed, and whose text is where a training looks for it."""
    monkeypatch.setattr("torch.__version__", EXPECTED["torch"])  # an answer of another version is another answer
    unpacked(no_store)
    for each in runs_of(no_store):
        if each["status"] == "RUNNING" and not each["parent"]:
            doctor.close(each["id"])  # as of another machine: no command can tell that its process is gone
    load_corpus(CorpusConfig(str(no_store / TEXT)))  # into the cache, as the file is not where it was
    return no_store


def assert_as_expected(home: Path, *names: str) -> None:
    """Each of these trainings, PARENT/NAME, is recorded as 4aa78f6 recorded it, epoch by epoch."""
    ids = {f"{each['parent']}/{each['name']}": each["id"] for each in runs_of(home) if each["status"] == "FINISHED"}
    for name in names:
        expected = EXPECTED["runs"][name.removeprefix("/")]
        found = yardstick.history_of(home, ids[name])
        assert {key: found[key] for key in expected} == pytest.approx(expected, rel=AS_RECORDED), name


@pytest.mark.ci
@pytest.mark.slow
def test_the_training_that_was_cut_off_is_resumed(left):
    run_id = id_of(left, CUT_OFF)
    before = yardstick.history_of(left, run_id)
    step = continued(left, lambda: train_stage.resume(run_id, {}))
    after = yardstick.history_of(left, run_id)
    assert before.items() <= after.items()
    if step is not None:
        assert step.run_id == run_id
        assert step.result["epochs"] == CUT_OFF_EPOCHS
        assert_as_expected(left, f"/{CUT_OFF}")


def test_a_training_of_some_seconds_is_read_as_one_of_as_many_characters(left):
    run_id = id_of(left, BY_SECONDS)
    assert '"budget_seconds": 1' in recorded.run_of(run_id).tag("config")
    assert train_stage.options_like(run_id)["budget_chars"] > 0
    with pytest.raises(InputError, match=r"has nothing left to do|by recipe 5; this one trains by recipe"):
        train_stage.resume(run_id, {})


@pytest.mark.slow
def test_the_study_is_continued_and_no_trial_is_trained_again(left, monkeypatch):
    make_artifacts_plain(monkeypatch)
    given: list[TrainingTask] = []
    before = trials_of(left)
    done = continued(left, lambda: search_on(left, given))
    trials = trials_of(left)
    complete = [trial for trial in before if trial.state.name == "COMPLETE"]
    assert len(complete) == yardstick.TRIALS_BEFORE
    assert [(trials[trial.number].values, trials[trial.number].user_attrs) for trial in complete] == [
        (trial.values, trial.user_attrs) for trial in complete
    ]
    if done is None:
        return
    assert done.counts["trials"] == SEARCH["trials"]
    assert not {each.number for each in complete} & {task.number for task in given if task.role == "trial"}
    (lost,) = (each for each in before if each.state.name == "RUNNING")
    (begun,) = (each for each in runs_of(left) if each["tags"].get("trial") == str(lost.number))
    assert trials[lost.number].user_attrs["run_id"] == begun["id"]
    expected = {json.dumps(params): values for _, params, values in EXPECTED["trials"]}
    known = [trial for trial in trials if json.dumps(trial.params) in expected]  # rounding may lead to another proposal
    assert len(known) > len(complete)
    for trial in known:
        assert trial.values == pytest.approx(expected[json.dumps(trial.params)], rel=AS_RECORDED), trial.params


def search_on(home: Path, given: list[TrainingTask]) -> SearchRun:
    options = {name: value for name, value in SEARCH.items() if name != "corpus"}
    return search(SearchConfig(**options), CorpusConfig(str(home / TEXT)), make_pool=pool_with(given))


@pytest.mark.slow
def test_the_answer_is_continued_and_what_was_trained_is_used(left, monkeypatch):
    """With another recipe it is another answer, and what was trained stays as it was."""
    make_artifacts_plain(monkeypatch)
    leave_out_the_served_model(monkeypatch)
    for name, value in PLAN.items():
        monkeypatch.setattr(f"pipeline.answer.plan.{name}", value)
    runs = [each for each in runs_of(left) if each["tags"]["stage"] == "answer" or each["tags"].get("role") == "answer"]
    (earlier,) = (each["id"] for each in runs if not each["parent"])
    trained = {each["id"] for each in runs if each["parent"]}
    given: list[TrainingTask] = []
    options = {name: value for name, value in ANSWER.items() if name != "corpus"}
    done = answer(AnswerConfig(**options), CorpusConfig(str(left / TEXT)), make_pool=pool_with(given))
    ids = {each["run_id"] for each in done.result["trainings"]}
    assert {recorded.run_of(run_id).status for run_id in trained} == {"FINISHED"}
    if recipe_of(left) != RECIPE["stream"]:
        assert (done.run_id != earlier, ids & trained) == (True, set())
        return
    assert done.run_id == earlier
    assert trained < ids
    assert len(given) == len(ids) - len(trained)
    assert_as_expected(left, *(name for name in EXPECTED["runs"] if name.startswith("answer-yardstick")))


def test_with_another_recipe_all_is_read_and_nothing_is_continued(left, monkeypatch):
    monkeypatch.setitem(RECIPE, "stream", RECIPE["stream"] + 1)
    before = {each["id"]: each["status"] for each in runs_of(left)}
    assert continued(left, lambda: train_stage.resume(id_of(left, CUT_OFF), {})) is None
    assert continued(left, lambda: search_on(left, [])) is None
    assert {each["id"]: each["status"] for each in runs_of(left)} == before
    assert run("sample", id_of(left, BY_SECONDS), "--length", "5")[0] == 0
