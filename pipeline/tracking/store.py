"""The store in which runs are recorded: the same database for ``mlflow run``, plain Python and ``mlflow ui``.

It is <root>/mlruns/mlflow.db, where root is the folder of our MLproject, or the working folder if the former can't be
written. MLFLOW_TRACKING_URI overrides it.
"""

import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

# MLflow reads these when it is imported: no telemetry, and no progress bars among a command's results
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
from mlflow.entities import Experiment, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.utils import request_utils
from mlflow.utils.request_utils import TCPKeepAliveHTTPAdapter
from requests import PreparedRequest, Response
from requests.adapters import Retry
from requests.exceptions import ChunkedEncodingError
from requests.utils import rewind_body
from sqlalchemy import URL, create_engine, event, inspect, make_url
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import InputError, RecordingError
from pipeline.support.files import ROOT, file_lock
from pipeline.support.machine import environment_variables
from pipeline.tracking.names import recorded_tags
from pipeline.tracking.relocation import LOCK_SECONDS, adopt, local_path, location_of, old_folder
from pipeline.tracking.ui import views

log = logging.getLogger(__name__)

EXPERIMENT = "time-machine-lm"

EXPERIMENT_NOTE = (
    "Character-level recurrent language models: perplexity against cost. `tmlm ui` prints links that open this "
    "experiment with the right columns and charts."
)

NOTE = "mlflow.note.content"  # the description that the UI shows

CREATE_ATTEMPTS = 20  # one per second

SERVER_SECONDS = 5  # timeout of the first request to a server, and of requests that are not retried

OUTAGE_SECONDS = 120  # longest outage of a server that recording survives

GIVEN_UP_SECONDS = 60  # after a request was given up, others are not retried for so long, unless one succeeds

BACKOFF_SECONDS = 15  # longest pause between two retries

SILENT_SECONDS = 10  # without an answer, until a warning is logged

SCHEMA_SECONDS = 3  # between two reads of a schema that another process may be creating

MIGRATIONS = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"

_SECRET_PARAMETER = re.compile(r"((?:password|passwd|pwd|secret|token)=)[^&\s]*", re.IGNORECASE)

REFUSALS = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)

REASON_CHARS = 300

ELSEWHERE = "set MLFLOW_TRACKING_URI to another store"

PERMISSION = "ask whoever runs that server for it, or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"

ADVICE = {  # part of the error message -> what to do; the first match counts
    "code 401": PERMISSION,
    "code 403": PERMISSION,
    "401 client error": PERMISSION,
    "403 client error": PERMISSION,
    "permission_denied": PERMISSION,
    "the 'active' state": "it was deleted; restore it with `mlflow runs restore` or `mlflow experiments restore`",
    "locked": f"another process has held it for {LOCK_SECONDS} seconds: stop it and try again",
    "lock file": f"another command has been setting it up for {LOCK_SECONDS} seconds: stop it and try again",
    "readonly": f"make it writable, or {ELSEWHERE}",
    "read-only": f"make it writable, or {ELSEWHERE}",
    "denied": f"make it and its folder writable, or {ELSEWHERE}",
    "unable to open": f"make it and its folder writable, or {ELSEWHERE}",
    "directory": f"move it away, or {ELSEWHERE}",
    "not a database": f"move it away, or {ELSEWHERE}",
    "malformed": f"restore a backup or move it away, or {ELSEWHERE}",
    "full": "free some space on that disk",
    "No space left": "free some space on that disk",
    "quota exceeded": "free some space on that disk",
    "too large": "raise the limit on the size of a file, or free some space on that disk",
    "disk I/O": "check whether the disk is full or failing",
    "out-of-date": f"copy it, then `mlflow db upgrade` it, or {ELSEWHERE}",
    "Connection": f"start the server, or {ELSEWHERE}",
    "Max retries": f"start the server, or {ELSEWHERE}",
    "timed out": f"start the server, or {ELSEWHERE}",
}


