"""Where runs are recorded: one database for ``mlflow run``, plain Python and a bare ``mlflow ui``.

It is <root>/mlruns/mlflow.db, root being the folder of our MLproject, or the working folder where that can't be
written. MLFLOW_TRACKING_URI overrides it.
"""

import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import: nothing leaves this machine
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
from filelock import FileLock
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy import URL, create_engine, event, inspect, make_url
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from pipeline.code_digest import ROOT
from pipeline.errors import InputError, RecordingError
from pipeline.locations import left_behind, local_path, location_of, misplaced
from pipeline.views import view_tag

log = logging.getLogger(__name__)

EXPERIMENT = "time-machine-lm"
EXPERIMENT_NOTE = (
    "Character-level recurrent language models: perplexity against cost. `tmlm ui` prints links that open this "
    "experiment with the right columns and charts."
)
NOTE = "mlflow.note.content"  # the description that the UI shows
CREATE_ATTEMPTS = 20  # a second apart
LOCK_SECONDS = 60  # that a writer waits for another one
SERVER_SECONDS = 5  # that a server may take for its first answer
SCHEMA_SECONDS = 3  # after which a database that another process is making has changed
MIGRATIONS = Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions"


@dataclass(frozen=True)
class Store:
    """Where runs are recorded. ``database`` is None for a store that is not our own file."""

    uri: str
    experiment_id: str
    database: Path | None


def root() -> Path:
    """The folder that holds mlruns/: our MLproject's if it can be written, else the working folder."""
    return ROOT if (ROOT / "MLproject").is_file() and os.access(ROOT, os.W_OK) else Path.cwd()


def own_database() -> Path | None:
    """Our database file, or None if MLFLOW_TRACKING_URI names another store."""
    ours = root() / "mlruns" / "mlflow.db"
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        return ours
    return ours if sqlite_file(uri) == ours.resolve() else None


@cache
def setup() -> Store:
    """Create or find the store and its experiment, and make it MLflow's current one.

    Raises InputError for a store that can't be used as it is, RecordingError for one that stays locked.
    """
    uri, database = address(), own_database()
    with refused():
        _point_at(uri)
        if database is None:
            _probe(uri)
            return Store(uri, _chosen_experiment(sqlite_file(uri)), None)
        database.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(database.parent / ".setup.lock", timeout=LOCK_SECONDS):
            _probe(uri)
            _create()
            _mend(database)
            if MlflowClient().get_experiment("0").name == "Default":
                MlflowClient().rename_experiment("0", EXPERIMENT)
            return Store(uri, _chosen_experiment(database), database)


def look() -> bool:
    """Make the store MLflow's current one without changing anything; False if there is none yet. Raises as setup."""
    with refused():
        uri = address()
        if (file := sqlite_file(uri)) is not None and not file.exists():
            return False
        _point_at(uri)
        _probe(uri)
        return True


def _point_at(uri: str) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of what is raised as well
    mlflow.set_tracking_uri(uri)


def address() -> str:
    """The store's address, with the patience of a writer for another one if it is an sqlite file."""
    ours = own_database()
    uri = os.environ["MLFLOW_TRACKING_URI"] if ours is None else f"sqlite:///{ours}"
    if ours is not None and sqlite_file(uri) != ours.resolve():  # SQLAlchemy 2.1 reads %20 as a space
        uri = URL.create("sqlite", database=str(ours)).render_as_string()
    if not uri.startswith("sqlite:") or "timeout=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}timeout={LOCK_SECONDS}"


def sqlite_file(uri: str) -> Path | None:
    """The file of an sqlite address, or None for any other store."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(str(make_url(uri).database).removeprefix("file:")).resolve()


def shown(uri: str) -> str:
    """An address as it may be shown: a file's path, and no password."""
    file = sqlite_file(uri)
    return without_passwords(uri) if file is None else str(file)


def without_passwords(text: str) -> str:
    """A text with *** in place of the user name and password, or the ``password=`` parameter, of each address in it."""
    return re.sub(r"(password=)[^&\s]*", r"\1***", re.sub(r"//[^/\s]*@", "//***@", text))


def without_credentials(uri: str) -> str:
    """An address without user name and password, as it may be shown and opened."""
    return re.sub(r"//[^/\s]*@", "//", uri)


