"""Where runs are recorded: one database for ``mlflow run``, plain Python and a bare ``mlflow ui``.

It is <root>/mlruns/mlflow.db, root being the folder of our MLproject, or the working folder where that can't be
written. MLFLOW_TRACKING_URI overrides it.
"""

import logging
import os
import re
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import: nothing leaves this machine
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
from filelock import FileLock
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from pipeline.code_digest import ROOT
from pipeline.errors import InputError
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
    return ours if _sqlite_file(uri) == ours.resolve() else None


@cache
def setup() -> Store:
    """Create or find the store and its experiment, and make it MLflow's current one.

    Raises InputError if MLFLOW_TRACKING_URI names a store that can't be used.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    database = own_database()
    if database is None:
        uri = os.environ["MLFLOW_TRACKING_URI"]
        try:
            mlflow.set_tracking_uri(uri)
            return Store(uri, _chosen_experiment(_sqlite_file(uri)), None)
        except MlflowException as error:
            raise InputError(f"MLFLOW_TRACKING_URI {uri} can't be used: {error}; unset or mend it") from error
    uri = f"sqlite:///{database}?timeout={LOCK_SECONDS}"
    mlflow.set_tracking_uri(uri)
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.parent / ".setup.lock", timeout=LOCK_SECONDS):
        _create()
        _mend(database)
        if MlflowClient().get_experiment("0").name == "Default":
            MlflowClient().rename_experiment("0", EXPERIMENT)
        return Store(uri, _chosen_experiment(database), database)


def _create() -> None:
    """Let MLflow make the database; `mlflow run` or `mlflow ui` may be making it too, and they know no lock of ours."""
    for attempt in range(CREATE_ATTEMPTS):
        try:
            MlflowClient().get_experiment("0")
            return
        except Exception:  # whatever alembic or SQLite stumbles over when two make the same tables
            if attempt == CREATE_ATTEMPTS - 1:
                raise
            time.sleep(1)


def _sqlite_file(uri: str) -> Path | None:
    """The file of an sqlite address, or None for any other store."""
    return Path(uri.removeprefix("sqlite:///").split("?")[0]).resolve() if uri.startswith("sqlite:///") else None


def _mend(database: Path) -> None:
    """Put right what another starter of the database does differently: journal mode and artifact folder.

    ``mlflow ui`` makes experiment 0 with a location that only its server can write, and a run that ``mlflow run``
    has begun inherits it.
    """
    home = database.parent / "0"
    with closing(sqlite3.connect(database, timeout=LOCK_SECONDS)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")  # one writer does not stop the readers
        (location,) = connection.execute("SELECT artifact_location FROM experiments WHERE experiment_id=0").fetchone()
        (runs,) = connection.execute("SELECT count(*) FROM runs WHERE experiment_id=0").fetchone()
        if location.startswith("mlflow-artifacts:") or (not runs and location != str(home)):
            connection.execute("UPDATE experiments SET artifact_location=? WHERE experiment_id=0", (str(home),))
        if run_id := os.environ.get("MLFLOW_RUN_ID"):
            connection.execute(
                "UPDATE runs SET artifact_uri=? WHERE run_uuid=? AND artifact_uri LIKE 'mlflow-artifacts:%'",
                (f"{home}/{run_id}/artifacts", run_id),
            )


def _chosen_experiment(database: Path | None) -> str:
    """The experiment that MLflow's own variables name, else ours; its artifacts lie beside an sqlite database."""
    client = MlflowClient()
    experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID")
    if not experiment_id:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        experiment = client.get_experiment_by_name(name)
        folder = re.sub(r"[^\w.-]", "_", name)  # one that needs no quoting in an address
        location = None if database is None else str(database.parent / folder)
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


def unsent(run_id: str) -> Path:
    """Where files of a run wait that its artifact store, which is no folder of this machine, has not got yet."""
    return root() / "mlruns" / "unsent" / run_id
