"""Links into MLflow's UI: a run, its curves and the saved views, and the command that starts the UI on this store.

Links name the UI's workflow type, "Model training", since its first page may show the other one, "GenAI".
"""

import http.client
import json
import re
import socket
from contextlib import closing, suppress
from pathlib import Path

from pipeline.errors import InputError, without_secrets
from pipeline.tracking.program import command
from pipeline.tracking.store import Store, client, setup, sqlite_file
from pipeline.tracking.ui import views

HOST, PORT = "127.0.0.1", 5000
UI_SECONDS = 2  # timeout of a request to a UI on this machine
TRAINING_SIDE = "workflowType=machine_learning"  # the UI's side for training; its first page shows generative AI


def link_to_run(run_id: str) -> str:
    """The address of a run's page: its note, figures and options."""
    return f"{_runs()}/{run_id}?{TRAINING_SIDE}"


def link_to_artifact(run_id: str, artifact: str) -> str:
    """The address of an artifact on a run's page."""
    return f"{_runs()}/{run_id}/artifacts/{artifact}?{TRAINING_SIDE}"


def recorded_link(run_id: str) -> str:
    """The address of a run's page for a record: on the store's server, or on the default port of ``tmlm ui``."""
    return f"{_runs(server_address(setup().uri) or f'http://{HOST}:{PORT}')}/{run_id}?{TRAINING_SIDE}"


def link_to_curves(run_id: str) -> str:
    """The address of a training's model metrics: its curves, then its final metrics."""
    return f"{_runs()}/{run_id}/model-metrics?{TRAINING_SIDE}"


def link_to_view(key: str = "") -> str:
    """The address of a saved view, with its charts; "": of the list of all runs."""
    return f"{_runs()}?{TRAINING_SIDE}" + f"&viewStateShareKey={key}&compareRunsMode=CHART" * bool(key)


def link_within(run_id: str, artifact: str = "") -> str:
    """The address of a run's page, or of an artifact there, for a note that the UI shows."""
    shown = f"/artifacts/{artifact}" if artifact else ""
    return f"#/experiments/{setup().experiment_id}/runs/{run_id}{shown}?{TRAINING_SIDE}"


def link_to_search(parent: str) -> str:
    """The address of the view of a search's trials; ``parent`` is the id of the search's run."""
    return link_to_view(views.key("search", parent))


def _runs(ui: str = "") -> str:
    """The address of the experiment's runs in this UI; "": a running one, or the one that ``tmlm ui`` would start."""
    store = setup()
    return f"{ui or ui_address(store)}/#/experiments/{store.experiment_id}/runs"


def ui_address(store: Store, port: int = PORT) -> str:
    """The address of a running UI of this store, or of the one that ``tmlm ui`` would start."""
    return running_address(store, port) or f"http://{HOST}:{free_port(port)}"


def running_address(store: Store, port: int = PORT) -> str:
    """The address of a tracking server, or of a UI of this store on this machine; "" if none is running.

    The UI's port is the one that ``tmlm ui`` has noted, or ``port``.
    """
    if server := server_address(store.uri):
        return server
    note = port_note(store)
    noted = note.read_bytes().strip() if note is not None and note.is_file() else b""
    ports = [int(noted)] if re.fullmatch(rb"\d{1,5}", noted) and int(noted) < 65536 else []
    return next((f"http://{HOST}:{each}" for each in [*ports, port] if shows(each, store)), "")


def link_line(label: str, link: str) -> str:
    """A link as commands print it and, if no UI is running, how the shell that started this command starts one."""
    start = "" if running_address(setup()) else f"\n(start the UI with: {command()} ui)"
    return f"{label}  {link}{start}"


def server_address(uri: str) -> str:
    """The address of a tracking server without secrets; "" for any other store."""
    return without_secrets(uri).rstrip("/") if uri.startswith("http") else ""


def port_note(store: Store) -> Path | None:
    """The file in the store's folder in which ``tmlm ui`` notes its port; None if the store is not a file."""
    file = sqlite_file(store.uri)
    return None if file is None else file.with_name(".ui-port")


def shows(port: int, store: Store, seconds: float = UI_SECONDS) -> bool:
    """Whether an MLflow server on this port serves this store: its experiment has the same artifact location."""
    connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
    with closing(connection):
        try:
            connection.request("GET", f"/api/2.0/mlflow/experiments/get?experiment_id={store.experiment_id}")
            answer = json.loads(connection.getresponse().read())
            location = answer["experiment"]["artifact_location"]
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):  # no server, or not MLflow
            return False
    return bool(location == client().get_experiment(store.experiment_id).artifact_location)


def free_port(port: int) -> int:
    """The port, or the next free one. Raises InputError if it and the 49 after it are taken."""
    for candidate in range(port, min(port + 50, 65536)):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind((HOST, candidate))
                return candidate
    raise InputError(f"--port {port} and the 49 after it are taken; give another one")
