"""Links to the UI and the command that starts it: of our own store, another database and a tracking server."""

import os
import shlex
import shutil
import socket
import sys
from pathlib import Path

import pytest

from pipeline.tracking.program import command, program
from pipeline.tracking.store import Store, _setup, setup
from pipeline.tracking.ui import links as links_module
from tests.checkout import ROOT
from tests.servers import answering


def test_links_lead_to_the_servers_own_ui_without_its_password():
    server = Store("https://u:secret@server:8080/mlflow/", "7", None)
    assert links_module.ui_address(server) == "https://server:8080/mlflow"


# --- what is printed works when it is pasted -------------------------------------------------------------------------


@pytest.fixture
def script(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script of an environment in a folder with a space, first on the PATH."""
    script = tmp_path / "my env" / "bin" / "tmlm"
    script.parent.mkdir(parents=True)
    script.touch(0o755)
    for name in ("MAKELEVEL", "MLFLOW_RUN_ID", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VIRTUAL_ENV", str(script.parents[1]))
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return script


def test_the_shell_finds_the_script_of_an_activated_environment_and_has_not_makes_path(script, monkeypatch):
    environment = str(script.parents[1])
    assert program("tmlm", environment) == "tmlm"
    monkeypatch.setenv("MAKELEVEL", "1")
    monkeypatch.delenv("VIRTUAL_ENV")
    assert program("tmlm", environment) == "'my env/bin/tmlm'"
    assert links_module.link_line("run", "LINK") == f"run  LINK\n(start the UI with: {command()} ui)"
    script.unlink()
    assert (
        program("tmlm", environment) == f"PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} -m pipeline"
    )


def test_another_file_than_our_store_is_named_as_a_shell_reads_it(script, empty_database, monkeypatch, tmp_path):
    """As after ``mlflow run CHECKOUT`` in another folder: MLflow names that folder's database to its child alone."""
    (tmp_path / "my folder").mkdir()
    shutil.copy(empty_database, tmp_path / "my folder" / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/my folder/other.db")
    _setup.cache_clear()
    assert shlex.split(command())[0] == f"MLFLOW_TRACKING_URI=sqlite:///{tmp_path}/my folder/other.db"


# --- the port that answers -------------------------------------------------------------------------------------------


def test_links_lead_to_the_usual_port_where_a_ui_of_this_store_answers(store):
    with answering() as port:
        assert links_module.ui_address(setup(), port) == f"http://127.0.0.1:{port}"


def test_links_lead_to_the_port_that_tmlm_ui_has_taken(store):
    with answering("/elsewhere/mlruns/0") as usual, answering() as port:
        (store / "mlruns" / ".ui-port").write_text(str(port))
        assert links_module.ui_address(setup(), usual) == f"http://127.0.0.1:{port}"
        assert links_module.link_to_run("abc").startswith(f"http://127.0.0.1:{port}/#/experiments/")
        assert links_module.link_line("run", "LINK") == "run  LINK"


def test_a_port_of_something_else_is_not_ours_and_links_lead_to_the_one_that_would_be_taken(store):
    with answering("/elsewhere/mlruns/0") as usual:
        free = links_module.free_port(usual)
        assert links_module.ui_address(setup(), usual) == f"http://127.0.0.1:{free}"
        assert free > usual
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not links_module.shows(silent.getsockname()[1], setup(), seconds=0.1)


def test_a_damaged_note_of_the_port_is_as_good_as_none(store):
    for note in (b"abc", b"5000 5001 x", b"5" * 5000, b"99999", b"-1", b"", b"\xff\n"):
        (store / "mlruns" / ".ui-port").write_bytes(note)
        assert links_module.link_to_run("abc").startswith("http://127.0.0.1:50"), note
