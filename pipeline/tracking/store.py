"""The store in which runs are recorded: the same database for ``mlflow run``, plain Python and ``mlflow ui``.

It is mlruns/mlflow.db in the folder that ``root`` says; MLFLOW_TRACKING_URI overrides it.
"""

import logging
import os
import re
import sqlite3
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock
from google.protobuf.json_format import ParseError
from sqlalchemy import URL, Engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError

from pipeline.errors import InputError, RecordingError, TmlmError, without_secrets
from pipeline.support.files import LOCK_SECONDS, ROOT, create_database, has_row, opened
from pipeline.support.machine import environment_variables
from pipeline.tracking import schema
from pipeline.tracking.names import DESCRIPTION, recorded_tags
from pipeline.tracking.relocation import local_path, location_of, old_folder, prepare_database

with environment_variables({"MLFLOW_DISABLE_TELEMETRY": "true"}):  # MLflow reads it when it is imported
    import mlflow
import mlflow.db
from mlflow.entities import Experiment, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.db.base_sql_model import Base
from mlflow.store.db.utils import _get_latest_schema_revision
from mlflow.tracking import MlflowClient
from mlflow.tracking._model_registry.utils import _get_store as get_registry_store
from mlflow.tracking._tracking_service.utils import _get_store as get_tracking_store

log = logging.getLogger(__name__)

EXPERIMENT = "time-machine-lm"

EXPERIMENT_NOTE = "Character-level language models: perplexity against cost. Choose one of the Views above."

TABLES = ("alembic_version", *Base.metadata.tables)  # of MLflow's database

UNSENT, PAGES = "unsent", ".pages"  # folders of mlruns/: checkpoints for a server, pages that runs lack
KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"  # for training, in the words of MLflow's UI
LONGEST_PATH = 500  # bytes of the path of an SQLite file, whose journal's name is longer: SQLite takes 512
SERVER_SECONDS = 5  # timeout of the first request to a server, and of requests that are not retried
SILENT_SECONDS = 10  # without an answer, until a warning is logged

SETTINGS = {  # of MLflow, unless the user has set them
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",  # among a command's results
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # a server's address, with its password
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "6",  # of a request, within two minutes
}

LOG_LEVELS = {"alembic": logging.WARNING, "mlflow": logging.WARNING, "mlflow.store.db.utils": logging.CRITICAL}
REFUSALS = (MlflowException, ParseError, SQLAlchemyError, sqlite3.Error, OSError)
ELSEWHERE = "set MLFLOW_TRACKING_URI to another store"
PERMISSION = "ask whoever runs that server for it, or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"

ADVICE = {  # pattern of the error message -> what to do; the first match counts
    "code 40[13]|40[13] client error|permission_denied": PERMISSION,
    "the 'active' state": "it was deleted; restore it with `mlflow runs restore` or `mlflow experiments restore`",
    "too many open files": "raise the limit (ulimit -n)",
    "locked|lock file": "another process holds it: stop it and try again",
    "readonly|read-only|denied|unable to open": f"make it and its folder writable, or {ELSEWHERE}",
    "directory|not a database": f"move it away, or {ELSEWHERE}",
    "malformed": f"restore a backup or move it away, or {ELSEWHERE}",
    "full|no space left|quota exceeded|too large|disk i/o": "free some space on that disk, or raise the limit on files",
    "out-of-date": f"`tmlm doctor --upgrade` upgrades it; if a newer MLflow wrote it, install that, or {ELSEWHERE}",
    "connection|max retries|timed out": f"start the server, or {ELSEWHERE}",
    "code (404|405|501)": "it is no MLflow server, or one before MLflow 3: check the address, or update it",
}


@dataclass(frozen=True)
class Store:
    """The store in which runs are recorded, and its experiment."""

    uri: str
    experiment_id: str
    database: Path | None  # our own database file; None for any other store


def root() -> Path:
    """The folder that contains mlruns/: that of our MLproject if it is writable, else the working folder."""
    return ROOT if (ROOT / "MLproject").is_file() and os.access(ROOT, os.W_OK) else Path.cwd()


def own_database() -> Path | None:
    """Our database file; None if MLFLOW_TRACKING_URI names another store."""
    ours = root() / "mlruns" / "mlflow.db"
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return ours if uri in ("", sqlite_address(ours)) or sqlite_file(uri) == ours.resolve() else None


