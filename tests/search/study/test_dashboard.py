"""The note of a study, as optuna-dashboard itself reads it."""

import sys

import optuna
import pytest

from pipeline.search.study import dashboard


@pytest.mark.parametrize("bodies", [["a note"], ["0123456789" * 500, "a shorter one"]], ids=len)
def test_the_dashboard_shows_the_note_that_was_written_last_until_a_person_changes_it(bodies):
    shown = pytest.importorskip("optuna_dashboard")  # ``make`` installs it with the tools for tests
    study = optuna.create_study()
    for body in bodies:
        dashboard.write_note(study, body)
    assert shown.get_note(study) == bodies[-1]
    shown.save_note(study, "a person's")
    dashboard.write_note(study, "ours again")
    assert shown.get_note(study) == "a person's"


def test_without_the_dashboard_no_note_is_written(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    study = optuna.create_study()
    dashboard.write_note(study, "a note")
    assert study._storage.get_study_system_attrs(study._study_id) == {}
