"""What a shell completes is read from the database as MLflow has made it."""

import subprocess
import sys

import pytest

from pipeline.tracking import completion
from pipeline.tracking.runs import tracked_run
from pipeline.tracking.store import setup
from tests.checkout import ROOT


@pytest.fixture
def named_store(store, monkeypatch):
    """A store that MLFLOW_TRACKING_URI names."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlruns/mlflow.db")
    return store


def recorded(name: str, stage: str = "train") -> str:
    with tracked_run(stage, name, {}) as run:
        pass
    return run.id


def test_runs_of_a_stage_are_completed_the_latest_first(named_store):
    older, newer = recorded("older"), recorded("newer")
    recorded("other", stage="reproduce")
    assert completion.runs("", "train") == [(newer[:8], "newer"), (older[:8], "older")]
    assert completion.runs(newer[:10], "train") == [(newer, "newer")]


def test_without_a_named_store_the_file_is_the_one_that_commands_record_in(store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(completion, "ROOT", store)
    (store / "MLproject").touch()
    assert completion._database() == setup().database


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////no/such/file.db", "sqlite:///{file}"])
def test_a_store_that_is_no_database_here_completes_nothing(monkeypatch, tmp_path, uri):
    (tmp_path / "file.db").write_text("no database")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(file=tmp_path / "file.db"))
    assert completion.runs("", "train") == []


def test_completion_imports_nothing_heavy():
    script = (
        "import sys\nfrom pipeline.cli import completion\ncompletion.MODEL.shell_complete(None, None, '')\n"
        "print([m for m in ('torch', 'mlflow', 'numpy', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