def setup() -> Store:
    """Find or create the store and its experiment, and make it MLflow's current store.

    Raises InputError for a store that can't be used, and RecordingError for one that stays locked.
    """
    return _setup(address(), *map(os.environ.get, ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")))


def sync_deletions(engine: Engine) -> None:
    """Let an SQLite engine sync the deletion of a journal: without WAL, that is what commits a transaction."""
    if engine.dialect.name == "sqlite" and not event.contains(engine, "checkout", _sync_deletions):
        event.listen(engine, "checkout", _sync_deletions)  # of a connection from the pool, which may be an old one


def _sync_deletions(connection: sqlite3.Connection, *_: object) -> None:
    connection.execute("PRAGMA synchronous=EXTRA")


def _open(uri: str) -> None:
    """Check that the store can be used, and let its engines, if it has any, sync as ``sync_deletions`` does."""
    _probe(uri)
    for store in (get_tracking_store(uri), get_registry_store()):
        if hasattr(store, "engine"):
            sync_deletions(store.engine)


@lru_cache(maxsize=1)  # a process may turn to another store
def _setup(uri: str, *experiment: str | None) -> Store:
    database = own_database()
    with store_errors():
        _point_at(uri)
        if database is None:
            _open(uri)
            return Store(uri, _chosen_experiment(sqlite_file(uri)), None)
        with FileLock(database.parent / ".setup.lock", timeout=LOCK_SECONDS):
            _open(uri)
            if (first := MlflowClient().get_experiment("0")).name == "Default":  # MLflow has just created it
                prepare_database(database)
                is_taken = MlflowClient().get_experiment_by_name(EXPERIMENT)  # by a push to this new checkout
                MlflowClient().rename_experiment("0", "unused" if is_taken else EXPERIMENT)
            elif moved := moved_from(database, first):
                raise InputError(f"{moved}; run `tmlm doctor --repair` first")
            return Store(uri, _chosen_experiment(database), database)


def moved_from(database: Path, first: Experiment) -> str:
    """A sentence about a moved or copied checkout, whose experiment 0 is in the old folder; "" for any other."""
    old = old_folder(first.artifact_location, database.parent)
    return "" if old is None else f"this checkout was moved or copied: its runs were recorded in {old}"


def look() -> bool:
    """Make the store MLflow's current one without changing it; False if there is none yet. Raises as ``setup``."""
    with store_errors():
        uri = address()
        if (file := sqlite_file(uri)) is not None and not file.exists():
            return False
        _point_at(uri)
        _open(uri)
        return True


def upgrade() -> list[str]:
    """Upgrade the tables of an SQLite file to those of the installed MLflow; raises as ``schema.upgrade``."""
    if (file := sqlite_file(address())) is None:
        raise InputError(f"--upgrade: whoever runs {shown(address())} has to stop it and call `mlflow db upgrade`")

    def migrate(copy: Path) -> None:
        mlflow.db.upgrade.callback(sqlite_address(copy))  # type: ignore[misc]  # without click, which turns Ctrl-C to Abort

    counted = "experiments", "runs", "logged_models", "registered_models", "model_versions"
    with store_errors():
        return schema.upgrade(file, _get_latest_schema_revision(), migrate, counted, TABLES)


def _point_at(uri: str) -> None:
    """Make a store MLflow's current one, and set what MLflow offers as settings (``settings_kept`` undoes both)."""
    refuse_no_file(uri, "MLFLOW_TRACKING_URI")
    for setting, value in SETTINGS.items():
        os.environ.setdefault(setting, value)
    for name, level in LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    if asked := os.environ.get("MLFLOW_LOGGING_LEVEL"):
        logging.getLogger("mlflow").setLevel(asked.upper())
    mlflow.set_tracking_uri(uri)


@contextmanager
def settings_kept() -> Iterator[None]:
    """Restore MLflow's settings, its current store and the levels of its loggers after the block."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}
    levels = {name: logging.getLogger(name).level for name in LOG_LEVELS}
    try:
        yield
    except (MlflowException, ParseError) as error:  # of artifacts, whose address it may contain, or an odd answer
        raise TmlmError(f"the store failed: {store_reason(error)}") from None
    finally:
        _setup.cache_clear()  # the next call sets them again
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # then the environment decides, which has it too
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            del os.environ[name]
        os.environ.update(environment)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def address() -> str:
    """The store's address."""
    ours = own_database()
    return os.environ["MLFLOW_TRACKING_URI"] if ours is None else sqlite_address(ours)


@lru_cache
def sqlite_address(file: Path) -> str:
    """The address of an SQLite file, escaped only where it has to be.

    MLflow creates the folder in an address, without unescaping it, unless the address names a driver.
    """
    address = f"sqlite:///{file}"
    is_valid = make_url(address).database == str(file)
    return address if is_valid else URL.create("sqlite+pysqlite", database=str(file)).render_as_string()


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite address; None for any other store."""
    if not re.match(r"sqlite(\+\w+)?:///", uri):
        return None
    return Path(str(make_url(uri).database).removeprefix("file:")).resolve()


def refuse_no_file(uri: str, option: str) -> None:
    """Raise InputError for an address that is none, or an SQLite address of anything but a file of a possible name."""
    try:
        urlsplit(uri)
    except ValueError as error:
        raise InputError(f"{option} {uri} is no address ({error}); set it to that of a server") from None
    file = sqlite_file(uri)
    if file is not None and len(os.fsencode(file)) > LONGEST_PATH:
        raise InputError(
            f"{file} has {len(os.fsencode(file))} bytes, and SQLite takes paths of {LONGEST_PATH}: set {option} to a "
            "shorter one, or move the checkout"
        )
    is_file = file is not None and (file.is_file() or not file.exists())
    if uri.startswith("sqlite") and (not is_file or ":memory:" in uri or "mode=memory" in uri):
        raise InputError(f"{shown(uri)} is no regular file; set {option} to sqlite:///FILE, or a server's address")


def shown(uri: str) -> str:
    """An address for display: the path of an SQLite file, or the address without secrets."""
    file = sqlite_file(uri)
    return without_secrets(uri.replace(" ", "%20")) if file is None else str(file)


def store_reason(error: Exception) -> str:
    """A store's error in one line: its main message, without secrets, and what to do.

    All of it is logged at DEBUG, not chained as a cause: a traceback, which a notebook keeps, would have its addresses.
    """
    log.debug("%s", without_secrets("".join(traceback.format_exception(error))))
    lines = str(error).splitlines() or [type(error).__name__]
    driver = re.compile(r"\(\w+\.\w+\) ")  # (sqlite3.OperationalError) database is locked
    message = without_secrets(driver.sub("", next(filter(driver.match, lines), lines[0]), count=1)).rstrip(".")
    message = re.sub(r"\S*@|[?#]\S*", "", message)  # of an address that MLflow shows in part
    advice = (do for words, do in ADVICE.items() if re.search(words, message, re.IGNORECASE))
    return f"{message}; {next(advice, f'repair it, or {ELSEWHERE}')}"


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn errors of the store as ``store_refusals`` does, and warn if it does not answer."""
    with store_refusals(), warn_if_silent(address()):
        yield


@contextmanager
def store_refusals() -> Iterator[None]:
    """Turn errors of the store into InputError or RecordingError with a one-line reason."""
    try:
        yield
    except REFUSALS as error:
        reason = store_reason(error)
        store = f"the store {shown(address())}" if own_database() else f"MLFLOW_TRACKING_URI {shown(address())}"
        failed = RecordingError if "try again" in reason else InputError
        raise failed(f"{store} can't be used: {reason}") from None


@contextmanager
def warn_if_silent(uri: str) -> Iterator[None]:
    """Log one warning if a request to a server takes longer than SILENT_SECONDS."""
    if uri.startswith("sqlite"):
        yield
        return
    sentence = "%s has not answered for %d seconds; retrying for about two minutes"
    timer = threading.Timer(SILENT_SECONDS, log.warning, (sentence, without_secrets(uri), SILENT_SECONDS))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def impatient() -> AbstractContextManager[None]:
    """Within the block, requests time out after SERVER_SECONDS and are not retried."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SERVER_SECONDS)}
    return environment_variables(limits)


def _probe(uri: str) -> None:
    """Fail at once, before MLflow's own retries, if the store can't be written; create an SQLite file.

    Raises the error of the store's library.
    """
    if uri.startswith("http"):
        with impatient():
            MlflowClient().search_experiments(max_results=1)
    if (file := sqlite_file(uri)) is not None:
        schema.refuse_views(file, TABLES)
        create_database(file, lambda made: MlflowClient(sqlite_address(made)).get_experiment("0"), "experiments")
        with opened(file) as connection:
            connection.execute("BEGIN IMMEDIATE")
        revisions = "SELECT group_concat(version_num) FROM alembic_version"
        # which MLflow would upgrade at once, without a backup, if a table is missing
        if has_row(file, f"experiments WHERE ({revisions}) IS NOT '{_get_latest_schema_revision()}'"):
            raise MlflowException("out-of-date database schema")


def own_experiment() -> Experiment | None:
    """The experiment that MLflow's environment variables name, by default ours; None if there is none yet."""
    name, given = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT), os.environ.get("MLFLOW_EXPERIMENT_ID")
    return MlflowClient().get_experiment(given) if given else MlflowClient().get_experiment_by_name(name)


def _chosen_experiment(database: Path | None) -> str:
    """Get or create the experiment that MLflow's environment variables name, by default ours; returns its id.

    The artifacts of a new one are stored beside an SQLite database. Raises InputError for one whose artifacts only an
    MLflow server can access, if the store is opened directly.
    """
    client, name = MlflowClient(), os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    if (experiment := own_experiment()) is None:
        folder = re.sub(r"[^\w.-]", "_", name)  # needs no quoting in a URI
        with tolerating("RESOURCE_ALREADY_EXISTS"):
            client.create_experiment(name, None if database is None else location_of(database.parent / folder))
        experiment = own_experiment()
        assert experiment is not None
    uri, location = mlflow.get_tracking_uri(), experiment.artifact_location
    if location.startswith("mlflow-artifacts:") and not uri.startswith("http"):
        raise InputError(
            f"the experiment {experiment.name} of {shown(uri)} keeps its artifacts at {location}, where only its "
            "MLflow server can read and write; set MLFLOW_TRACKING_URI to the address of that server (http://...), or "
            "MLFLOW_EXPERIMENT_NAME to another experiment"
        )
    tags = {DESCRIPTION: EXPERIMENT_NOTE, KIND: experiment.tags.get(KIND, TRAINING)}
    if not tags.items() <= experiment.tags.items():
        tag_experiment(experiment.experiment_id, tags)
    return str(experiment.experiment_id)


@contextmanager
def tolerating(error_code: str) -> Iterator[None]:
    """End the block at MLflow's error of this code: what is created exists, or what is deleted is gone."""
    try:
        yield
    except MlflowException as error:
        if error.error_code != error_code:
            raise


def tag_experiment(experiment_id: str, tags: Mapping[str, str]) -> None:
    """Set tags of the experiment, such as saved views, that are missing or differ."""
    client = MlflowClient()
    try:
        current = client.get_experiment(experiment_id).tags
        for key, value in tags.items():
            if current.get(key) != value:
                client.set_experiment_tag(experiment_id, key, value)
    except MlflowException as error:  # saved views are an undocumented feature of the UI and must not fail a run
        log.warning("a saved view of the UI could not be stored: %s", without_secrets(str(error)))


def identity() -> str:
    """An identifier of the store: its experiment's id and creation time."""
    store = setup()
    with store_errors():
        experiment = MlflowClient().get_experiment(store.experiment_id)
    return f"{experiment.experiment_id}-{experiment.creation_time}"


def checkpoint_folder(run_id: str, artifact_uri: str) -> Path:
    """The folder for a run's checkpoints, in its artifact folder if that is local, else in mlruns/unsent/RUN_ID."""
    return (local_path(artifact_uri) or beside_store(UNSENT) / run_id) / "checkpoints"


def beside_store(folder: str) -> Path:
    """The folder UNSENT or PAGES, in which what belongs to runs is kept outside of their artifacts, by their ids."""
    return root() / "mlruns" / folder


def client() -> MlflowClient:
    """MLflow's client for the current store."""
    return MlflowClient()


def set_tags(run_id: str, values: Mapping[str, Any]) -> None:
    """Set tags of a run by their bare names."""
    MlflowClient().log_batch(run_id, tags=[RunTag(name, value) for name, value in recorded_tags(values).items()])
