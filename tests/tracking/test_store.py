"""The store: one database, one experiment, artifacts beside it, whoever made it and however many at once."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from mlflow.tracking._model_registry.utils import _get_store as registry_store
from mlflow.tracking._tracking_service.utils import _get_store as tracking_store
from sqlalchemy import Connection, create_engine

from pipeline import api
from pipeline.config import SearchConfig
from pipeline.errors import InputError
from pipeline.search.study.storage import open_storage
from pipeline.tracking import runs
from pipeline.tracking.store import EXPERIMENT, KIND, TRAINING, setup, sqlite_address
from tests.checkout import ROOT
from tests.cli.commands import run
from tests.labs import execute, new_store, record, rows, store_at

HOST = """
import logging, os, signal, sys
import distributed, mlflow, sklearn, torch, requests.adapters  # sklearn sets two variables when it is imported
from mlflow.utils import request_utils
from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import Pool

LOGGERS = "", "mlflow", "alembic", "distributed", "distributed.client"
EVENTS = [getattr(each.dispatch, name) for each in (Engine, Pool) for name in each.dispatch._event_names]

def seen():
    return dict(enumerate((
        dict(os.environ), [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        sum(len(listeners) for each in EVENTS for listeners in each._clslevel.values()),
        request_utils.Retry, request_utils.TCPKeepAliveHTTPAdapter, requests.adapters.HTTPAdapter.send,
        torch.get_num_threads(), torch.get_rng_state().tolist(), torch.get_default_dtype(), mlflow.get_tracking_uri(),
        [logging.getLogger(each).level for each in LOGGERS], sys.excepthook, sys.path,
    )))


def changes():
    return {each: (now, before[each]) for each, now in seen().items() if now != before[each]}


os.environ["MLFLOW_TRACKING_URI"] = sys.argv[1]
before = seen()
import tmlm
from mlflow.telemetry import get_telemetry_client
import pipeline.stages.main, pipeline.search.run, pipeline.report.rewrite, pipeline.cluster.pool
assert not changes(), f"by an import: {changes()}"
tmlm.runs()
assert not changes(), f"by a call: {changes()}"
assert get_telemetry_client() is None
"""


def test_mlflow_opens_the_address_of_a_file_and_creates_no_other_folder(empty_database, tmp_path):
    for name in ("Größe", "100%", "a%20b?#é\n"):
        (tmp_path / name).mkdir()
        file = shutil.copy(empty_database, tmp_path / name)
        assert MlflowClient(sqlite_address(file)).get_experiment("0")
    assert len([*tmp_path.iterdir()]) == 3


@pytest.mark.slow
@pytest.mark.ci
def test_the_host_process_is_as_before_after_an_import_and_after_a_call(empty_database, tmp_path):
    """And nothing is sent to MLflow's makers."""
    shutil.copy(empty_database, tmp_path / "other.db")
    words = [sys.executable, "-c", HOST, f"sqlite:///{tmp_path}/other.db"]
    kept = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_DISABLE_TELEMETRY", "CI")}
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True, env=kept)
    assert done.returncode == 0, done.stderr


def test_our_databases_sync_the_deletion_of_a_journal_and_no_other_engine_is_changed(empty_store):
    with store_at(empty_store):
        uri = setup().uri
        engines = tracking_store(uri).engine, registry_store().engine, open_storage(SearchConfig()).engine
    extra, full = 3, 2
    for engine in engines:
        with engine.connect() as pooled, engine.connect() as fresh:
            pooled.exec_driver_sql("PRAGMA synchronous=OFF")
            assert synchronous(fresh) == extra
        with engine.connect() as pooled:
            assert synchronous(pooled) == extra
    with create_engine(uri).connect() as connection:
        assert synchronous(connection) == full


def synchronous(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())


def test_the_store_is_made_once_with_wal_our_experiment_and_artifacts_beside_it(empty_store):
    with store_at(empty_store):
        made = setup()
        assert setup() is made
    database = empty_store / "mlruns" / "mlflow.db"
    assert made.database == database
    assert rows(database, "PRAGMA journal_mode") == [("wal",)]
    assert rows(database, "SELECT experiment_id, name, artifact_location FROM experiments") == [
        (0, EXPERIMENT, str(empty_store / "mlruns" / "0"))
    ]