@event.listens_for(Engine, "before_cursor_execute", retval=True)
def _be_patient(
    connection: object, cursor: object, statement: str, parameters: Any, context: object, executemany: bool
) -> tuple[str, Any]:
    """MLflow sets a patience of 20 s at the start of every session, whatever the store's address says."""
    if statement.startswith("PRAGMA busy_timeout"):
        statement = f"PRAGMA busy_timeout = {1000 * LOCK_SECONDS}"
    return statement, parameters


# --- a store that refuses ---------------------------------------------------------------------------------------------

REFUSALS = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)
ELSEWHERE = "set MLFLOW_TRACKING_URI to another store"
ADVICE = {  # what is said -> what to do
    "locked": f"another process has held it for {LOCK_SECONDS} seconds: end that one, and try again",
    "lock file": f"another command has been setting it up for {LOCK_SECONDS} seconds: end that one, and try again",
    "readonly": f"make it writable, or {ELSEWHERE}",
    "read-only": f"make it writable, or {ELSEWHERE}",
    "denied": f"make it and its folder writable, or {ELSEWHERE}",
    "unable to open": f"make it and its folder writable, or {ELSEWHERE}",
    "directory": f"move that away, or {ELSEWHERE}",
    "not a database": f"move it away, or {ELSEWHERE}",
    "malformed": f"put a copy of it in its place or move it away, or {ELSEWHERE}",
    "full": "free space on that disk",
    "No space left": "free space on that disk",
    "quota exceeded": "free space on that disk",
    "too large": "raise the limit on the size of a file, or free space on that disk",
    "disk I/O": "look for a full or failing disk",
    "out-of-date": f"copy it, then `mlflow db upgrade` it, or {ELSEWHERE}",
    "Connection": f"start that server, or {ELSEWHERE}",
    "Max retries": f"start that server, or {ELSEWHERE}",
    "timed out": f"start that server, or {ELSEWHERE}",
}


def reason_of(error: Exception) -> str:
    """Why a store refused: the heart of the error in one line, without passwords, and what to do about it."""
    lines = str(error).splitlines() or [type(error).__name__]
    driver = re.compile(r"\(\w+\.\w+\) ")  # (sqlite3.OperationalError) database is locked
    said = without_passwords(driver.sub("", next(filter(driver.match, lines), lines[0]), count=1))[:300].rstrip(".")
    advice = next((do for words, do in ADVICE.items() if words.lower() in said.lower()), f"mend it, or {ELSEWHERE}")
    return f"{said}; {advice}"


@contextmanager
def refused() -> Iterator[None]:
    """Say in a sentence why the store can't be used."""
    store = f"the store {shown(address())}" if own_database() else f"MLFLOW_TRACKING_URI {shown(address())}"
    try:
        yield
    except REFUSALS as error:
        reason = reason_of(error)
        failed = RecordingError if "try again" in reason else InputError
        raise failed(f"{store} can't be used: {reason}") from error


def _probe(uri: str) -> None:
    """Let a store that can't be written refuse at once and in its own words, before MLflow tries again and again.

    Raises what the store's library raises, InputError for a schema that is not that of the installed MLflow.
    """
    if uri.startswith("http"):
        patience = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SERVER_SECONDS)}
        before = {name: os.environ.get(name) for name in patience}
        os.environ.update(patience)
        try:
            MlflowClient().search_experiments(max_results=1)
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value
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
    """InputError for a database of a newer or an older MLflow, which would else change it without a word.

    While another process makes the database, its schema grows up: one is judged that stays as it is.
    """
    scripts = [path.read_text() for path in MIGRATIONS.glob("*.py")]
    before = None
    while (revision := _revision(engine)) is not None:
        if not any(f'\nrevision = "{revision}"' in script for script in scripts):
            raise InputError(
                f"the store {file} is of a newer MLflow than {mlflow.__version__} (schema {revision}); "
                f"install that one, or {ELSEWHERE}"
            )
        if not any(f'\ndown_revision = "{revision}"' in script for script in scripts):
            return
        if revision == before:
            raise InputError(
                f"the store {file} is of an older MLflow than {mlflow.__version__} (schema {revision}); keep a copy "
                f"of it, then: mlflow db upgrade 'sqlite:///{file}'"
            )
        before = revision
        time.sleep(SCHEMA_SECONDS)


