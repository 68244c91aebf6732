"""Tracking, the only door to MLflow (with served_model.py, which MLflow loads): store, runs, records, models.

One database for ``mlflow run``, plain Python and a bare ``mlflow ui``: <root>/mlruns/mlflow.db, root being the folder
of our MLproject, or the working folder where that can't be written. MLFLOW_TRACKING_URI overrides it.
"""

import importlib.metadata
import json
import logging
import os
import platform
import re
import socket
import sqlite3
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import: nothing leaves this machine
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

import mlflow
import psutil
import yaml
from filelock import FileLock
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.dataset_source import DatasetSource
from mlflow.data.http_dataset_source import HTTPDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from pipeline.code_digest import ROOT, modules_behind
from pipeline.errors import InputError
from pipeline.views import TAG_PREFIX, key_of, view_tag

log = logging.getLogger(__name__)

EXPERIMENT = "time-machine-lm"
EXPERIMENT_NOTE = (
    "Character-level recurrent language models: perplexity against cost. `tmlm ui` prints links that open this "
    "experiment with the right columns and charts."
)
NOTE = "mlflow.note.content"  # the description that the UI shows
CREATE_ATTEMPTS = 20  # a second apart
LOCK_SECONDS = 60  # that a writer waits for another one
RESULT_FILE = "result.json"  # what a step came to, in the artifacts of its run
BEST_CHECKPOINT = "best.safetensors"
SERVED_PACKAGES = ("mlflow", "torch", "numpy", "pandas", "safetensors")  # what served_model.py needs
PACKAGES = ("torch", "mlflow", "optuna", "ptflops", "matplotlib", "click", "numpy", "safetensors")


SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string)]),
    outputs=Schema([ColSpec(DataType.string)]),
    params=ParamSchema(
        [
            ParamSpec("length", DataType.long, 200),
            ParamSpec("method", DataType.string, "sample"),
            ParamSpec("temperature", DataType.double, 0.7),
            ParamSpec("top_k", DataType.long, 0),
            ParamSpec("top_p", DataType.double, 1.0),
            ParamSpec("beam_width", DataType.long, 4),
            ParamSpec("seed", DataType.long, 0),
        ]
    ),
)


# --- the store -------------------------------------------------------------------------------------------------------


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
    _tag_experiment(experiment_id, {NOTE: EXPERIMENT_NOTE, **dict([view_tag("All texts: models", None)])})
    return str(experiment_id)


def _tag_experiment(experiment_id: str, tags: Mapping[str, str]) -> None:
    """Store views and the like with the experiment, where they are not yet there."""
    client = MlflowClient()
    try:
        there = client.get_experiment(experiment_id).tags
        for key, value in tags.items():
            if there.get(key) != value:
                client.set_experiment_tag(experiment_id, key, value)
    except MlflowException as error:  # a convenience of the UI, undocumented: never worth a run
        log.warning("a saved view of the UI could not be stored: %s", error)


def texts_with_views() -> dict[str, str | None]:
    """What the stored views show: label -> the text's digest, None for all texts."""
    store = setup()
    tags = MlflowClient().get_experiment(store.experiment_id).tags
    found: dict[str, str | None] = {}
    for run in MlflowClient().search_runs([store.experiment_id], "tags.stage = 'train'", max_results=1000):
        digest = run.data.tags.get("corpus.sha256")
        if digest and TAG_PREFIX + key_of(digest) in tags:
            found.setdefault(run.data.tags["corpus"], digest)
    return {**found, "all texts": None}


# --- runs ------------------------------------------------------------------------------------------------------------


def rounded(value: float) -> float:
    """Six significant digits: the UI shows all that it is given."""
    return float(f"{value:.6g}")


def config_id(*configurations: Mapping[str, Any]) -> str:
    """A digest of configurations without their seed: runs that differ in the seed alone share it."""
    plain = [{key: value for key, value in each.items() if key != "seed"} for each in configurations]
    return sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:12]