@dataclass(frozen=True)
class Store:
    """The store in which runs are recorded, and its experiment.

    ``database`` is our own database file, None for any other store. ``file`` is the device and inode of the opened
    SQLite file, None for any other store.
    """

    uri: str
    experiment_id: str
    database: Path | None
    file: tuple[int, int] | None = None


def root() -> Path:
    """The folder that contains mlruns/: that of our MLproject if it is writable, else the working folder."""
    return ROOT if (ROOT / "MLproject").is_file() and os.access(ROOT, os.W_OK) else Path.cwd()


def own_database() -> Path | None:
    """Our database file; None if MLFLOW_TRACKING_URI names another store."""
    ours = root() / "mlruns" / "mlflow.db"
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        return ours
    return ours if sqlite_file(uri) == ours.resolve() else None


@cache
def setup() -> Store:
    """Find or create the store and its experiment, and make it MLflow's current store.

    Raises InputError for a store that can't be used, and RecordingError for one that stays locked.
    """
    uri, database = address(), own_database()
    with store_errors():
        _point_at(uri)
        if database is None:
            _probe(uri)
            file = sqlite_file(uri)
            return Store(uri, _chosen_experiment(file), None, _inode(file))
        with file_lock(database.parent / ".setup.lock", LOCK_SECONDS):
            _probe(uri)
            if _create().name == "Default":  # MLflow has just created it
                adopt(database)
                MlflowClient().rename_experiment("0", EXPERIMENT)
            elif moved := moved_from(database):
                raise InputError(f"{moved}; run `tmlm doctor --repair` first")
            return Store(uri, _chosen_experiment(database), database, _inode(database))


def moved_from(database: Path) -> str:
    """A sentence about a moved or copied checkout, whose database refers to the old folder; "" for any other."""
    old = old_folder(MlflowClient().get_experiment("0").artifact_location, database.parent)
    return "" if old is None else f"this checkout was moved or copied: its runs were recorded in {old}"


def look() -> bool:
    """Make the store MLflow's current one without changing it; False if there is none yet. Raises as ``setup``."""
    with store_errors():
        uri = address()
        if (file := sqlite_file(uri)) is not None and not file.exists():
            return False
        _point_at(uri)
        _probe(uri)
        return True


def _point_at(uri: str) -> None:
    """Make a store MLflow's current one, and configure MLflow's logging."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(os.environ.get("MLFLOW_LOGGING_LEVEL", "").upper() or logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of errors that are also raised
    # otherwise MLflow prints a server's address, with its password, to standard output
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    mlflow.set_tracking_uri(uri)


def _inode(file: Path | None) -> tuple[int, int] | None:
    """A file's device and inode, which survive a rename; None if it does not exist."""
    try:
        stat = None if file is None else file.stat()
    except OSError:
        return None
    return None if stat is None else (stat.st_dev, stat.st_ino)


class StoreGoneError(RecordingError):
    """The database file was deleted, moved or replaced after it was opened."""


def check_is_there(store: Store, run_id: str) -> None:
    """Raise StoreGoneError if the database in which ``run_id`` is being recorded is no longer the file at its path.

    SQLite keeps writing to the file that it opened, even if that was deleted, and the run would be lost.
    """
    file = sqlite_file(store.uri)
    if store.file is not None and _inode(file) != store.file:
        raise StoreGoneError(
            f"the store {file} was deleted, moved or replaced while the run {run_id} was being recorded, and the run "
            "is not in the present one. If the checkout was moved: run `tmlm doctor --repair` in its new place, then "
            f"`tmlm train --resume {run_id}`; otherwise start again"
        )


def address() -> str:
    """The store's address; that of an SQLite file has a lock timeout of LOCK_SECONDS."""
    ours = own_database()
    uri = os.environ["MLFLOW_TRACKING_URI"] if ours is None else f"sqlite:///{ours}"
    if ours is not None and sqlite_file(uri) != ours.resolve():  # SQLAlchemy 2.1 reads %20 as a space
        uri = URL.create("sqlite", database=str(ours)).render_as_string()
    if not uri.startswith("sqlite:") or "timeout=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}timeout={LOCK_SECONDS}"


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite address; None for any other store."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(str(make_url(uri).database).removeprefix("file:")).resolve()