def test_an_experiment_that_the_ui_made_first_is_mended(no_store, empty_database, monkeypatch):
    """`mlflow ui` in a fresh checkout gives experiment 0 a location that only its server can write to."""
    database = new_store(no_store, empty_database) / "mlruns" / "mlflow.db"
    execute(database, "UPDATE experiments SET artifact_location='mlflow-artifacts:/0'")
    begun = MlflowClient(f"sqlite:///{database}").create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", begun)
    with runs.tracked_run("train", "a run", {}) as run:
        run.text("note.txt", "kept")
    assert run.id == begun
    assert (no_store / "mlruns" / "0" / run.id / "artifacts" / "note.txt").read_text() == "kept"


def test_another_store_is_left_as_it_is(no_store, empty_database, monkeypatch, tmp_path):
    shutil.copy(empty_database, tmp_path / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    assert setup().database is None
    query = "SELECT name, artifact_location FROM experiments ORDER BY experiment_id"
    (default, _), ours = rows(tmp_path / "other.db", query)
    assert (default, ours) == ("Default", (EXPERIMENT, str(tmp_path / EXPERIMENT)))
    assert not (no_store / "mlruns").exists()


def test_the_database_of_a_server_that_keeps_the_artifacts_is_refused_without_that_server(
    no_store, empty_database, monkeypatch, tmp_path
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/server.db")
    shutil.copy(empty_database, tmp_path / "server.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/server.db")
    MlflowClient().create_experiment(EXPERIMENT, "mlflow-artifacts:/1")
    with pytest.raises(InputError, match=r"mlflow-artifacts:/1.*set MLFLOW_TRACKING_URI to the address of that server"):
        setup()


def test_our_store_named_by_mlflow_run_is_still_ours(store, monkeypatch):
    (store / "mlflow.db").symlink_to("mlruns/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    assert setup().database == store / "mlruns" / "mlflow.db"


def test_an_experiment_of_another_name_has_its_artifacts_beside_the_database(store, monkeypatch, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "my own")
    with runs.tracked_run("train", "a run", {}) as run:
        run.text("note.txt", "kept")
    assert (store / "mlruns" / "my_own" / run.id / "artifacts" / "note.txt").is_file()
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("kind", [TRAINING, "genai_development"])
def test_an_experiment_without_a_kind_gets_that_of_training_as_the_ui_names_it(store, monkeypatch, kind):
    made = MlflowClient(setup().uri).create_experiment("my own", tags={} if kind == TRAINING else {KIND: kind})
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", made)
    assert MlflowClient(setup().uri).get_experiment(made).tags[KIND] == kind
    (ui,) = Path(mlflow.__file__).parent.glob("server/js/build/static/js/main.*.js")
    assert f'="{kind}"' in ui.read_text(), "MLflow has no constant for it but in the script of its UI"


def test_a_path_that_is_too_long_for_sqlite_is_told(no_store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:////{'long/' * 99}mlflow.db")
    with pytest.raises(InputError, match="has 505 bytes, and SQLite takes paths of 500: set MLFLOW_TRACKING_URI to a"):
        setup()


def test_an_experiment_that_another_process_creates_meanwhile_is_used(store, monkeypatch):
    create = MlflowClient.create_experiment
    monkeypatch.setattr(MlflowClient, "create_experiment", lambda *args: (create(*args), create(*args)))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "new")
    experiment_id = setup().experiment_id
    assert MlflowClient().get_experiment(experiment_id).name == "new"


@pytest.mark.parametrize(("asked", "level"), [("", logging.WARNING), ("info", logging.INFO)])
def test_mlflow_logs_warnings_only_unless_more_is_asked_for(store, monkeypatch, asked, level):
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", asked)
    monkeypatch.setattr(logging.getLogger("mlflow"), "level", logging.NOTSET)
    setup()
    assert logging.getLogger("mlflow").level == level


@pytest.mark.parametrize("tag", [{"key": 5, "value": "x"}, {"key": "x", "value": ["x"]}])
def test_an_answer_of_a_server_with_another_type_is_refused_in_a_sentence(mlflow_server, tmp_path, tag):
    run_id = record("gru")
    found = {"info": {"run_id": run_id}, "data": {"tags": [tag]}}
    for path, answer in {"runs/search": {"runs": [found]}, "runs/get": {"run": found}}.items():
        mlflow_server.refuse(path, status=200, body=json.dumps(answer).encode())
    place = f"sqlite:///{tmp_path}/other.db"
    commands = ["push", place, run_id], ["open", run_id], ["note", run_id], ["export", run_id, "-o", f"{tmp_path}/out"]
    for words in (*commands, ["delete", "--weights", "--yes", run_id], ["runs"]):
        code, _, said = run(*words)
        assert (code, "Error: MLFLOW_TRACKING_URI http://127.0.0.1" in said) == (2, True), said
    with pytest.raises(InputError, match="can't be used: Failed to parse"):
        api.runs()