def _revision(engine: Engine) -> str | None:
    """The schema's revision, or None of a database without one."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None


# --- our own store ----------------------------------------------------------------------------------------------------


def _create() -> None:
    """Let MLflow make the database; `mlflow run` or `mlflow ui` may be making it too, and they know no lock of ours."""
    for attempt in range(CREATE_ATTEMPTS):
        try:
            MlflowClient().get_experiment("0")
            return
        except Exception as error:  # whatever alembic or SQLite stumbles over when two make the same tables
            if attempt == CREATE_ATTEMPTS - 1 or "malformed" in str(error):
                raise
            time.sleep(1)


def _mend(database: Path) -> None:
    """Put right what another starter of the database does differently, or a move of its folder: journal mode, folders.

    ``mlflow ui`` makes experiment 0 with a location that only its server can write, and a run that ``mlflow run``
    has begun inherits it. The experiments of a checkout that was moved or copied still point at the old one.
    """
    folder = database.parent
    home = location_of(folder / "0")
    with closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")  # one writer does not stop the readers
        elsewhere = misplaced(connection, folder)
        (location,) = connection.execute("SELECT artifact_location FROM experiments WHERE experiment_id=0").fetchone()
        (runs,) = connection.execute("SELECT count(*) FROM runs WHERE experiment_id=0").fetchone()
        roots = [each.old.parent for each in elsewhere if each.table == "experiments" and each.row == 0]
        if location.startswith("mlflow-artifacts:") or (not runs and location != home):
            connection.execute("UPDATE experiments SET artifact_location=? WHERE experiment_id=0", (home,))
        for each in elsewhere:
            if each.table == "experiments" and each.old.parent in roots:
                here = location_of(folder / each.old.name)
                connection.execute("UPDATE experiments SET artifact_location=? WHERE rowid=?", (here, each.row))
        if run_id := os.environ.get("MLFLOW_RUN_ID"):
            _mend_begun_run(connection, run_id, roots)
    for sentence in left_behind(database, LOCK_SECONDS):
        log.warning("%s", sentence)


def _mend_begun_run(connection: sqlite3.Connection, run_id: str, old_roots: list[Path]) -> None:
    """Let a run that ``mlflow run`` has begun, and that has no artifacts yet, record where its experiment now does."""
    found = connection.execute(
        "SELECT artifact_uri, artifact_location FROM runs JOIN experiments USING (experiment_id) WHERE run_uuid=?",
        (run_id,),
    )
    for uri, location in found.fetchall():
        path, folder = local_path(uri), local_path(location)
        if folder and (uri.startswith("mlflow-artifacts:") or (path and path.parents[2] in old_roots)):
            place = location_of(folder / run_id / "artifacts")
            connection.execute("UPDATE runs SET artifact_uri=? WHERE run_uuid=?", (place, run_id))


def _chosen_experiment(database: Path | None) -> str:
    """The experiment that MLflow's own variables name, else ours; its artifacts lie beside an sqlite database."""
    client = MlflowClient()
    experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID")
    if not experiment_id:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = client.get_experiment_by_name(name)
        folder = re.sub(r"[^\w.-]", "_", name)  # one that needs no quoting in an address
        location = None if database is None else location_of(database.parent / folder)
        experiment_id = experiment.experiment_id if experiment else client.create_experiment(name, location)
    tag_experiment(experiment_id, {NOTE: EXPERIMENT_NOTE, **dict([view_tag("All texts: models", None)])})
    return str(experiment_id)


def tag_experiment(experiment_id: str, tags: Mapping[str, str]) -> None:
    """Store views and the like with the experiment, where they are not yet there."""
    client = MlflowClient()
    try:
        there = client.get_experiment(experiment_id).tags
        for key, value in tags.items():
            if there.get(key) != value:
                client.set_experiment_tag(experiment_id, key, value)
    except MlflowException as error:  # a convenience of the UI, undocumented: never worth a run
        log.warning("a saved view of the UI could not be stored: %s", error)


def resume_lock() -> Path:
    """The file that is locked while an ended run is opened again."""
    folder = root() / "mlruns"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / ".resume.lock"


def checkpoint_folder(run_id: str, artifact_uri: str) -> Path:
    """Where a run's checkpoints are written: among its artifacts where these are files of this machine."""
    return (local_path(artifact_uri) or root() / "mlruns" / "unsent" / run_id) / "checkpoints"


def client() -> MlflowClient:
    """MLflow's client of the current store."""
    return MlflowClient()


def set_tags(run_id: str, values: Mapping[str, Any]) -> None:
    MlflowClient().log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in values.items()])
