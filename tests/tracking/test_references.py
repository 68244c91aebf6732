"""What a reference names: a run, a study or a pick; and the training and the checkpoint behind it."""

import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import InputError
from pipeline.stages.evaluate import TrainedModel
from pipeline.tracking.artifacts import RESULT_FILE
from pipeline.tracking.references import checkpoint_of, find, training_of
from pipeline.tracking.registry import REGISTERED_MODEL
from pipeline.tracking.runs import tracked_run
from tests.labs import TINY_NAME, record
from tests.made_up import SEARCH


def pick(run_id: str, *aliases: str) -> None:
    """Give a run's model these aliases."""
    client = MlflowClient()
    if not client.search_registered_models():
        client.create_registered_model(REGISTERED_MODEL)
    version = client.create_model_version(REGISTERED_MODEL, f"runs:/{run_id}/model", run_id).version
    for alias in aliases:
        client.set_registered_model_alias(REGISTERED_MODEL, alias, version)


def test_four_characters_name_a_run_unless_several_ids_begin_with_them(store, monkeypatch):
    ids = iter(["abcd" + "0" * 28, "abcd" + "1" * 28])
    monkeypatch.setattr("mlflow.store.tracking.sqlalchemy_store.uuid.uuid4", lambda: type("U", (), {"hex": next(ids)}))
    first = record("lstm-1x8-s0", stage="prepare")
    assert find("abcd").id == first
    record("gru-1x8-s0", corpus="novel")
    refusal = r"--close abcd names several runs: gru-1x8-s0 on novel, run abcd1111; lstm-1x8-s0, run abcd0000\."
    with pytest.raises(InputError, match=refusal):
        find("abcd", "--close ")
    assert find("abcd0").id == first


def test_what_names_no_run_is_refused_with_what_may_be_given(store):
    for reference in ("", "abc", "%%%%", "it's", 'it\'s "best"', "a\0b", "no/such/file"):
        with pytest.raises(InputError, match=r"is not a run of .*mlflow\.db; give a run id or its first 4 or more"):
            find(reference)


def test_a_misspelt_name_gets_a_suggestion(store):
    record("search-search", stage="search", study="search")
    record("gru-1x8-s0")
    for given, meant in {"lates": "latest", "latest~x": "latest", "serch": "search", "gru-1x8s0": "gru-1x8-s0"}.items():
        for look_up in (find, checkpoint_of):
            with pytest.raises(InputError, match=rf"\(did you mean {meant}\?\); give a run id"):
                look_up(given)


def test_latest_counts_back_over_finished_trainings_alone(store):
    with pytest.raises(InputError, match="no training has finished yet; run"):
        find("latest")
    older, newer, deleted = record("older"), record("newer"), record("deleted")
    MlflowClient().delete_run(deleted)
    record("evaluation", stage="evaluate")
    record("failed", error=ValueError("half way"))
    assert [find("latest").id, find("latest~0").id, find("latest~1").id] == [newer, newer, older]
    with pytest.raises(InputError, match=r"latest~2: only 2 trainings of yours have finished"):
        find("latest~2")


def test_latest_is_a_training_that_a_person_started(store):
    """Not a trial, nor a confirmation, nor a part of an answer or of a reproduction."""
    pick(record("trial", role="trial", study="search"), "search-best")
    record("part", role="answer", study="answer-novel")
    with pytest.raises(
        InputError, match=r"1 training of answer-novel and 1 training of search: give a pick \(@search-best\)"
    ):
        find("latest")
    own = record("own")
    record("confirmation", role="confirmation", study="search")
    assert find("latest").id == own


def test_a_run_and_a_study_are_named_unless_two_bear_the_name(store):
    search = record("search-tiny", stage="search", study="tiny")
    trial = record("gru-1x8-s0", role="trial", study="tiny")
    assert (find("tiny").id, find("search-tiny").id, find("gru-1x8-s0").id) == (search, search, trial)
    record("tiny", corpus="novel")
    with pytest.raises(InputError, match=rf"tiny names several runs: tiny on novel, .*; search-tiny, run {search[:8]}"):
        find("tiny")


def searched(study: str, text: str, **params: str) -> str:
    """The run of a study's knee on a text, whose search has these parameters."""
    with tracked_run("search", f"search-{study}", {"study": study, "corpus": text, "corpus.sha256": text}) as search:
        search.params({"max_seconds": "0.0", **params})
    trial = record("gru-1x8-s0", role="trial", study=study, corpus=text, corpus_sha256=text)
    pick(trial, f"{study.replace(' ', '-')}-knee")
    return trial


def test_a_pick_alone_is_that_of_the_latest_full_search_of_the_text_that_is_named_or_was_searched_last(store, caplog):
    with pytest.raises(InputError, match="@knee is no pick of a search; there is none"):
        find("@knee")
    first = searched("quick-novel", "novel", epochs="2")
    pick(first, "knee")  # as earlier versions did
    assert find("@knee").id == first
    novel = searched("search-novel", "novel")
    searched("brief", "novel", max_seconds="5.0")
    caplog.set_level("INFO", "pipeline")
    caplog.clear()
    assert find("@knee").id == find("@search-novel-knee").id == novel
    assert caplog.messages[0] == f"gru-1x8-s0 on novel, run {novel[:8]}, of study search-novel"
    essay = searched("my study", "essay", epochs="1")
    assert [find(f"@{name}").id for name in ("knee", "my study-knee")] == [essay] * 2
    assert [training_of("@knee", "", text).id for text in ("novel", "never searched")] == [novel, essay]
    pick(first, "search-novel-small")  # as earlier versions did
    assert {find(name).id for name in ("@search-novel-small", "@search-novel-lean")} == {first}
    pick(novel, "my-study-lean")
    assert {find(name).id for name in ("@small", "@lean", "@my-study-small")} == {novel}
    assert "@small is called @lean" in caplog.messages
    with pytest.raises(InputError, match=r"@best is no pick of a search; there are @"):
        find("@best")


def test_what_a_reference_names_is_said_unless_it_is_a_full_id(trained, caplog):
    caplog.set_level("INFO", "pipeline")
    TrainedModel.find(trained.run_id)
    assert caplog.messages == []
    file = trained.result["checkpoint"]
    for reference in ("latest", TINY_NAME, file):
        TrainedModel.find(reference)
    said = f"{TINY_NAME} on topics, run {trained.run_id[:8]}"
    assert caplog.messages == [said, said, f"lstm-1x8-s0 on topics, {file}"]


def test_a_run_that_is_about_a_training_stands_for_it_and_a_search_for_its_knee(trained):
    with tracked_run("search", "search-tiny", {"study": "tiny"}) as search:
        search.json(RESULT_FILE, {**SEARCH, "picks": {"knee": {"run_id": trained.run_id, "sentence": "It is."}}})
    sample = record("sample", stage="sample", trained_run=trained.run_id)
    for reference in (trained.run_id[:8], sample, "tiny"):
        assert checkpoint_of(reference)[1] == training_of(reference).id == trained.run_id
    of_itself = record("of itself", stage="sample")
    MlflowClient().set_tag(of_itself, "mlflow.tmlm.trained_run", of_itself)
    for without in (record("prepare", stage="prepare"), record("search-x", stage="search", study="x"), of_itself):
        with pytest.raises(InputError, match="without a "):
            checkpoint_of(without)
