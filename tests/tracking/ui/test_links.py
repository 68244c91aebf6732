"""Links to the UI and the command that starts it: of our own store, another database and a tracking server."""

import json
import os
import shlex
import shutil
import socket
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from mlflow.tracking import MlflowClient

from pipeline.tracking.program import command
from pipeline.tracking.store import Store, _setup, setup
from pipeline.tracking.ui import links as links_module
from tests.checkout import ROOT


@pytest.fixture
def tracking_server(monkeypatch: pytest.MonkeyPatch) -> str:
    """Make the store a server with a password and a path; returns the address at which a browser opens its UI."""
    monkeypatch.setattr(links_module, "setup", lambda: Store("https://u:secret@server:8080/mlflow/", "7", None))
    return "https://server:8080/mlflow"


def test_links_lead_to_the_servers_own_ui_on_the_side_that_has_trainings(tracking_server):
    runs, side = f"{tracking_server}/#/experiments/7/runs", "workflowType=machine_learning"
    assert links_module.link_to_run("abc") == f"{runs}/abc?{side}"
    assert links_module.link_to_curves("abc") == f"{runs}/abc/model-metrics?{side}"
    assert links_module.link_to_search("abc") == f"{runs}?{side}&viewStateShareKey=search-abc&compareRunsMode=CHART"


# --- what is printed works when it is pasted -------------------------------------------------------------------------


@pytest.fixture
def script(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script of an environment in a folder with a space, first on the PATH; no UI is running."""
    monkeypatch.setattr(links_module, "shows", lambda port, store: False)
    script = tmp_path / "my env" / "bin" / "tmlm"
    script.parent.mkdir(parents=True)
    script.touch(0o755)
    monkeypatch.setattr(sysconfig, "get_path", lambda kind: str(script.parent))
    monkeypatch.setattr(sys, "prefix", str(script.parent.parent))
    for name in ("MAKELEVEL", "MLFLOW_RUN_ID", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return script


def test_the_shell_finds_the_script_of_an_activated_environment_and_has_not_makes_path(script, monkeypatch):
    assert command() == "tmlm"
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.delenv("VIRTUAL_ENV")
    assert links_module.link_line("run", "LINK") == "run  LINK\n(start the UI with: 'my env/bin/tmlm' ui)"
    script.unlink()
    assert command() == f"PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} -m pipeline"


def test_another_file_than_our_store_is_named_as_a_shell_reads_it(script, empty_database, monkeypatch, tmp_path):
    """As after ``mlflow run CHECKOUT`` in another folder: MLflow names that folder's database to its child alone."""
    (tmp_path / "my folder").mkdir()
    shutil.copy(empty_database, tmp_path / "my folder" / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/my folder/other.db")
    _setup.cache_clear()
    assert shlex.split(command()) == [f"MLFLOW_TRACKING_URI=sqlite:///{tmp_path}/my folder/other.db", "tmlm"]


# --- the port that answers -------------------------------------------------------------------------------------------


@contextmanager
def answering(location: str) -> Iterator[int]:
    """An MLflow server whose experiment has its artifacts there; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/api/2.0/mlflow/experiments/get?experiment_id=0"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"experiment": {"artifact_location": location}}).encode())

        def log_message(self, *what: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield listening.server_port
        finally:
            listening.shutdown()
            thread.join()


@pytest.fixture
def location(store: Path) -> str:
    """Where the store's artifacts lie."""
    return str(MlflowClient(setup().uri).get_experiment("0").artifact_location)


def test_links_lead_to_the_usual_port_where_a_ui_of_this_store_answers(location, monkeypatch):
    with answering(location) as port:
        monkeypatch.setattr(links_module, "PORT", port)
        assert links_module.link_to_run("abc").startswith(f"http://127.0.0.1:{port}/#/experiments/")
        assert links_module.link_line("run", "LINK") == "run  LINK"


def test_links_lead_to_the_port_that_tmlm_ui_has_taken(location, store, monkeypatch):
    with answering("/elsewhere/mlruns/0") as usual, answering(location) as port:
        monkeypatch.setattr(links_module, "PORT", usual)
        (store / "mlruns" / ".ui-port").write_text(str(port))
        assert links_module.link_to_run("abc").startswith(f"http://127.0.0.1:{port}/")


def test_a_port_of_something_else_is_not_ours_and_links_lead_to_the_one_that_would_be_taken(location, monkeypatch):
    with answering("/elsewhere/mlruns/0") as usual:
        monkeypatch.setattr(links_module, "PORT", usual)
        link = links_module.link_to_run("abc")
        port = int(link.removeprefix("http://127.0.0.1:").split("/")[0])
        assert usual < port == links_module.free_port(usual)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(links_module, "UI_SECONDS", 0.1)
        assert not links_module.shows(silent.getsockname()[1], setup())


def test_a_damaged_note_of_the_port_is_as_good_as_none(store):
    for note in (b"abc", b"5000 5001 x", b"5" * 5000, b"99999", b"-1", b"", b"\xff\n"):
        (store / "mlruns" / ".ui-port").write_bytes(note)
        assert links_module.link_to_run("abc").startswith("http://127.0.0.1:50"), note
