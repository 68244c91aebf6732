"""Places of artifacts in the database: told as MLflow reads them, and mended after a move."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.cli import doctor
from pipeline.tracking import records, runs
from pipeline.tracking.relocation import local_path, location_of, mend
from pipeline.tracking.store import setup
from tests.checkout import Checkout


@pytest.mark.parametrize("name", ["plain", "with space", 'it\'s "so"', "100%", "a%20b", "#1", "what?", "é"])
def test_the_address_of_a_folder_means_that_folder(name, tmp_path):
    from mlflow.utils.file_utils import local_file_uri_to_path

    folder = tmp_path / name / "mlruns"
    assert local_path(location_of(folder)) == folder
    assert Path(local_file_uri_to_path(location_of(folder))) == folder, "to MLflow too"


def test_a_plain_folder_is_its_own_address(tmp_path):
    assert location_of(tmp_path / "mlruns") == str(tmp_path / "mlruns")
    assert local_path("s3://bucket/mlruns") is None
    assert local_path("mlflow-artifacts:/0") is None


def everything(database: Path) -> list[str]:
    """All places in a database, for a comparison."""
    with closing(sqlite3.connect(database)) as connection:
        queries = ["artifact_location FROM experiments", "artifact_uri FROM runs", "source FROM model_versions"]
        return [place for query in queries for (place,) in connection.execute(f"SELECT {query}") if place]


def start_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a new process does in this checkout."""
    monkeypatch.setattr("pipeline.tracking.store.root", lambda: folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # MLflow has set it
    setup.cache_clear()


def path_of(place: str) -> Path:
    path = local_path(place)
    assert path is not None
    return path


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


def test_repair_finds_everything_under_the_new_folder_again(moved):
    old, new, run_id = moved
    with pytest.raises(FileNotFoundError):
        records.read_text(run_id, "note.txt")
    said = doctor.repair()
    assert records.read_text(run_id, "note.txt") == "kept"
    places = everything(new / "mlruns" / "mlflow.db")
    assert len(places) == 5
    assert all(path_of(place).is_relative_to(new / "mlruns") for place in places)
    assert all(path_of(place).is_dir() for place in places)
    assert f"runs: 2 moved from {old}/mlruns to {new}/mlruns" in said
    assert not old.exists()


def test_repair_keeps_a_copy_of_the_database_and_does_nothing_twice(moved):
    old, new, _ = moved
    doctor.repair()
    (copy,) = (new / "mlruns").glob("mlflow.db.before-repair-*")
    assert all(str(old) in place for place in everything(copy)[1:])
    before = everything(new / "mlruns" / "mlflow.db")
    assert doctor.repair() == ["nothing to repair"]
    assert everything(new / "mlruns" / "mlflow.db") == before
    assert len(list((new / "mlruns").glob("*before-repair*"))) == 1


def test_new_runs_are_recorded_in_the_new_folder_and_the_old_ones_are_spoken_of(moved, monkeypatch, caplog):
    old, new, _ = moved
    for experiment in ("time-machine-lm", "second"):
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", experiment)
        setup.cache_clear()
        with runs.tracked_run("prepare", "new", {}) as run:
            run.text("note.txt", "new")
        assert path_of(run.artifact_uri).is_relative_to(new / "mlruns")
        assert records.read_text(run.id, "note.txt") == "new"
    assert f"Runs that were recorded under {old}/mlruns: 2; `tmlm doctor --repair`" in caplog.text
    assert not old.exists()


def test_a_run_that_mlflow_run_has_begun_in_a_moved_checkout_records_there(moved, monkeypatch):
    old, new, _ = moved
    client = MlflowClient(f"sqlite:///{new}/mlruns/mlflow.db".replace("%", "%25"))
    begun = client.create_run("0")
    assert str(old) in begun.info.artifact_uri
    monkeypatch.setenv("MLFLOW_RUN_ID", begun.info.run_id)
    with runs.tracked_run("prepare", "begun", {}) as run:
        run.text("note.txt", "new")
    assert (new / "mlruns" / "0" / run.id / "artifacts" / "note.txt").is_file()
    assert not old.exists()


def test_a_copy_is_mended_to_its_own_artifacts(store, monkeypatch, tmp_path):
    with runs.tracked_run("prepare", "a run", {}) as run:
        run.text("note.txt", "kept")
    shutil.copytree(store, tmp_path / "copy")
    start_in(tmp_path / "copy", monkeypatch)
    doctor.repair()
    assert records.artifact_path(run.id, "note.txt") == tmp_path / f"copy/mlruns/0/{run.id}/artifacts/note.txt"


def test_what_is_not_found_is_left_and_said(moved):
    old, new, run_id = moved
    shutil.rmtree(new / "mlruns" / "0" / run_id)
    said = mend(new / "mlruns" / "mlflow.db", 5)
    assert f"runs: 1 under {old}/mlruns have no counterpart under {new}/mlruns and are unchanged" in said
    assert (
        MlflowClient(f"sqlite:///{new}/mlruns/mlflow.db".replace("%", "%25"))
        .get_run(run_id)
        .info.artifact_uri.startswith(str(old))
    )


def test_an_experiment_that_was_put_elsewhere_on_purpose_stays_there(store, tmp_path):
    setup()
    elsewhere = MlflowClient().create_experiment("elsewhere", f"{tmp_path}/mlruns/mine")
    setup.cache_clear()
    setup()
    assert doctor.repair() == [
        f"experiments: 1 under {tmp_path}/mlruns have no counterpart under {store}/mlruns and are unchanged"
    ]
    assert MlflowClient().get_experiment(elsewhere).artifact_location == f"{tmp_path}/mlruns/mine"


@pytest.mark.slow
def test_a_checkout_that_was_moved_goes_on_in_its_new_place(tmp_path):
    """Through the commands: what is said before the repair, and what works after it."""
    checkout = Checkout(tmp_path)
    train = ("python", "-m", "pipeline", "pipeline", "--hidden-size", "8", "--epochs", "1", "--batch-size", "64")
    checkout.run(*train)
    run, old = checkout.last("train"), checkout.folder
    checkout.folder = old.rename(tmp_path / "another place")
    checkout.database = checkout.folder / "mlruns" / "mlflow.db"
    sample = ("python", "-m", "pipeline", "sample", run["id"], "--length", "5")
    refused = checkout.run(*sample, code=2).stderr.splitlines()
    assert refused[-1].startswith(f"Error: MODEL {run['id']} ({run['name']}) has lost its artifacts: {old}/")
    assert refused[-1].endswith("`tmlm doctor --repair` finds them again")

    repaired = checkout.run("python", "-m", "pipeline", "doctor", "--repair").stdout
    assert f"runs: 5 moved from {old}/mlruns to {checkout.folder}/mlruns" in repaired
    assert checkout.run(*sample).stdout.startswith("it has")
    load = f"import mlflow; print(mlflow.pyfunc.load_model('runs:/{run['id']}/lstm-1x8').predict(['it has'])[0])"
    assert checkout.run("python", "-c", load).stdout.startswith("it has")
    again = checkout.run(*train, "--json").stdout
    assert json.loads(again)["reused"] == ["prepare", "train", "evaluate", "sample"]
    assert json.loads(again)["checkpoint"].startswith(str(checkout.folder))
    assert all(path_of(each["artifacts"]).is_relative_to(checkout.folder) for each in checkout.runs())
    assert not old.exists()
