"""The UI and the links into it: of our own store, another database and a tracking server; no password is told."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest
from click.testing import CliRunner
from mlflow.tracking import MlflowClient

from pipeline.cli import ui
from pipeline.cli.main import cli
from pipeline.errors import InputError
from pipeline.tracking import links as links_module
from pipeline.tracking.runs import begun_run
from pipeline.tracking.store import Store, setup, without_credentials, without_passwords
from tests.checkout import ROOT
from tests.databases import standing_in
from tests.limits import SLACK

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


class Server:
    """Stands in for the process of the UI, which ends at once."""

    command: list[str]
    env: dict[str, str]

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        Server.command, Server.env = command, env

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *what: object) -> None: ...

    def wait(self) -> int:
        return 0


def said(*words: str, code: int = 0) -> str:
    """All that a command prints."""
    result = CliRunner().invoke(cli, list(words))
    assert result.exit_code == code, result.output
    return result.output


# --- passwords -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plain_artifacts")
def test_no_command_prints_or_records_the_password_of_its_database(secret_database, small_text, monkeypatch):
    printed = said("pipeline", "--corpus", str(small_text), *TINY)
    assert re.search(r"start the UI with: \S*tmlm ui\)", printed), "the shell has the address already"
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
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", Server)
        printed = said("ui")
    assert Server.command[1:4] == ["-m", "pipeline.cli.ui_server", str(os.getpid())]
    assert "Starting the MLflow UI on postgresql+standin://***@host/db" in printed
    assert "secret" not in printed
    assert "secret" not in " ".join(Server.command), "every user of the machine may read a command line"
    assert Server.env["MLFLOW_BACKEND_STORE_URI"] == secret_database


def test_the_server_does_not_outlive_a_killed_ui(tmp_path):
    """kill -9 leaves the one who started it no time to say so; a module called mlflow stands in for the server."""
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "__init__.py").touch()
    server = "import os, sys, time; print(os.getpid(), *sys.argv[1:], flush=True); time.sleep(300)"
    (tmp_path / "mlflow" / "__main__.py").write_text(server)
    script = (
        "import os, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-m', 'pipeline.cli.ui_server', str(os.getpid()), 'ui', '--port', '1'])"
        ".wait()"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        pid, *words = process.stdout.readline().split()
        assert words == ["ui", "--port", "1"]
        child = psutil.Process(int(pid))
        process.kill()
    assert psutil.wait_procs([child], timeout=10 * SLACK)[1] == []


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
    for module in (links_module, ui):
        monkeypatch.setattr(module, "setup", lambda: Store(uri, "7", None))
    return "https://server:8080/mlflow"


def test_links_lead_to_the_servers_own_ui(tracking_server):
    links = links_module.links_to("ab" * 32, "abc")
    assert set(links) == {"table", "charts", "run"}
    assert all(url.startswith(f"{tracking_server}/#/experiments/7/runs") for url in links.values())
    assert (
        links_module.link_to_run("abc") == f"{tracking_server}/#/experiments/7/runs/abc?workflowType=machine_learning"
    )


def test_how_to_start_says_where_the_servers_ui_is(tracking_server):
    assert links_module.how_to_start() == f"the UI is at {tracking_server}"


def test_no_second_ui_is_started_for_a_server(tracking_server, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", None)
    with pytest.raises(InputError, match=f"tracking server, which has its own UI: open {tracking_server}, or unset"):
        ui.serve(5000, print)


@pytest.mark.parametrize(
    ("uri", "base"),
    [("http://server:8080", "http://server:8080"), ("https://u:p@server/mlflow", "https://server/mlflow")],
)
def test_an_address_without_credentials(uri, base):
    assert without_credentials(uri) == base


# --- what is printed works when it is pasted -------------------------------------------------------------------------


class Shell:
    """A shell that starts commands in a folder, and an environment whose ``tmlm`` prints what it was given."""

    path = "/usr/bin:/bin"

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, monkeypatch
        self.bin = folder / "my env" / "bin"
        self.bin.mkdir(parents=True)
        monkeypatch.setattr(sysconfig, "get_path", lambda kind: str(self.bin))
        monkeypatch.setattr(sys, "prefix", str(self.bin.parent))
        monkeypatch.setattr(sys, "executable", str(self.bin / "python"))
        for name in ("MAKELEVEL", "MLFLOW_RUN_ID", "VIRTUAL_ENV", "CONDA_PREFIX"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(folder)

    def install(self, name: str = "tmlm") -> None:
        script = self.bin / name
        script.write_text('#!/bin/sh\necho "$MLFLOW_TRACKING_URI|$PYTHONPATH|$*"\n')
        script.chmod(0o755)

    def activate(self) -> None:
        self.path = f"{self.bin}:{self.path}"
        self.patch.setenv("VIRTUAL_ENV", str(self.bin.parent))
        self.patch.setenv("PATH", self.path)

    def make(self) -> None:
        """What make gives to the commands that it starts."""
        self.patch.setenv("MAKELEVEL", "1")
        self.patch.setenv("PATH", f"{self.bin}:{self.path}")

    def paste(self, command: str) -> str:
        """What is printed when a person types it."""
        environment = {"PATH": self.path}
        words = ["/bin/sh", "-c", command]
        done = subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()


@pytest.fixture
def shell(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(links_module, "_shows", lambda port, store: False)
    return Shell(tmp_path, monkeypatch)


def test_in_an_activated_environment_tmlm_goes_by_its_name(shell):
    shell.install()
    shell.activate()
    assert links_module.how_to_start() == "start the UI with: tmlm ui"
    assert shell.paste(f"{links_module.command()} ui") == "||ui"


def test_under_make_the_shell_does_not_have_makes_path(shell):
    shell.install()
    shell.make()
    assert links_module.command() == "'my env/bin/tmlm'"
    assert shell.paste(f"{links_module.command()} ui") == "||ui"


def test_under_make_in_the_checkout_the_ui_is_a_target(shell, store, monkeypatch):
    shell.install()
    shell.make()
    monkeypatch.chdir(store)
    assert links_module.how_to_start() == "start the UI with: make ui"
    assert "\nui: " in (ROOT / "Makefile").read_text()


def test_mlflow_run_has_changed_the_folder_so_the_path_is_whole(shell, monkeypatch):
    shell.install()
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    assert links_module.command() == f"'{shell.bin}/tmlm'"
    assert shell.paste(f"{links_module.command()} ui") == "||ui"


def test_an_environment_without_our_command_runs_the_package(shell):
    shell.install("python")
    assert shell.paste(f"{links_module.command()} ui") == f"|{ROOT}|-m pipeline ui"
    shell.activate()
    assert " python -m pipeline" in links_module.command()
    assert shell.paste(f"{links_module.command()} ui") == f"|{ROOT}|-m pipeline ui"


def test_another_file_than_our_store_is_named_as_a_shell_reads_it(shell, empty_database, monkeypatch, tmp_path):
    """As after ``mlflow run CHECKOUT`` in another folder: MLflow names that folder's database to its child alone."""
    (tmp_path / "my folder").mkdir()
    shutil.copy(empty_database, tmp_path / "my folder" / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/my folder/other.db")
    setup.cache_clear()
    shell.install()
    shell.activate()
    command = links_module.how_to_start().removeprefix("start the UI with: ")
    assert shell.paste(command) == f"sqlite:///{tmp_path}/my folder/other.db||ui"


@pytest.mark.usefixtures("plain_artifacts")
def test_training_on_another_alphabet_prints_commands_that_work(store, tmp_path, monkeypatch):
    monkeypatch.setattr(links_module, "_shows", lambda port, store: False)
    text = tmp_path / "chinese.txt"
    text.write_text("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏" * 100)
    printed = said("train", "--corpus", str(text), "--alphabet", "raw", *TINY)
    (line,) = re.findall(r"tmlm (sample .*)", printed)
    words = shlex.split(line)
    assert said(*words, "--length", "5").startswith(words[-1])
    assert len(said("sample", words[1], "--length", "5").strip()) == 6, "without --prompt, one that the model can read"
    assert f"tmlm {line}\n" in said("recommend", "--max-macs", "1000000")


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
        assert links_module.link_to_run("abc").startswith(f"http://127.0.0.1:{port}/#/experiments/0/runs/abc")
        assert links_module.how_to_start() == f"the UI is at http://127.0.0.1:{port}"


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
        assert not links_module._shows(silent.getsockname()[1], setup())


def test_tmlm_ui_notes_its_port(store, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", Server)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert ui.serve(port, lambda line: None) == 0
    assert int((store / "mlruns" / ".ui-port").read_text()) == int(Server.command[Server.command.index("--port") + 1])
    assert int((store / "mlruns" / ".ui-port").read_text()) > port
