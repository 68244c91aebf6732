"""The MLflow UI on our store: on this machine only, with one worker, and links that open the right view.

A tracking server (MLFLOW_TRACKING_URI=http...) has a UI of its own: links lead there, and none is started here.
"""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pipeline import tracking, views
from pipeline.errors import InputError
from pipeline.store import setup, shown, sqlite_file, without_credentials

HOST, PORT = "127.0.0.1", 5000
CODE = Path(__file__).resolve().parent.parent


def links_to(corpus_sha256: str | None, run_id: str | None, port: int = PORT) -> dict[str, str]:
    """Addresses of the UI by what they show; a run's page if there is one to show."""
    store = setup()
    base = _server(store.uri) or f"http://{HOST}:{port}"
    return views.links(base, store.experiment_id, corpus_sha256, run_id)


def link_to_run(run_id: str) -> str:
    """The address of a run's page."""
    return links_to(None, run_id)["run"]


def how_to_start() -> str:
    """How to come to the UI of the store that was recorded into: the command that starts it, or a server's address.

    No password is in it: it is what commands print.
    """
    store = setup()
    if server := _server(store.uri):
        return f"the UI is at {server}"
    if store.database is not None:
        return "start the UI with: tmlm ui, or mlflow ui"
    file = sqlite_file(store.uri)
    address = '"$MLFLOW_TRACKING_URI"' if file is None else shlex.quote(f"sqlite:///{file}")
    return f"start the UI with: tmlm ui, or mlflow ui --backend-store-uri {address}"


def _server(uri: str) -> str:
    """The address of a tracking server as a browser opens it, without user name and password; "" of any other store."""
    return without_credentials(uri).rstrip("/") if uri.startswith(("http://", "https://")) else ""


def free_port(port: int) -> int:
    """The port, or the next free one. InputError if it and the 49 after it are taken."""
    for candidate in range(port, min(port + 50, 65536)):
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, candidate))
            except OSError:
                continue
            return candidate
    raise InputError(f"--port {port} and the 49 after it are taken; give another one")


def serve(port: int, tell: Callable[[str], None]) -> int:
    """Run the UI until it is stopped, having told where to look; returns its exit code.

    Raises InputError where MLFLOW_TRACKING_URI names a server, which has a UI, and where no port is free.
    """
    store = setup()
    if server := _server(store.uri):
        raise InputError(
            f"MLFLOW_TRACKING_URI names a tracking server, which has the UI: open {server}, or unset the variable to "
            "start one on this machine's own store"
        )
    port = free_port(port)
    tell(f"Starting the MLflow UI on {shown(store.uri)}; stop it with Ctrl-C.")
    for text, digest in tracking.texts_with_views().items():
        for label, url in links_to(digest, None, port).items():
            tell(f"  {label:<7} {url}  ({text})")
    command = [sys.executable, "-m", "pipeline.ui_server", str(os.getpid())]
    command += ["ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--no-serve-artifacts"]
    if store.database is not None:
        command += ["--default-artifact-root", str(store.database.parent)]
    environment = {
        "MLFLOW_BACKEND_STORE_URI": store.uri,  # not on the command line, where everybody may read a password
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")])),
    }
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # it has reached the server too, which is on its way out
            return 0
        except BaseException:
            process.terminate()  # it stops its own workers
            raise
