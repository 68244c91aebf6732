"""Places of artifacts in the database: told as MLflow reads them, and mended after a move."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.cli import doctor
from pipeline.errors import InputError
from pipeline.tracking import recorded, runs
from pipeline.tracking.relocation import local_path, location_of
from pipeline.tracking.store import _setup, setup
from tests.checkout import Checkout


@pytest.mark.parametrize("name", ["plain", 'it\'s "so"', "a%20b", "#1?é"])
def test_the_address_of_a_folder_means_that_folder(name, tmp_path):
    from mlflow.utils.file_utils import local_file_uri_to_path

    folder = tmp_path / name / "mlruns"
    assert local_path(location_of(folder)) == folder
    assert Path(local_file_uri_to_path(location_of(folder))) == folder, "to MLflow too"


def everything(database: Path) -> list[str]:
    """All places in a database, for a comparison."""
    with closing(sqlite3.connect(database)) as connection:
        queries = ["artifact_location FROM experiments", "artifact_uri FROM runs", "source FROM model_versions"]
        return [place for query in queries for (place,) in connection.execute(f"SELECT {query}") if place]


def start_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new process does in this checkout."""
    monkeypatch.setattr("pipeline.tracking.store.root", lambda: folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # MLflow has set it
    _setup.cache_clear()


@pytest.fixture(params=["lab", "it's 100% a%20lab"])
def moved(request, store, monkeypatch, tmp_path) -> tuple[Path, Path, str]:
    """A store with a run in two experiments and a registered model, as it was moved; old folder, new one, run id."""
    with runs.tracked_run("prepare", "a run", {}) as run:
        run.text("note.txt", "kept")
    client = MlflowClient()
    second = client.create_experiment("second", f"{store}/mlruns/second")
    other = client.create_run(second)
    client.log_text(other.info.run_id, "kept", "note.txt")
    client.create_registered_model("m")
    client.create_model_version("m", f"file://{store}/mlruns/0/{run.id}/artifacts")
    new = tmp_path / "moved" / request.param
    new.parent.mkdir()
    shutil.move(store, new)
    start_in(new, monkeypatch)
    return store, new, run.id


def test_commands_in_a_moved_checkout_are_refused_until_it_is_repaired(moved):
    old, new, run_id = moved
    before = everything(new / "mlruns" / "mlflow.db")
    with pytest.raises(InputError, match=r"moved or copied.*; run `tmlm doctor --repair` first"):
        setup()
    assert everything(new / "mlruns" / "mlflow.db") == before, "nothing is rewritten"
    said = doctor.repair()
    assert recorded.read_text(run_id, "note.txt") == "kept"
    places = [local_path(place) for place in everything(new / "mlruns" / "mlflow.db")]
    assert len(places) == 5
    assert all(place and place.is_relative_to(new / "mlruns") and place.is_dir() for place in places)
    assert f"runs: 2 moved from {old}/mlruns to {new}/mlruns" in said
    (copy,) = (new / "mlruns").glob("mlflow.db.before-repair-*")
    assert everything(copy) == before
    assert doctor.repair() == ["nothing to repair"]
    with runs.tracked_run("prepare", "new", {}) as run:
        run.text("note.txt", "new")
    assert (new / "mlruns" / "0" / run.id / "artifacts" / "note.txt").is_file()
    assert not old.exists()


def test_what_is_not_found_is_left_and_said(moved):
    old, new, run_id = moved
    shutil.rmtree(new / "mlruns" / "0" / run_id)
    assert f"runs: 1 under {old}/mlruns are not under {new}/mlruns and unchanged" in doctor.repair()
    assert MlflowClient().get_run(run_id).info.artifact_uri.startswith(str(old))


@pytest.mark.slow
def test_a_checkout_that_was_moved_goes_on_in_its_new_place(tmp_path):
    """Through the commands: what is refused before the repair, and what works after it."""
    checkout = Checkout(tmp_path)
    train = ("python", "-m", "pipeline", "pipeline", "--hidden-size", "8", "--epochs", "1", "--batch-size", "64")
    checkout.run(*train)
    run, old = checkout.last("train"), checkout.folder
    checkout.folder = old.rename(tmp_path / "another place")
    checkout.database = checkout.folder / "mlruns" / "mlflow.db"
    sample = ("python", "-m", "pipeline", "sample", run["id"], "--length", "5")
    assert "run `tmlm doctor --repair` first" in checkout.run(*sample, code=2).stderr.splitlines()[-1]
    repaired = checkout.run("python", "-m", "pipeline", "doctor", "--repair").stdout
    assert f"runs: 5 moved from {old}/mlruns to {checkout.folder}/mlruns" in repaired
    assert checkout.run(*sample).stdout.startswith("it has")
    load = f"import mlflow; print(mlflow.pyfunc.load_model('runs:/{run['id']}/lstm-1x8').predict(['it has'])[0])"
    assert checkout.run("python", "-c", load).stdout.startswith("it has")
    again = checkout.run(*train, "--json").stdout
    assert json.loads(again)["reused"] == ["prepare", "train", "evaluate", "sample"]
    assert json.loads(again)["checkpoint"].startswith(str(checkout.folder))
    assert not old.exists()