def shown(uri: str) -> str:
    """An address for display: the path of an SQLite file, or the address without its password."""
    file = sqlite_file(uri)
    return masked(uri) if file is None else str(file)


def has_password(uri: str) -> bool:
    """Whether an address has a password, before the host or as a parameter, or can't be parsed and may have one."""
    try:
        return make_url(uri).password is not None or bool(_SECRET_PARAMETER.search(uri))
    except (SQLAlchemyError, ValueError):
        return "@" in uri


def masked(uri: str) -> str:
    """An address with *** in place of its user name and password, and of the values of secret parameters.

    As in SQLAlchemy, a password may contain a slash or an unescaped at sign.
    """
    try:
        url = make_url(uri)
        has_user = url.username is not None or url.password is not None
    except (SQLAlchemyError, ValueError):
        has_user = True
    beginning = uri.partition("//")[0] + "//" if "//" in uri else ""
    hidden = f"{beginning}***@{uri.rpartition('@')[2]}" if has_user and "@" in uri else uri
    return _SECRET_PARAMETER.sub(r"\1***", hidden)


def without_passwords(text: str) -> str:
    """Mask every address in a text."""
    addresses = re.compile(r"(?:\w[\w+.-]*:)?//\S*")
    return _SECRET_PARAMETER.sub(r"\1***", addresses.sub(lambda match: masked(match[0]), text))


def without_credentials(uri: str) -> str:
    """An http address without user name and password."""
    return re.sub(r"//[^/\s]*@", "//", uri)


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def _raise_busy_timeout(
    connection: object, cursor: object, statement: str, parameters: Any, context: object, executemany: bool
) -> tuple[str, Any]:
    """Replace SQLite's busy timeout, which MLflow sets to 20 s in every session, whatever the store's address says."""
    if statement.startswith("PRAGMA busy_timeout"):
        statement = f"PRAGMA busy_timeout = {1000 * LOCK_SECONDS}"
    return statement, parameters


# --- errors of the store ----------------------------------------------------------------------------------------------


def store_reason(error: Exception) -> str:
    """A store's error in one line: its main message, without passwords, and what to do."""
    lines = str(error).splitlines() or [type(error).__name__]
    driver = re.compile(r"\(\w+\.\w+\) ")  # (sqlite3.OperationalError) database is locked
    message = without_passwords(driver.sub("", next(filter(driver.match, lines), lines[0]), count=1)).rstrip(".")
    advice = next(
        (do for words, do in ADVICE.items() if words.lower() in message.lower()), f"repair it, or {ELSEWHERE}"
    )
    return f"{_cut(message)}; {advice}"


def _cut(text: str) -> str:
    """Shorten a text to about REASON_CHARS at a word boundary, but keep the innermost cause of a failed request."""
    if len(text) <= REASON_CHARS:
        return text
    whole, _, cause = text.rpartition("(Caused by ")
    if whole and len(cause) < REASON_CHARS // 2:
        return f"{_at_a_word(whole, REASON_CHARS - len(cause))} (Caused by {cause}"
    return _at_a_word(text, REASON_CHARS)


