"""The MLflow UI on our store: on this machine only, with one worker, and links that open the right view.

A tracking server (MLFLOW_TRACKING_URI=http...) has a UI of its own: links lead there, and none is started here.
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


def serve(port: int, tell: Callable[[str], None]) -> int:
    """Run the UI until it is stopped, having told where to look; returns its exit code.

    Raises InputError where MLFLOW_TRACKING_URI names a server, which has a UI, and where no port is free.
    """
    store = setup()
    if server := server_address(store.uri):
        raise InputError(
            f"MLFLOW_TRACKING_URI names a tracking server, which has the UI: open {server}, or unset the variable to "
            "start one on this machine's own store"
        )
    port = free_port(port)
    if note := port_note(store):
        write_atomically(note, str(port).encode())
    tell(f"Starting the MLflow UI on {shown(store.uri)}; stop it with Ctrl-C.")
    for text, digest in records.texts_with_views().items():
        for label, url in links_to(digest, None, port).items():
            tell(f"  {label:<7} {url}  ({text})")
    command = [sys.executable, "-m", "pipeline.cli.ui_server", str(os.getpid())]
    command += ["ui", "--host", HOST, "--port", str(port), "--workers", "1"]
    command += ["--no-serve-artifacts"]
    if store.database is not None:
        command += ["--default-artifact-root", str(store.database.parent)]
    environment = {
        "MLFLOW_BACKEND_STORE_URI": store.uri,  # not on the command line, where everybody may read a password
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:  # it has reached the server too, which is on its way out
            return 0
        except BaseException:
            process.terminate()  # it stops its own workers
            raise