class TrackedRun:
    """One MLflow run that is being recorded."""

    def __init__(self, store: Store, run: Run, name: str) -> None:
        self.store = store
        self.id: str = run.info.run_id
        self.name = name
        self.artifact_uri: str = run.info.artifact_uri
        self.client = MlflowClient()
        self._params = dict(run.data.params)

    @property
    def checkpoint_dir(self) -> Path:
        """Where the run's checkpoints are written: among its artifacts where these are files of this machine."""
        local = local_path(self.artifact_uri)
        return (local or root() / "mlruns" / "unsent" / self.id) / "checkpoints"

    def send_checkpoints(self) -> None:
        """Upload the checkpoints to an artifact store that is not a folder of this machine."""
        if local_path(self.artifact_uri) is None and self.checkpoint_dir.is_dir():
            self.client.log_artifacts(self.id, str(self.checkpoint_dir), "checkpoints")

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters, but for those that ``mlflow run`` has logged as they were typed (they can't be changed)."""
        new = {key: str(value) for key, value in values.items() if key not in self._params}
        self._params |= new
        self.client.log_batch(self.id, params=[Param(key, value) for key, value in new.items()])

    def tags(self, values: Mapping[str, Any]) -> None:
        self.client.log_batch(self.id, tags=[RunTag(key, str(value)) for key, value in values.items()])

    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log figures in one synchronous call: what was reported is in the database when it returns."""
        now = int(1000 * time.time())
        self.client.log_batch(
            self.id, metrics=[Metric(key, rounded(value), now, step) for key, value in values.items()]
        )

    def text(self, path: str, text: str) -> None:
        self.client.log_text(self.id, text, path)

    def yaml(self, path: str, values: Mapping[str, Any]) -> None:
        self.text(path, yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True))

    def json(self, path: str, values: Mapping[str, Any]) -> None:
        self.text(path, json.dumps(values, indent=1, ensure_ascii=False))

    def picture(self, path: str, png: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(path).name
            file.write_bytes(png)
            self.client.log_artifact(self.id, str(file), str(Path(path).parent))

    def note(self, markdown: str) -> None:
        """The description that the UI shows on the run's page."""
        self.tags({NOTE: markdown})

    def dataset(self, name: str, digest: str, source: str, context: str) -> None:
        """Record which text the run read (lineage): its name, the digest of its content and where it came from."""
        is_url = source.startswith("https://")
        origin: DatasetSource = HTTPDatasetSource(source) if is_url else CodeDatasetSource({"source": source})
        with quiet_warnings():
            dataset = MetaDataset(origin, name=name, digest=digest[:36])  # type: ignore[abstract]  # as its docs do
            mlflow.log_input(dataset, context=context)

    def model(self, checkpoint: Path, example: str) -> str:
        """Log the served model (text in, text out) around a checkpoint; returns its address."""
        served = ROOT / "pipeline" / "served_model.py"
        with quiet_warnings(), tempfile.TemporaryDirectory() as code:
            info = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(served),
                artifacts={"checkpoint": str(checkpoint)},
                code_paths=[str(folder) for folder in _served_code(Path(code))],
                signature=SIGNATURE,
                input_example=[example],
                pip_requirements=[f"{name}=={public_version(name)}" for name in SERVED_PACKAGES],
            )
        return str(info.model_uri)


def _served_code(folder: Path) -> list[Path]:
    """The modules that served_model.py needs, copied into a folder; MLflow keeps them beside the model."""
    for module in ["models.__init__", "pipeline.__init__", *modules_behind("pipeline.served_model")]:
        name = Path(*module.split(".")).with_suffix(".py")
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return [folder / "models", folder / "pipeline"]


def tag_failure(run_id: str, stage: str, reason: str) -> None:
    """Leave the reason with a run that ``mlflow run`` has begun and that ended before it was taken up."""
    setup()
    begun_run(run_id)
    MlflowClient().log_batch(run_id, tags=[RunTag("failure", reason[:4000]), RunTag("stage", stage)])


def begun_run(run_id: str) -> Run:
    """The run that MLFLOW_RUN_ID names. InputError if there is none, or if it has ended: nothing is overwritten."""
    try:
        run = MlflowClient().get_run(run_id)
    except MlflowException:
        raise InputError(f"MLFLOW_RUN_ID {run_id} is no run of {mlflow.get_tracking_uri()}; unset it") from None
    if run.info.status != "RUNNING":
        raise InputError(f"MLFLOW_RUN_ID names {run.info.run_name}, which has ended ({run.info.status}); unset it")
    return run


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Without the hints that MLflow prints about how else one might have called it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def public_version(package: str) -> str:
    """The version as a package index knows it, without a build's local suffix (+cpu)."""
    return importlib.metadata.version(package).split("+")[0]


def local_path(uri: str) -> Path | None:
    """The folder that an artifact address means, or None if it is not one of this machine."""
    parts = urlsplit(uri)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path) if parts.scheme else uri)


