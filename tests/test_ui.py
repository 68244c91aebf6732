"""The UI and the links into it: of our own store, another database and a tracking server; no password is told."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mlflow.tracking import MlflowClient

from pipeline import ui
from pipeline.cli import cli
from pipeline.errors import InputError
from pipeline.store import Store, setup, without_credentials, without_passwords
from pipeline.tracking import begun_run
from tests.databases import standing_in

SECRET = "postgresql+standin://u:a/secret@host/db"
TINY = ("--hidden-size", "4", "--epochs", "1", "--batch-size", "64")


@pytest.fixture
def secret_database(
    no_store: Path, empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """MLFLOW_TRACKING_URI is the address of a database, with a user name and a password."""
    shutil.copy(empty_database, tmp_path / "postgresql.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SECRET)
    with standing_in(tmp_path / "postgresql.db"):
        yield SECRET


def said(*words: str, code: int = 0) -> str:
    """All that a command prints."""
    result = CliRunner().invoke(cli, list(words))
    assert result.exit_code == code, result.output
    return result.output


# --- passwords -------------------------------------------------------------------------------------------------------


def test_no_command_prints_or_records_the_password_of_its_database(secret_database, small_text, monkeypatch):
    printed = said("pipeline", "--corpus", str(small_text), *TINY)
    assert 'start the UI with: tmlm ui, or mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"' in printed
    printed += said("sample", "nonsense", code=2)
    begun = MlflowClient().create_run(setup().experiment_id).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", begun)
    printed += said("sample", "nonsense", code=2)
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    printed += said("sample", "nonsense", code=2)
    assert "postgresql+standin://***@host/db" in printed
    assert "secret" not in printed
    runs = MlflowClient().search_runs([setup().experiment_id])
    assert len(runs) == 6
    assert "neither a run of postgresql" in MlflowClient().get_run(begun).data.tags["failure"]
    assert "secret" not in json.dumps([run.to_dictionary() for run in runs])


def test_starting_the_ui_does_not_show_the_password(secret_database, monkeypatch):
    seen: dict[str, Any] = {}

    class Server:
        def __init__(self, command: list[str], env: dict[str, str]) -> None:
            seen.update(command=command, env=env)

        def __enter__(self) -> "Server":
            return self

        def __exit__(self, *what: object) -> None: ...

        def wait(self) -> int:
            return 0

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Server)
        printed = said("ui")
    assert "Starting the MLflow UI on postgresql+standin://***@host/db" in printed
    assert "secret" not in printed
    assert "secret" not in " ".join(seen["command"]), "every user of the machine may read a command line"
    assert seen["env"]["MLFLOW_BACKEND_STORE_URI"] == secret_database


def test_what_begins_with_a_run_that_is_not_there_does_not_show_the_password(secret_database):
    setup()
    with pytest.raises(InputError, match=r"is no run of postgresql\+standin://\*\*\*@host/db; unset it"):
        begun_run("0" * 32)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:secret@host/db", "postgresql://***@host/db"),
        ("postgresql://u:sec@ret@host/db", "postgresql://***@host/db"),
        ("postgresql://u:sec/ret@host/db", "postgresql://***@host/db"),
        ("no postgresql://u:sec/r@t@host/db, sorry", "no postgresql://***@host/db, sorry"),
        ("mysql+pymysql://host/db?user=u&passwd=secret", "mysql+pymysql://host/db?user=u&passwd=***"),
        ("postgresql://host/db?user=u&password=secret&x=1", "postgresql://host/db?user=u&password=***&x=1"),
        ("API request to http://u:secret@host:80/api failed", "API request to http://***@host:80/api failed"),
        ("http://host/a@b and c@d", "http://host/a@b and c@d"),
    ],
)
def test_a_text_is_shown_without_the_passwords_in_it(text, shown):
    assert without_passwords(text) == shown


def test_a_server_that_is_not_there_does_not_show_its_password(no_store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://u:secret@127.0.0.1:1")
    printed = said("sample", "nonsense", code=2)
    assert "start that server" in printed
    assert "secret" not in printed


# --- a tracking server -----------------------------------------------------------------------------------------------


@pytest.fixture
def tracking_server(monkeypatch: pytest.MonkeyPatch) -> str:
    """The store is a server with a password and a path; gives the address at which a browser finds its UI."""
    uri = "https://u:secret@server:8080/mlflow/"
    monkeypatch.setattr(ui, "setup", lambda: Store(uri, "7", None))
    return "https://server:8080/mlflow"


def test_links_lead_to_the_servers_own_ui(tracking_server):
    links = ui.links_to("ab" * 32, "abc")
    assert set(links) == {"table", "charts", "run"}
    assert all(url.startswith(f"{tracking_server}/#/experiments/7/runs") for url in links.values())
    assert ui.link_to_run("abc") == f"{tracking_server}/#/experiments/7/runs/abc?workflowType=machine_learning"


def test_how_to_start_says_where_the_servers_ui_is(tracking_server):
    assert ui.how_to_start() == f"the UI is at {tracking_server}"


def test_no_second_ui_is_started_for_a_server(tracking_server, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(InputError, match=f"tracking server, which has the UI: open {tracking_server}, or unset"):
        ui.serve(5000, print)


@pytest.mark.parametrize(
    ("uri", "base"),
    [("http://server:8080", "http://server:8080"), ("https://u:p@server/mlflow", "https://server/mlflow")],
)
def test_an_address_without_credentials(uri, base):
    assert without_credentials(uri) == base


# --- files -----------------------------------------------------------------------------------------------------------


def test_our_own_store_needs_no_address(store):
    assert ui.how_to_start() == "start the UI with: tmlm ui, or mlflow ui"
    assert ui.link_to_run("abc").startswith("http://127.0.0.1:5000/#/experiments/0/runs/abc")


def test_another_file_is_named_as_a_shell_reads_it(no_store, empty_database, monkeypatch, tmp_path):
    (tmp_path / "my folder").mkdir()
    shutil.copy(empty_database, tmp_path / "my folder" / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/my folder/other.db")
    assert ui.how_to_start().endswith(f"mlflow ui --backend-store-uri 'sqlite:///{tmp_path}/my folder/other.db'")
