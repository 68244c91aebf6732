"""``tmlm ui``, and passwords: no command prints or records one."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from mlflow.tracking import MlflowClient

from pipeline.cli.main import cli
from pipeline.runs import ui
from pipeline.tracking.runs import tracked_run
from pipeline.tracking.store import setup
from pipeline.tracking.ui import views
from tests.checkout import ROOT, free_port
from tests.databases import standing_in
from tests.labs import record
from tests.limits import SLACK
from tests.servers import answering

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


class Server(AbstractContextManager["Server"]):
    """Stands in for the process of the UI, which ends at once, or after it was polled."""

    command: list[str]
    env: dict[str, str]

    def __init__(self, command: list[str], env: dict[str, str], polled: int | None = 0, **options: Any) -> None:
        Server.command, Server.env, self.polled = command, env, polled

    def __exit__(self, *what: object) -> None: ...

    def poll(self) -> int | None:
        return self.polled

    def wait(self) -> int:
        return 0

    terminate = wait


def said(*words: str, code: int = 0) -> str:
    """All that a command prints."""
    result = CliRunner().invoke(cli, list(words))
    assert result.exit_code == code, result.output
    return result.output


# --- passwords -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plain_artifacts", "no_served_model")
def test_no_command_prints_or_records_the_password_of_its_database(secret_database, small_text, monkeypatch):
    printed = said("pipeline", "--corpus", str(small_text), *TINY)
    assert re.search(r"start the UI with: \S*tmlm ui\)", printed), "the shell has the address already"
    printed += said("sample", "nonsense", code=2)
    begun = MlflowClient().create_run(setup().experiment_id, run_name="begun").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", begun)
    printed += said("sample", "nonsense", code=2)
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    printed += said("sample", "nonsense", code=2)
    assert "postgresql+standin://host/db" in printed
    assert "secret" not in printed
    runs = MlflowClient().search_runs([setup().experiment_id])
    assert len(runs) == 6
    assert "neither a run of postgresql" in MlflowClient().get_run(begun).data.tags["failure"]
    assert "secret" not in json.dumps([run.to_dictionary() for run in runs])


def test_starting_the_ui_does_not_show_the_password(secret_database, capsys):
    ui.serve_ui(5000, "", opens=False, start=Server)
    printed = capsys.readouterr().err
    assert Server.command[1:4] == ["-m", "pipeline.support.child", str(os.getpid())]
    assert "Starting the MLflow UI on postgresql+standin://host/db" in printed
    assert "secret" not in printed
    assert "secret" not in " ".join(Server.command), "every user of the machine may read a command line"
    assert Server.env["MLFLOW_BACKEND_STORE_URI"] == secret_database


def test_the_server_does_not_outlive_a_killed_ui(tmp_path):
    """kill -9 leaves the one who started it no time to say so; a module called mlflow stands in for the server."""
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "__init__.py").touch()
    server = "import os, time; print(os.getpid(), flush=True); time.sleep(300)"
    (tmp_path / "mlflow" / "__main__.py").write_text(server)
    script = (
        "import subprocess\nfrom pipeline.support import child\nsubprocess.Popen(child.child_command('mlflow')).wait()"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
    assert psutil.wait_procs([child], timeout=10 * SLACK)[1] == []


@pytest.mark.usefixtures("plain_artifacts", "no_served_model")
def test_training_on_another_alphabet_prints_commands_that_work(store, tmp_path):
    text = tmp_path / "chinese.txt"
    text.write_text("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏" * 100)
    printed = said("train", "--corpus", str(text), "--alphabet", "raw", *TINY)
    (line,) = re.findall(r"tmlm (sample .*)", printed)
    words = shlex.split(line)
    assert said(*words, "--length", "5").startswith(words[words.index("--prompt") + 1])
    assert said("sample", words[1], "--length", "5").startswith("天地玄黄宇宙洪荒日月盈昃"), "its own words"
    assert f"tmlm sample {words[1][:8]}\n" in said("best", "--max-macs", "1000000")


# --- what is opened ---------------------------------------------------------------------------------------------------

DIGEST = "ab" * 32
TEXT: dict[str, Any] = {"corpus": "topics", "corpus.sha256": DIGEST}
SIDE = "workflowType=machine_learning"
VIEW = f"/#/experiments/0/runs?{SIDE}&viewStateShareKey="


@pytest.fixture
def running(store: Path) -> Iterator[str]:
    """A UI of the store is running; gives its address."""
    with answering() as port:
        (store / "mlruns" / ".ui-port").write_text(str(port))
        yield f"http://127.0.0.1:{port}"


def path_to(what: str) -> str:
    return "/#" + ui.link_to(what).partition("/#")[2]


def test_what_is_named_opens_at_its_page_its_curves_or_its_view(running):
    record("trial", role="trial", **TEXT)
    assert path_to("") == path_to("models") == f"{VIEW}{views.key('models', DIGEST)}&compareRunsMode=CHART"
    training = record("training", **TEXT)
    curves = f"/#/experiments/0/runs/{training}/model-metrics?{SIDE}"
    assert path_to(training[:8]) == path_to("latest") == curves
    assert path_to(record("a main job", "pipeline", trained_run=training)) == curves
    search = record("a search", "search", study="tiny")
    assert path_to("tiny") == path_to(search) == f"{VIEW}search-{search[:8]}&compareRunsMode=CHART"
    assert "is not a run of" in said("ui", "running", code=2), "a view of earlier versions"
    record("one of several seeds", role="seed", corpus="novel", corpus_sha256="cd" * 32)
    record("another trial", role="trial", **TEXT)
    assert path_to("").startswith(f"{VIEW}{views.key('models', 'cd' * 32)}"), "seeds are a person's own"


def test_the_first_training_is_shown_while_it_runs_and_before_it_the_list_of_runs(running):
    assert path_to("") == f"/#/experiments/0/runs?{SIDE}"
    with tracked_run("train", "train-x", TEXT):
        assert path_to("") == f"{VIEW}{views.key('models', DIGEST)}&compareRunsMode=CHART"


def test_a_running_ui_is_used_and_opened_unless_no_open_is_given(running):
    run, opened = record("a reproduction", "reproduce"), list[str]()
    address = f"{running}/#/experiments/0/runs/{run}?{SIDE}"
    assert said("ui", run, "--no-open") == f"{address}\n"
    for opens in (False, True):
        assert ui.serve_ui(5000, run, opens, opened.append, start=pytest.fail) == 0
        assert opened == [address] * opens


def test_a_ui_that_is_started_is_opened_when_it_answers(store):
    @contextmanager
    def start(command: list[str], **options: Any) -> Iterator[Server]:
        with answering(port=int(command[command.index("--port") + 1])):
            yield Server(command, {}, polled=None)

    opened = list[str]()
    ui.serve_ui(free_port(), "", True, opened.append, start)
    port = (store / "mlruns" / ".ui-port").read_text()
    assert opened == [f"http://127.0.0.1:{port}/#/experiments/0/runs?{SIDE}"]


@pytest.mark.parametrize(
    ("environment", "has_browser"),
    [
        ({"DISPLAY": ":0"}, True),
        ({}, False),
        ({"DISPLAY": ":0", "CI": "true"}, False),
        ({"DISPLAY": "localhost:10", "SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"}, False),
        ({"BROWSER": "code", "SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"}, True),
    ],
)
def test_a_browser_is_opened_where_the_person_sees_it(environment, has_browser):
    assert not ui.has_browser(False, environment, "linux")
    assert ui.has_browser(True, environment, "linux") == has_browser


@pytest.mark.slow
def test_over_ssh_the_tunnel_to_a_link_on_this_machine_is_told(monkeypatch):
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.1 5 10.0.0.2 22")
    assert ui.ssh_tunnel("http://127.0.0.1:5001/#/experiments/0") == "ssh -L 5001:127.0.0.1:5001 ada@10.0.0.2"
    assert ui.ssh_tunnel("https://mlflow.example/#/experiments/0") == ""
    monkeypatch.delenv("SSH_CONNECTION")
    assert ui.ssh_tunnel("http://127.0.0.1:5001/") == ""


@pytest.mark.slow  # seconds of CPU, for MLflow's server
@pytest.mark.ci
def test_ctrl_c_stops_the_ui_and_its_server_without_a_traceback(tmp_path):
    port = free_port()
    paths = os.pathsep.join([str(ROOT), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db"}
    command = [sys.executable, "-m", "pipeline", "ui", "--port", str(port)]
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60 * SLACK
        while not is_listening(port) and time.monotonic() < until:
            time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20 * SLACK)
    assert (process.returncode, "Traceback" in said) == (0, False)
    assert not is_listening(port)


def is_listening(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