def _at_a_word(text: str, length: int) -> str:
    """Cut a text at the last word boundary within ``length`` characters, and append an ellipsis."""
    start = text[:length]
    return f"{start.rpartition(' ')[0] or start} ..."


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn errors of the store into InputError or RecordingError with a one-line reason."""
    store = f"the store {shown(address())}" if own_database() else f"MLFLOW_TRACKING_URI {shown(address())}"
    try:
        with warn_if_silent(address()):
            yield
    except REFUSALS as error:
        reason = store_reason(error)
        failed = RecordingError if "try again" in reason else InputError
        raise failed(f"{store} can't be used: {reason}") from error


# --- requests to a server ---------------------------------------------------------------------------------------------


_this_thread = threading.local()  # began: when its current request was first sent


class PatientRetry(Retry):
    """Retries MLflow's requests until OUTAGE_SECONDS after they began, instead of a number of times.

    MLflow's default of 7 retries takes 4 minutes for each request, even if earlier requests to the same server have
    just been given up. MLFLOW_HTTP_REQUEST_MAX_RETRIES, if set, still limits the number of retries.
    """

    gave_up_at = -inf  # time.monotonic() when this process last gave up a request

    @classmethod
    def has_given_up(cls) -> bool:
        return time.monotonic() - cls.gave_up_at < GIVEN_UP_SECONDS

    def __init__(self, total: Any = 10, **options: Any) -> None:
        if total and total > 0 and "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ:
            total = 1_000  # more than are possible in OUTAGE_SECONDS
            options |= {"connect": None, "read": None, "status": None, "backoff_max": BACKOFF_SECONDS}
        super().__init__(total, **options)

    def increment(self, *args: Any, **options: Any) -> "PatientRetry":
        following = super().increment(*args, **options)
        seconds = time.monotonic() - _this_thread.began
        if self.has_given_up() or seconds + following.get_backoff_time() > OUTAGE_SECONDS:
            PatientRetry.gave_up_at = time.monotonic()
            return super(PatientRetry, self.new(total=0)).increment(*args, **options)  # raises, as after a last retry
        return following


class PatientAdapter(TCPKeepAliveHTTPAdapter):
    """Sends MLflow's requests, and repeats one if its response breaks off, as when the server is killed.

    After a request was given up, requests time out after SERVER_SECONDS.
    """

    def send(
        self, request: PreparedRequest, stream: bool = False, timeout: Any = None, *args: Any, **options: Any
    ) -> Response:
        _this_thread.began = time.monotonic()
        timeout = SERVER_SECONDS if PatientRetry.has_given_up() else timeout
        response = super().send(request, stream, timeout, *args, **options)
        try:
            if not stream:
                _ = response.content  # read here and cached
        except ChunkedEncodingError:
            if getattr(request, "_body_position", None) is not None:
                rewind_body(request)
            response = super().send(request, stream, timeout, *args, **options)
        PatientRetry.gave_up_at = -inf
        return response


# MLflow looks up these names when it creates sessions
setattr(request_utils, "Retry", PatientRetry)  # noqa: B010
setattr(request_utils, "TCPKeepAliveHTTPAdapter", PatientAdapter)  # noqa: B010


@contextmanager
def warn_if_silent(uri: str) -> Iterator[None]:
    """Log one warning if a request to a server takes longer than SILENT_SECONDS."""
    if not uri.startswith("http"):
        yield
        return
    sentence = "%s has not answered for %d seconds; retrying for up to %d seconds"
    timer = threading.Timer(SILENT_SECONDS, log.warning, (sentence, masked(uri), SILENT_SECONDS, OUTAGE_SECONDS))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def impatient() -> Iterator[None]:
    """Within the block, requests time out after SERVER_SECONDS and are not retried."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SERVER_SECONDS)}
    with environment_variables(limits):
        yield


def _probe(uri: str) -> None:
    """Fail at once, before MLflow's own retries, if the store can't be written.

    Raises the error of the store's library, or InputError for the schema of another MLflow version.
    """
    if uri.startswith("http"):
        with impatient():
            MlflowClient().search_experiments(max_results=1)
    file = sqlite_file(uri)
    if file is None:
        return
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a directory")
    file.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(uri)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.rollback()
        _check_schema(engine, file)
    finally:
        engine.dispose()


