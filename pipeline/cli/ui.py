"""Start the MLflow UI on this project's store, on 127.0.0.1 only, print its links, and open the browser at one of them.

A tracking server (MLFLOW_TRACKING_URI=http...) has its own UI: links lead there, and none is started here.
"""

import json
import os
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from itertools import chain

from pipeline.errors import InputError
from pipeline.support.files import ROOT, write_atomically
from pipeline.tracking import server
from pipeline.tracking.recorded import FINISHED, trainings
from pipeline.tracking.references import BY_A_PERSON, NoSuchRunError, find
from pipeline.tracking.store import Store, client, setup, shown, store_errors
from pipeline.tracking.ui import links, views

KINDS: tuple[views.Kind, ...] = ("models", "seeds", "compute")  # the views of each text

POLL_SECONDS = 0.5  # between two requests, until the server answers


def serve(port: int, what: str | None, write_line: Callable[[str], None]) -> int:
    """Run the UI until it is stopped, print links when it answers, and return its exit code.

    With ``what``, as ``link_to`` takes it, the browser is opened there, and a UI that is running already is used.
    Raises InputError if ``what`` does not exist, if MLFLOW_TRACKING_URI names a server, which has its own UI, or if no
    port is free.
    """
    store = setup()
    link = None if what is None else link_to(what)
    if link is not None and links.is_running(store):
        _open(link, write_line)
        return 0
    if address := links.server_address(store.uri):
        raise InputError(
            f"MLFLOW_TRACKING_URI names a tracking server, which has its own UI: open {address}, or unset the variable "
            "to start a UI on this machine's store"
        )
    port = links.free_port(port)
    if note := links.port_note(store):
        write_atomically(note, str(port).encode())
    write_line(f"Starting the MLflow UI on {shown(store.uri)} at http://{links.HOST}:{port}; stop it with Ctrl-C.")
    artifacts = [] if store.database is None else ["--default-artifact-root", str(store.database.parent)]
    command = server.command("ui", links.HOST, port, 1, "--no-serve-artifacts", *artifacts)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **server.environment(store.uri), "PYTHONPATH": path}
    # in a session of its own: Ctrl-C reaches this process alone, which then stops the server with SIGTERM
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            while process.poll() is None:
                if links.shows(port, store):
                    for name, key in saved_views(store):
                        write_line(f"  {name}\n    {links.link_to_view(key)}")
                    if what is not None:
                        _open(link_to(what), write_line)
                    break
                time.sleep(POLL_SECONDS)
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()  # the server stops its workers
            return 0
        except BaseException:
            process.terminate()
            raise


def _open(link: str, write_line: Callable[[str], None]) -> None:
    """Print a link and open it in the browser, if there is a graphical one."""
    write_line(link)
    if sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))):
        webbrowser.open(link)


def saved_views(store: Store) -> list[tuple[str, str]]:
    """Name and key of the experiment's stored views: models first, then searches, seeds, compute, and all texts."""
    with store_errors():
        tags = client().get_experiment(store.experiment_id).tags
    kinds, found = ("models", "search", "seeds", "compute"), []
    for tag, value in tags.items():
        if tag.startswith(views.TAG_PREFIX):
            name, key = json.loads(value)["name"], tag.removeprefix(views.TAG_PREFIX)
            kind, dash, _ = key.partition("-")  # no dash: the view of all texts
            found.append((kinds.index(kind) if dash and kind in kinds else len(kinds), name, key))
    return [(name, key) for _, name, key in sorted(found)]


def link_to(what: str) -> str:
    """The link for ``what``: one of KINDS, for the text of your last training; or what ``find`` takes.

    A training opens at its curves, a search at its trials, a main job at the curves of its training, any other run at
    its page. Raises InputError for anything else.
    """
    if what in KINDS:
        if (last := next(chain(trainings(FINISHED, BY_A_PERSON), trainings(FINISHED)), None)) is None:
            raise InputError(f"--open {what}: no training has finished yet; run `tmlm pipeline` or `tmlm train` first")
        return links.link_to_view(views.key(what, last.corpus_sha256))
    try:
        run = find(what, "--open ")
    except NoSuchRunError as error:
        raise InputError(f"{error}, or one of {', '.join(KINDS)}") from None
    trained = run.tag("trained_run")
    if run.stage == "search":
        return links.link_to_search(run.id)
    if run.stage == "train" or (run.stage == "pipeline" and trained):
        return links.link_to_curves(trained or run.id)
    return links.link_to_run(run.id)