@contextmanager
def tracked_run(stage: str, name: str, tags: Mapping[str, Any]) -> Iterator[TrackedRun]:
    """Record a run: the one that ``mlflow run`` has begun, a child of the run that is open here, or a new one.

    It ends FINISHED, FAILED with the reason as a tag, or KILLED after Ctrl-C or SIGTERM; the exception goes on.
    """
    store = setup()
    adopted = os.environ.get("MLFLOW_RUN_ID")  # start_run takes it, and clears the variable
    if adopted:
        begun_run(adopted)
    if digest := tags.get("corpus.sha256"):
        _tag_experiment(store.experiment_id, dict([view_tag(f"{tags['corpus']}: models", digest)]))
    nested = mlflow.active_run() is not None
    with quiet_warnings():
        active = mlflow.start_run(
            run_name=name,
            nested=nested,
            experiment_id=None if adopted else store.experiment_id,
            log_system_metrics=False,
        )
    run = TrackedRun(store, active, name)
    status = RunStatus.FAILED
    try:
        if adopted:
            run.client.update_run(run.id, name=name)
        run.tags({"stage": stage, **process_tags(), **git_tags(), **tags})
        yield run
        status = RunStatus.FINISHED
    except (KeyboardInterrupt, SystemExit) as stop:
        status = RunStatus.KILLED
        run.tags({"failure": f"stopped by {'Ctrl-C' if isinstance(stop, KeyboardInterrupt) else 'SIGTERM'}"})
        raise
    except BaseException as error:
        if stage == "train" and isinstance(error, OSError):
            error.add_note(f"then go on with: tmlm train --resume {run.id}")
        run.tags({"failure": f"{type(error).__name__}: {error}"[:4000]})
        raise
    finally:
        mlflow.end_run(RunStatus.to_string(status))


def process_tags() -> dict[str, str]:
    """Host, process and its start: by these a later command tells a dead run from a live one."""
    started = psutil.Process().create_time()
    return {"process.host": socket.gethostname(), "process.pid": str(os.getpid()), "process.started": f"{started:.2f}"}


@cache
def git_tags() -> dict[str, str]:
    """Commit of the code that runs, and whether the working tree differs from it; empty outside a repository."""
    try:
        commit, changes = (
            subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, timeout=20, check=True).stdout
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git.commit": commit.strip(), "git.dirty": str(bool(changes.strip())).lower()}


@cache
def environment() -> dict[str, Any]:
    """Python, platform and package versions, as every run records them."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


# --- what was recorded -----------------------------------------------------------------------------------------------


def finished_step(step_key: str) -> tuple[str, dict[str, Any]] | None:
    """Run id and result of the latest finished run of a step, or None if there is none with its result."""
    store = setup()
    found = MlflowClient().search_runs(
        [store.experiment_id],
        f"tags.step_key = '{step_key}' and attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    if not found:
        return None
    run_id = found[0].info.run_id
    try:
        return run_id, json.loads(read_text(run_id, RESULT_FILE))
    except (MlflowException, OSError):  # its artifacts are gone: the step has to be done again
        return None


def read_text(run_id: str, path: str) -> str:
    return fetch(run_id, path).read_text()


def fetch(run_id: str, path: str) -> Path:
    """A run's artifact as a file of this machine: where it is, or a copy for the time of this process."""
    local = local_path(MlflowClient().get_run(run_id).info.artifact_uri)
    return local / path if local else download(f"runs:/{run_id}/{path}")


@cache
def _downloads() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes with this process."""
    return tempfile.TemporaryDirectory(prefix="tmlm-")


def download(uri: str) -> Path:
    """An artifact or a logged model, copied for the time of this process."""
    folder = tempfile.mkdtemp(dir=_downloads().name)
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder))


def checkpoint_of(model: str) -> tuple[Path, str | None]:
    """The best checkpoint that a MODEL means, and its run id if it was named by one.

    MODEL is a run id, the path of a checkpoint, or a ``models:/`` or ``runs:/`` address of a logged model.
    Raises InputError for anything else.
    """
    if os.path.isfile(model):  # False too for a name that no file can have
        return Path(model), None
    setup()
    if urlsplit(model).scheme in ("models", "runs"):
        try:
            run_id = model.split("/")[1] if model.startswith("runs:/") else None
            return download(model) / "artifacts" / BEST_CHECKPOINT, run_id
        except (MlflowException, OSError) as error:
            raise InputError(
                f"MODEL {model} can't be had: {error}; give a run id, a file or a models:/ address"
            ) from None
    try:
        run = MlflowClient().get_run(model)
    except MlflowException:
        raise InputError(
            f"MODEL {model} is neither a run of {mlflow.get_tracking_uri()} nor a file; "
            "give a run id, the path of a checkpoint, or a models:/ address"
        ) from None
    kept = MlflowClient().list_artifacts(run.info.run_id, "checkpoints")
    if f"checkpoints/{BEST_CHECKPOINT}" not in [file.path for file in kept]:
        trained = run.data.tags.get("trained_run")  # a pipeline, an evaluation or a sample points at its training
        if trained and trained != model:
            return checkpoint_of(trained)
        raise InputError(f"MODEL {model} ({run.info.run_name}) is a run without a model; give the run id of a training")
    return fetch(model, f"checkpoints/{BEST_CHECKPOINT}"), model