def _check_schema(engine: Engine, file: Path) -> None:
    """Raise InputError if a newer or older MLflow created the database, which MLflow might migrate silently.

    While another process creates the database, its revision changes, so only a stable revision counts.
    """
    scripts = [path.read_text() for path in MIGRATIONS.glob("*.py")]
    before = None
    while (revision := _revision(engine)) is not None:
        if not any(f'\nrevision = "{revision}"' in script for script in scripts):
            raise InputError(
                f"the store {file} was written by a newer MLflow than {mlflow.__version__} (schema {revision}); "
                f"install that version, or {ELSEWHERE}"
            )
        if not any(f'\ndown_revision = "{revision}"' in script for script in scripts):
            return
        if revision == before:
            raise InputError(
                f"the store {file} was written by an older MLflow than {mlflow.__version__} (schema {revision}); keep "
                f"a copy of it, then: mlflow db upgrade 'sqlite:///{file}'"
            )
        before = revision
        time.sleep(SCHEMA_SECONDS)


def _revision(engine: Engine) -> str | None:
    """The schema's revision; None for a database without one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None


# --- our own store ----------------------------------------------------------------------------------------------------


def _create() -> Experiment:
    """Let MLflow create the database, with retries: `mlflow run` or `mlflow ui` may create it without our lock.

    Returns experiment 0.
    """
    for attempt in range(CREATE_ATTEMPTS):
        try:
            return MlflowClient().get_experiment("0")
        except Exception as error:  # of any kind, if two processes create the same tables
            if attempt == CREATE_ATTEMPTS - 1 or "malformed" in str(error):
                raise
            time.sleep(1)
    raise AssertionError


def _chosen_experiment(database: Path | None) -> str:
    """Get or create the experiment that MLflow's environment variables name, by default ours; returns its id.

    The artifacts of a new one are stored beside an SQLite database.
    """
    client = MlflowClient()
    experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID")
    if not experiment_id:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = client.get_experiment_by_name(name)
        folder = re.sub(r"[^\w.-]", "_", name)  # needs no quoting in a URI
        location = None if database is None else location_of(database.parent / folder)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(name, location)
    _check_artifacts(client.get_experiment(experiment_id))
    tag_experiment(experiment_id, {NOTE: EXPERIMENT_NOTE, **dict([views.all_texts().tag])})
    return str(experiment_id)


def _check_artifacts(experiment: Experiment) -> None:
    """Raise InputError if only an MLflow server can access the artifacts, and the store is opened directly."""
    uri, location = mlflow.get_tracking_uri(), experiment.artifact_location
    if location.startswith("mlflow-artifacts:") and not uri.startswith("http"):
        raise InputError(
            f"the experiment {experiment.name} of {shown(uri)} keeps its artifacts at {location}, where only its "
            "MLflow server can read and write; set MLFLOW_TRACKING_URI to the address of that server (http://...), or "
            "MLFLOW_EXPERIMENT_NAME to another experiment"
        )


def tag_experiment(experiment_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of the experiment, such as saved views, that are missing or differ."""
    client = MlflowClient()
    try:
        current = client.get_experiment(experiment_id).tags
        for key, value in tags.items():
            if current.get(key) != value:
                client.set_experiment_tag(experiment_id, key, value)
    except MlflowException as error:  # saved views are an undocumented feature of the UI and must not fail a run
        log.warning("a saved view of the UI could not be stored: %s", error)


def identity() -> str:
    """An identifier of the store: its experiment's id and creation time."""
    store = setup()
    with store_errors():
        experiment = MlflowClient().get_experiment(store.experiment_id)
    return f"{experiment.experiment_id}-{experiment.creation_time}"


def resume_lock() -> Path:
    """The lock file held while an ended run is reopened."""
    folder = root() / "mlruns"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / ".resume.lock"


def checkpoint_folder(run_id: str, artifact_uri: str) -> Path:
    """The folder for a run's checkpoints, in its artifact folder if that is local, else in mlruns/unsent/RUN_ID."""
    return (local_path(artifact_uri) or root() / "mlruns" / "unsent" / run_id) / "checkpoints"


def client() -> MlflowClient:
    """MLflow's client for the current store."""
    return MlflowClient()


def set_tags(run_id: str, values: Mapping[str, Any]) -> None:
    """Set tags of a run by their bare names."""
    MlflowClient().log_batch(run_id, tags=[RunTag(name, value) for name, value in recorded_tags(values).items()])
