"""Places of artifacts in the database: told as MLflow reads them, and mended after a move."""

import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.config import resolve
from pipeline.errors import InputError
from pipeline.runs import doctor
from pipeline.stages.train import train
from pipeline.tracking import runs
from pipeline.tracking.relocation import PATH_COLUMNS, local_path, location_of
from pipeline.tracking.store import _setup, setup
from tests.labs import TINY, everything, rows


@pytest.mark.parametrize("name", ["plain", 'it\'s "so"', "a%20b", "#1?é"])
def test_the_address_of_a_folder_means_that_folder(name, tmp_path):
    from mlflow.utils.file_utils import local_file_uri_to_path

    folder = tmp_path / name / "mlruns"
    assert local_path(location_of(folder)) == folder
    assert Path(local_file_uri_to_path(location_of(folder))) == folder, "to MLflow too"


def start_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new process does in this checkout."""
    monkeypatch.setattr("pipeline.tracking.store.root", lambda: folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # MLflow has set it
    _setup.cache_clear()


@pytest.fixture(params=["lab", "it's 100% a%20lab"])
def moved(request, trained, no_store, monkeypatch, tmp_path) -> tuple[Path, Path, str]:
    """A store with a training, whose model is registered, and a run of another experiment, as it was moved.

    The old folder, the new one, and the id of the training.
    """
    client = MlflowClient()
    second = client.create_experiment("second", f"{no_store}/mlruns/second")
    client.log_text(client.create_run(second).info.run_id, "kept", "note.txt")
    (model,) = client.search_logged_models(["0"])
    client.create_registered_model("m")
    client.create_model_version("m", f"file://{model.artifact_location}")
    new = tmp_path / "moved" / request.param
    new.parent.mkdir()
    shutil.move(no_store, new)
    start_in(new, monkeypatch)
    return no_store, new, trained.run_id


def test_commands_in_a_moved_checkout_are_refused_until_it_is_repaired(moved, corpus):
    old, new, run_id = moved
    database = new / "mlruns" / "mlflow.db"
    before = everything(database)
    with pytest.raises(InputError, match=r"moved or copied.*; run `tmlm doctor --repair` first"):
        setup()
    assert everything(database) == before, "nothing is rewritten"
    said = doctor.repair()
    assert f"runs: 2 moved from {old}/mlruns to {new}/mlruns" in said
    assert str(old) not in everything(database)
    found = [f"SELECT {column} FROM {table}" for table, column in PATH_COLUMNS]
    places = [local_path(place) for query in found for (place,) in rows(database, query)]
    assert len(places) == 7
    assert all(place and place.is_relative_to(new / "mlruns") and place.is_dir() for place in places)
    (copy,) = (new / "mlruns").glob("mlflow.db.before-repair-*")
    assert everything(copy) == before
    assert doctor.repair() == ["nothing to repair"]
    again = train(corpus, *resolve(TINY), reuse=True)
    assert (again.run_id, Path(str(again.result["checkpoint"])).is_relative_to(new)) == (run_id, True)
    with runs.tracked_run("prepare", "new", {}) as run:
        run.text("note.txt", "new")
    assert (new / "mlruns" / "0" / run.id / "artifacts" / "note.txt").is_file()
    assert not old.exists()
