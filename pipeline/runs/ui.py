"""Start the MLflow UI on this project's store, on 127.0.0.1 only, and open the browser at one of its pages.

A tracking server (MLFLOW_TRACKING_URI=http...) has its own UI: links lead there, and none is started here.
"""

import os
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable, Mapping
from getpass import getuser
from heapq import merge
from itertools import chain
from typing import Any
from urllib.parse import urlsplit

from pipeline.cli.group import say
from pipeline.errors import InputError
from pipeline.support.files import ROOT, write_atomically
from pipeline.tracking import recorded, references, server
from pipeline.tracking.queries import NOT_FAILED, has_tag, trainings
from pipeline.tracking.store import setup, shown
from pipeline.tracking.ui import links, views

POLL_SECONDS = 0.5  # between two requests, until the server answers


def serve_ui(
    port: int,
    what: str,
    opens: bool,
    open_link: Callable[[str], object] = webbrowser.open,
    start: Callable[..., Any] = subprocess.Popen,
) -> int:
    """Run the UI until it is stopped, and return its exit code; one of this store that is running already is used.

    When it answers, the link to ``what``, as ``link_to`` takes it, is printed and, if ``opens``, opened in the browser.
    Raises InputError if ``what`` does not exist or no port is free.
    """
    store, link = setup(), link_to(what)

    def show(link: str) -> None:
        say(link)
        if tunnel := ssh_tunnel(link):
            say(f"On your own machine, for this link: {tunnel}")
        if opens:
            open_link(link)

    if links.running_address(store):
        show(link)
        return 0
    port = links.free_port(port)
    if note := links.port_note(store):
        write_atomically(note, str(port).encode())
    say(f"Starting the MLflow UI on {shown(store.uri)} at http://{links.HOST}:{port}; stop it with Ctrl-C.")
    artifacts = [] if store.database is None else ["--default-artifact-root", str(store.database.parent)]
    command = server.server_command("ui", links.HOST, port, 1, "--no-serve-artifacts", *artifacts)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, **server.server_environment(store.uri), "PYTHONPATH": path}
    # in a session of its own: Ctrl-C reaches this process alone, which then stops the server with SIGTERM
    with start(command, env=environment, start_new_session=True) as process:
        try:
            while process.poll() is None:
                if links.shows(port, store):
                    show(link_to(what))
                    break
                time.sleep(POLL_SECONDS)
            return int(process.wait())
        except KeyboardInterrupt:
            return 0
        finally:
            process.terminate()  # the server stops its workers


def has_browser(
    is_terminal: bool | None = None, environment: Mapping[str, str] = os.environ, platform: str = sys.platform
) -> bool:
    """Whether a browser opened here appears before the person at this terminal: not over ssh, nor in CI."""
    if not (sys.stdout.isatty() if is_terminal is None else is_terminal) or environment.get("CI"):
        return False
    if environment.get("BROWSER"):  # an editor connected by ssh sets it
        return True
    graphical = platform in ("darwin", "win32") or any(map(environment.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    return graphical and "SSH_CONNECTION" not in environment


def ssh_tunnel(link: str) -> str:
    """The command by which a link to 127.0.0.1 here works on the machine that is connected by ssh; "" without one."""
    place, connection = urlsplit(link), os.environ.get("SSH_CONNECTION", "").split()
    if place.hostname != links.HOST or len(connection) != 4:
        return ""
    return f"ssh -L {place.port}:{links.HOST}:{place.port} {getuser()}@{connection[2]}"


def link_to(what: str) -> str:
    """The link for ``what``, which ``find`` takes, or "" or "models".

    The latter two open the models of the text of the last training that a person started, or all runs if there is no
    training. A training opens at its curves, a search at its trials, a main job at the curves of its training, any
    other run at its page. Raises InputError for anything else.
    """
    if what in ("", "models"):
        order = "start_time DESC"
        own = (trainings(NOT_FAILED, has_tag("role", role or None), order=order) for role in recorded.OWN_ROLES)
        by_a_person = merge(*own, key=lambda run: -run.started_ms)
        last = next(chain(by_a_person, trainings(NOT_FAILED, order=order)), None)
        return links.link_to_view(views.key("models", last.corpus_sha256)) if last else links.link_to_view()
    try:
        run = references.find(what)
    except references.NoSuchRunError as error:
        raise InputError(f"{error}, or models for those of the text of your last training") from None
    trained = run.tag("trained_run")
    if run.stage == "search":
        return links.link_to_search(run.id)
    if run.stage == "train" or (run.stage == "pipeline" and trained):
        return links.link_to_curves(trained or run.id)
    return links.link_to_run(run.id)
