"""Start the MLflow UI on this project's store, on 127.0.0.1 only, and print links that open the right view.

A tracking server (MLFLOW_TRACKING_URI=http...) has its own UI: links lead there, and none is started here.
"""

import os
import subprocess
import sys
from collections.abc import Callable

from pipeline.errors import InputError
from pipeline.support.code_digest import ROOT
from pipeline.support.files import write_atomically
from pipeline.tracking import records
from pipeline.tracking.links import HOST, free_port, links_to, port_note, server_address
from pipeline.tracking.store import setup, shown


def serve(port: int, write_line: Callable[[str], None]) -> int:
    """Print the links, run the UI until it is stopped, and return its exit code.

    Raises InputError if MLFLOW_TRACKING_URI names a server, which has its own UI, or if no port is free.
    """
    store = setup()
    if server := server_address(store.uri):
        raise InputError(
            f"MLFLOW_TRACKING_URI names a tracking server, which has its own UI: open {server}, or unset the variable "
            "to start one on this machine's own store"
        )
    port = free_port(port)
    if note := port_note(store):
        write_atomically(note, str(port).encode())
    write_line(f"Starting the MLflow UI on {shown(store.uri)}; stop it with Ctrl-C.")
    for text, digest in records.texts_with_views().items():
        for label, url in links_to(digest, None, port).items():
            write_line(f"  {label:<7} {url}  ({text})")
    command = [sys.executable, "-m", "pipeline.cli.ui_server", str(os.getpid())]
    command += ["ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--no-serve-artifacts"]
    if store.database is not None:
        command += ["--default-artifact-root", str(store.database.parent)]
    environment = {
        "MLFLOW_BACKEND_STORE_URI": store.uri,  # not on the command line, which every user can read
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the server got it too and is shutting down
            return 0
        except BaseException:
            process.terminate()  # the server stops its workers
            raise
