"""Registered models: an alias belongs to a study of a text, and no other study can take it over."""

import pytest
from mlflow.tracking import MlflowClient
from mlflow.tracking._tracking_service.utils import _get_store

from pipeline.errors import InputError, RecordingError
from pipeline.tracking.registry import REGISTERED_MODEL, check_aliases, register_picks
from pipeline.training.sentences import model_facts
from tests.labs import record, training
from tests.pages import made_up

SHA256 = "ab" * 32  # of the text


def registered(study: str = "search") -> tuple[str, str]:
    """The run of a new model that a study has picked, and its alias."""
    run_id = training("lstm-1x8-s0", study=study, **{"corpus.sha256": SHA256})
    return run_id, register_picks({"best": (run_id, "It is the best.")}, study, "novel")["best"]


def run_named(alias: str) -> str:
    """The run whose model an alias names."""
    return str(MlflowClient().get_model_version_by_alias(REGISTERED_MODEL, alias).run_id)


def test_a_study_moves_its_own_aliases_and_no_bare_one_and_keeps_what_a_user_has_written(store):
    before, alias = registered()
    MlflowClient().set_registered_model_alias(REGISTERED_MODEL, "best", "1")  # as earlier versions did
    MlflowClient().update_registered_model(REGISTERED_MODEL, "Mine.")
    after, same = registered()
    assert MlflowClient().get_registered_model(REGISTERED_MODEL).description == "Mine."
    assert (alias, same) == ("search-best", "search-best")
    assert (run_named("search-best"), run_named("best")) == (after, before)
    check_aliases("search", SHA256)


def test_a_resumed_study_moves_the_alias_that_it_had_under_an_earlier_name_along(store):
    registered()
    MlflowClient().set_registered_model_alias(REGISTERED_MODEL, "search-small", "1")
    lean = training("gru-1x8-s0", study="search", **{"corpus.sha256": SHA256})
    assert register_picks({"lean": (lean, "It is lean.")}, "search", "novel") == {"lean": "search-lean"}
    assert run_named("search-small") == run_named("search-lean") == lean


def test_a_name_whose_aliases_are_those_of_another_study_or_text_is_refused(store):
    registered("my-study")
    for study, corpus_sha256 in (("my study", SHA256), ("my-study", "cd" * 32)):
        with pytest.raises(InputError, match="its alias @my-study-best names version 1 of time-machine-lm"):
            check_aliases(study, corpus_sha256)


def test_a_study_whose_runs_are_gone_keeps_its_aliases(store):
    run_id, _ = registered()
    _get_store()._hard_delete_run(run_id)  # as `mlflow gc` does
    check_aliases("search", SHA256)


def test_a_version_and_the_registered_model_say_what_they_are(store, monkeypatch):
    run = made_up.training()
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.tracking.registry.find_run", lambda run_id: run)
        registered()
    client = MlflowClient()
    said = str(client.get_model_version(REGISTERED_MODEL, "1").description)
    assert said.endswith(model_facts(run.configuration, run.result))
    registered("tiny")
    version = client.get_model_version(REGISTERED_MODEL, "2")
    assert str(version.description).startswith("It is the best.\n\nStudy: tiny. Registered 20")
    assert version.tags == {"corpus": "novel", "study": "tiny"}
    lines = str(client.get_registered_model(REGISTERED_MODEL).description).splitlines()
    assert lines[-2].startswith("| `@tiny-best` | 2 | lstm-1x8-s0 | novel | tiny | 9.000 | 1,548 | 20")
    assert lines[-1].startswith("| `@search-best` | 1 | lstm-1x8-s0 | novel | search | 9.000 | 1,548 | 20")


def test_a_run_without_a_model_can_not_be_registered(store):
    with pytest.raises(RecordingError, match="has no logged model to register as time-machine-lm"):
        register_picks({"best": (record("lstm-1x8-s0"), "")}, "search", "novel")
