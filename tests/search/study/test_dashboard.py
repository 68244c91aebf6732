"""What optuna-dashboard shows of a study: notes that it reads itself, and pictures."""

import json

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta

from pipeline.search.study import dashboard


@pytest.fixture
def study(no_store) -> optuna.Study:
    return optuna.create_study()


@pytest.fixture
def shown() -> object:
    """The dashboard's module of notes; ``make`` installs it with the tools for tests."""
    return pytest.importorskip("optuna_dashboard._note")


@pytest.mark.parametrize("bodies", [["a note"], ["0123456789" * 500, "a shorter one"]], ids=len)
def test_the_dashboard_shows_the_note_that_was_written_last(study, shown, bodies):
    for body in bodies:
        dashboard.write_study_note(study, body)
    trial = study.ask()
    dashboard.write_note(study, "a trial", trial._trial_id)
    assert (shown.get_note(study), shown.get_note(trial)) == (bodies[-1], "a trial")


def test_a_note_that_a_person_has_changed_stays(study, shown):
    dashboard.write_study_note(study, "ours")
    shown.save_note(study, "a person's")
    dashboard.write_study_note(study, "ours again")
    assert shown.get_note(study) == "a person's"


def test_a_picture_takes_the_place_of_the_earlier_one_of_its_name(study):
    for png in (b"one", b"two"):
        dashboard.attach_picture(study, "pareto.png", png)
    (artifact,) = get_all_artifact_meta(study)
    assert (artifact.filename, artifact.mimetype) == ("pareto.png", "image/png")
    assert (dashboard.artifact_folder() / artifact.artifact_id).read_bytes() == b"two"
    study._storage.set_study_system_attr(study._study_id, f"artifacts:{artifact.artifact_id}", "null")  # as if deleted
    dashboard.attach_picture(study, "pareto.png", b"three")
    kept = study._storage.get_study_system_attrs(study._study_id)
    attached = [json.loads(value) for name, value in kept.items() if name.startswith("artifacts:")]
    assert [artifact["filename"] for artifact in attached if artifact] == ["pareto.png"]
