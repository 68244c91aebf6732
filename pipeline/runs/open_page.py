"""Open the page of a run in the browser. It is made for this machine alone, so it has all of the text's n-grams."""

import json
import logging
import os
import shlex
import webbrowser
from collections.abc import Callable
from getpass import getuser
from hashlib import sha256
from pathlib import Path

from pipeline.pages import page
from pipeline.pages.subject import Subject, subject_of
from pipeline.results import SEARCH, SEEDS
from pipeline.support.files import write_atomically
from pipeline.tracking import references, store
from pipeline.tracking.names import WEIGHTS

log = logging.getLogger(__name__)

MADE_OF = [file for file in sorted(Path(page.__file__).parent.rglob("*.*")) if file.suffix != ".pyc"]  # and templates


def open_page(what: str, opens: bool, open_link: Callable[[str], object] = webbrowser.open) -> str:
    """The path of the page of a run, which is opened in the browser if ``opens``.

    ``what`` is a training, a run of several seeds, a main job or a search, as ``references.find`` takes it. Raises
    InputError for anything else.
    """
    file = _page_file(what)
    if opens:
        open_link(file.as_uri())
    elif len(connection := os.environ.get("SSH_CONNECTION", "").split()) == 4:
        log.info("On your own machine: scp %s@%s:%s .", getuser(), connection[2], shlex.quote(str(file)))
    return str(file)


def _page_file(what: str) -> Path:
    """The page in mlruns/.pages, made anew if what it is made of has changed; never the one that the run records.

    That one goes wherever the record goes, so it has less.
    """
    run = references.find(what)
    if run.stage not in (SEARCH, SEEDS):
        run = references.training_behind(run)
    subject, file = subject_of(run.id), store.beside_store(store.PAGES) / f"{run.id}.html"
    made_of = f"<!-- {_digest(subject)} -->\n".encode()
    if file.is_symlink() or not (file.is_file() and file.read_bytes().startswith(made_of)):
        write_atomically(file, made_of + page.page_of(subject, stays_here=True).encode())
    return file


def _digest(subject: Subject) -> str:
    """The digest of all that the page depends on: records, their weights and notes, and the code of pages."""
    runs = [*subject.trainings, *filter(None, [subject.search])]
    records = [[run.id, run.ended_ms, run.tag(WEIGHTS), run.tag("note")] for run in runs]
    code = [sha256(file.read_bytes()).hexdigest() for file in MADE_OF]
    return sha256(json.dumps([records, code]).encode()).hexdigest()
