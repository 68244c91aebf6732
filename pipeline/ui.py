"""The MLflow UI on our store: on this machine only, with one worker, and links that open the right view."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing

from pipeline import tracking, views
from pipeline.errors import InputError
from pipeline.store import setup

HOST, PORT = "127.0.0.1", 5000


def links_to(corpus_sha256: str | None, run_id: str | None, port: int = PORT) -> dict[str, str]:
    """Addresses of the UI by what they show; a run's page if there is one to show."""
    return views.links(f"http://{HOST}:{port}", setup().experiment_id, corpus_sha256, run_id)


def link_to_run(run_id: str) -> str:
    """The address of a run's page."""
    return links_to(None, run_id)["run"]


def how_to_start() -> str:
    """The command that starts the UI on the store that was recorded into."""
    store = setup()
    if store.database is not None:
        return "tmlm ui, or mlflow ui"
    return f"tmlm ui, or mlflow ui --backend-store-uri {store.uri}"


def free_port(port: int) -> int:
    """The port, or the next free one."""
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
    """Run the UI until it is stopped, having told where to look; returns its exit code."""
    store = setup()
    port = free_port(port)
    tell(f"Starting the MLflow UI on {store.uri}; stop it with Ctrl-C.")
    for text, digest in tracking.texts_with_views().items():
        for label, url in links_to(digest, None, port).items():
            tell(f"  {label:<7} {url}  ({text})")
    command = [sys.executable, "-m", "mlflow", "ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", store.uri, "--no-serve-artifacts"]
    if store.database is not None:
        command += ["--default-artifact-root", str(store.database.parent)]
    lean = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with subprocess.Popen(command, env={**os.environ, **lean}) as server:
        try:
            return server.wait()
        except KeyboardInterrupt:  # it has reached the server too, which is on its way out
            return 0
        except BaseException:
            server.terminate()  # it stops its own workers
            raise
