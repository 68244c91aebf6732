"""Registered models: an alias belongs to a study of a text, and never moves to another unless it is told to."""

import pytest
from mlflow.entities import LoggedModelOutput
from mlflow.tracking import MlflowClient
from mlflow.tracking._tracking_service.utils import _get_store

from pipeline.errors import RecordingError
from pipeline.tracking.registry import REGISTERED_MODEL, Claim, Owner, Registration, register_picks
from pipeline.tracking.runs import tracked_run
from pipeline.training.summary import model_facts
from tests.export import made_up

HERE = Owner("search", "novel", "ab" * 32)
OTHER_STUDY = Owner("tiny", "novel", "ab" * 32)
OTHER_TEXT = Owner("search", "essay", "cd" * 32)


def trained(owner: Owner | None = HERE, has_model: bool = True) -> str:
    """The id of a finished training of a study, with a logged model unless it has none; or of a run of the user's."""
    tags = {"corpus": owner.corpus, "corpus.sha256": owner.corpus_sha256, "study": owner.study} if owner else {}
    with tracked_run("train", "lstm-1x8-s0", tags) as run:
        if owner:
            run.constants({"result/val_perplexity": 5.25, "size/macs_per_char": 1548.0})
        if has_model:
            experiment = run.client.get_run(run.id).info.experiment_id
            model = run.client.create_logged_model(experiment, "lstm-1x8", run.id)
            run.client.log_outputs(run.id, [LoggedModelOutput(model.model_id, 0)])
    return run.id


def registered(owner: Owner, pick: str = "best", claim: Claim = "free") -> tuple[str, Registration]:
    """The run of a new model that a study has picked, and its registration."""
    run_id = trained(owner)
    return run_id, register_picks({pick: (run_id, "It is the best.")}, owner, claim)[pick]


def run_named(alias: str) -> str:
    """The run whose model an alias names."""
    return str(MlflowClient().get_model_version_by_alias(REGISTERED_MODEL, alias).run_id)


@pytest.mark.parametrize(
    ("other", "aliases", "left"),
    [
        (OTHER_STUDY, ("tiny-best",), {"best": "study search on novel"}),
        (OTHER_TEXT, (), {"best": "study search on novel", "search-best": "study search on novel"}),
    ],
)
def test_another_study_or_text_leaves_the_aliases_where_they_are(store, other, aliases, left):
    before, _ = registered(HERE)
    _, registration = registered(other)
    assert registration == Registration("2", aliases, left)
    assert run_named("best") == run_named("search-best") == before


def test_another_text_takes_the_aliases_when_it_is_told_to(store):
    registered(HERE)
    run_id, registration = registered(OTHER_TEXT, claim="all")
    assert registration.left == {}
    assert run_named("best") == run_named("search-best") == run_id


def test_the_same_study_moves_its_aliases_to_its_new_pick(store):
    """The first study to register gets them."""
    assert registered(HERE)[1] == Registration("1", ("best", "search-best"), {})
    run_id, registration = registered(HERE)
    assert registration == Registration("2", ("best", "search-best"), {})
    assert run_named("best") == run_named("search-best") == run_id
    assert registered(HERE, claim="own")[1].aliases == ("search-best",)


def test_an_alias_that_a_user_gave_to_a_model_of_no_study_stays(store):
    register_picks({"knee": (trained(None), "By hand.")}, HERE)
    _, registration = registered(HERE, "knee")
    assert registration.left["knee"] == "version 1, a model of no study"


def test_an_alias_of_a_version_whose_run_is_gone_stays(store):
    run_id, _ = registered(HERE)
    _get_store()._hard_delete_run(run_id)  # as `mlflow gc` does
    assert registered(OTHER_STUDY)[1].left == {"best": "version 1, a model of no study"}


def test_a_version_and_the_registered_model_say_what_they_are(store):
    registered(HERE)
    registered(OTHER_STUDY)
    client = MlflowClient()
    version = client.get_model_version(REGISTERED_MODEL, "2")
    assert str(version.description).startswith("It is the best.\n\nStudy: tiny. Registered 20")
    assert version.tags == {"corpus": "novel", "study": "tiny"}
    lines = str(client.get_registered_model(REGISTERED_MODEL).description).splitlines()
    assert lines[-2].startswith("| `@tiny-best` | 2 | lstm-1x8-s0 | novel | tiny | 5.250 | 1,548 | 20")
    assert lines[-1].startswith("| `@best`, `@search-best` | 1 | lstm-1x8-s0 | novel | search | 5.250 | 1,548 | 20")


def test_a_version_has_the_facts_of_its_models_card(store, monkeypatch):
    run = made_up.training()
    monkeypatch.setattr("pipeline.tracking.registry.find_run", lambda run_id: run)
    registered(HERE)
    description = str(MlflowClient().get_model_version(REGISTERED_MODEL, "1").description)
    assert description.endswith(model_facts(run.configuration, run.result))


def test_a_description_that_a_user_has_written_is_left_alone(store):
    registered(HERE)
    MlflowClient().update_registered_model(REGISTERED_MODEL, "Mine.")
    registered(HERE)
    assert MlflowClient().get_registered_model(REGISTERED_MODEL).description == "Mine."


def test_a_run_without_a_model_can_not_be_registered(store):
    with pytest.raises(RecordingError, match="has no logged model to register as time-machine-lm"):
        register_picks({"best": (trained(has_model=False), "")}, HERE)
