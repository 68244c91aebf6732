"""Fixtures, and the isolation of every test: one thread, no network, none of the user's files or settings."""

import gc
import logging
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from copy import deepcopy
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read when NumPy is imported; threads slow down small matrices

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.text.corpus import Corpus
    from pipeline.tracking.step import Step
    from tests.labs import TrainedStore
    from tests.servers import MlflowServer

TEST_NUMBERS = count()
THREADS = int(os.environ.get("TEST_THREADS", "1"))  # of PyTorch; `make isa` has more


def pytest_configure(config: pytest.Config) -> None:
    """Set up PyTorch and Hypothesis in every process that runs tests, not in the controller of pytest-xdist."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a job in the background; its children would ignore it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    import torch
    from hypothesis import HealthCheck, settings

    torch.set_num_threads(THREADS)
    # no deadline, as the machine may be busy
    settings.register_profile("fast", deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("fast")
    gc.disable()  # during collection, as imported modules stay


def pytest_collection_finish() -> None:
    """Exclude the imported modules and the collected tests from garbage collection, which is rarer than usual."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def isolate(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Put caches below ``folder``, unset MLflow's variables, and allow no downloads."""
    for name in {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", *os.environ}:
        if name.startswith("MLFLOW_"):
            patch.setenv(name, "")  # so that a value set within the block (MLflow sets the first) is undone
            patch.delenv(name)
    patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    patch.setenv("TMLM_CACHE_DIR", str(folder / "cache"))
    patch.setenv("TMLM_OFFLINE", "1")


def share_statements(patch: pytest.MonkeyPatch) -> None:
    """Compile MLflow's SQL once, not once for the store of each test: all its SQLite engines share one cache."""
    from mlflow.store.db import utils
    from sqlalchemy.engine import Engine

    create, engines = utils.create_sqlalchemy_engine, dict[type, Engine]()

    def create_and_share(uri: str) -> Engine:
        engine: Engine = create(uri)
        first = engines.setdefault(type(engine.dialect), engine)
        engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache  # the cache's keys have both
        return engine

    patch.setattr(utils, "create_sqlalchemy_engine", create_and_share)


@pytest.fixture(scope="session", autouse=True)
def _isolated_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Isolate the fixtures of modules, which are built before those of a test, and the user's store from all tests."""
    from alembic.script import ScriptDirectory
    from torch import Tensor

    from models.gated_ngrams import NGramTables, OrderGate, Sample, fit_gate, sample_of
    from pipeline.config import PresetName
    from pipeline.text import ngrams
    from pipeline.text.corpus import Corpus
    from pipeline.training.loop import Training

    samples: dict[tuple[bytes, int, int], Sample] = {}
    gates: dict[tuple[int, bool], OrderGate] = {}
    fitted: dict[tuple[Any, ...], tuple[dict[str, Any], bytes]] = {}
    fit, migrations, create = ngrams._fit, cache(ScriptDirectory), Training.__init__

    def sampled(ids: "NDArray[np.integer]", tables: NGramTables, most: int = 0) -> Sample:
        key = ids.tobytes(), tables.vocab_size, most
        if key not in samples:
            samples[key] = sample_of(ids, tables, most)
        return samples[key]

    def gate_of(sample: Sample, is_letter: Tensor | None) -> OrderGate:
        key = id(sample), is_letter is None
        if key not in gates:
            gates[key] = fit_gate(sample, is_letter)
        return deepcopy(gates[key])

    def fitted_once(corpus: Corpus, preset: PresetName) -> tuple[dict[str, Any], bytes]:
        spans = *corpus.baseline_spans(preset), *corpus.spans(preset).values()
        key = corpus.corpus_sha256, corpus.vocabulary.alphabet, preset, spans
        if key not in fitted:
            fitted[key] = fit(corpus, preset)
        return fitted[key]

    def with_threads(training: Training, *given: Any) -> None:
        create(training, *given)
        training.threads = training.config.threads or THREADS

    folder = tmp_path_factory.mktemp("session")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder)
        patch.setattr("pipeline.tracking.store.root", lambda: folder)
        # which are compiled anew for each store
        patch.setattr(ScriptDirectory, "from_config", lambda at: migrations(at.get_main_option("script_location")))
        share_statements(patch)
        # tests have caches of their own, but few texts
        patch.setattr(ngrams, "sample_of", sampled)
        patch.setattr(ngrams, "fit_gate", gate_of)
        patch.setattr(ngrams, "_fit", fitted_once)
        patch.setattr(Training, "__init__", with_threads)
        patch.setattr("pipeline.training.samples.SAMPLED_CHARS", 20)
        yield folder


@pytest.fixture(autouse=True)
def _isolated_test(monkeypatch: pytest.MonkeyPatch, _isolated_session: Path) -> None:
    """Give each test a separate cache, created only when it is used."""
    isolate(monkeypatch, _isolated_session / f"test-{next(TEST_NUMBERS)}")
    logger = logging.getLogger("pipeline")  # which a command that runs in this process changes
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", True)


@pytest.fixture(scope="session")
def book() -> Path:
    """The path of the exact text of The Time Machine; skips without it, or fails if TMLM_REQUIRE_BOOK is set."""
    folder = os.environ.get("TMLM_DATA_DIR")
    path = Path(folder or "") / "timemachine.txt"
    if not folder or not path.is_file():
        reason = "needs the exact text: set TMLM_DATA_DIR to a folder with timemachine.txt"
        if os.environ.get("TMLM_REQUIRE_BOOK"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tracking store without any records, to be copied, as creating its tables takes seconds.

    Whichever process of pytest-xdist needs it first creates it for all.
    """
    from filelock import FileLock

    from pipeline.tracking.store import setup
    from tests import labs

    own = tmp_path_factory.getbasetemp()
    home = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "empty"
    home.mkdir(exist_ok=True)
    with FileLock(home / "lock"), labs.store_at(home):
        setup()
    return home


@pytest.fixture(scope="session")
def empty_database(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a database as MLflow creates it, to be copied: no command of ours has set it up."""
    database = tmp_path_factory.mktemp("database") / "mlflow.db"
    made = sqlite3.connect(empty_store / "mlruns" / "mlflow.db")  # part of which may still be in its journal
    with closing(made), closing(sqlite3.connect(database)) as connection, connection:
        made.backup(connection)
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("UPDATE experiments SET name='Default', artifact_location=?", (f"{database.parent}/0",))
        connection.execute("DELETE FROM experiment_tags")
    return database


@pytest.fixture
def no_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The folder of a tracking store that does not exist yet, at <folder>/mlruns/mlflow.db."""
    import mlflow

    from pipeline.tracking.store import _setup

    home = tmp_path / "lab"
    home.mkdir()
    monkeypatch.setattr("pipeline.tracking.store.root", lambda: home)
    _setup.cache_clear()
    yield home
    while mlflow.active_run() is not None:
        mlflow.end_run()
    _setup.cache_clear()


@pytest.fixture
def store(no_store: Path, empty_store: Path) -> Path:
    """The folder of a tracking store without any records."""
    from tests import labs

    labs.copy_store(empty_store, no_store)
    return no_store


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Path]:
    """A store that the tests of a module share, with plain artifacts and without served models."""
    from tests.labs import plain_store

    with plain_store(tmp_path_factory.mktemp("shared") / "lab", empty_database) as home:
        yield home


@pytest.fixture
def begun(store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a run that ``mlflow run`` has started for the command."""
    from mlflow.tracking import MlflowClient

    from pipeline.tracking.store import setup

    experiment_id = setup().experiment_id
    run_id: str = MlflowClient().create_run(experiment_id).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    return run_id


@pytest.fixture
def mlflow_server(
    no_store: Path, empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator["MlflowServer"]:
    """An MLflow server with artifacts, whose address is in MLFLOW_TRACKING_URI."""
    from tests.servers import MlflowServer

    shutil.copy(empty_database, tmp_path / "server.db")
    server = MlflowServer(tmp_path / "server.db", tmp_path / "server-artifacts", monkeypatch)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url())
    yield server
    server.stop()


@pytest.fixture(scope="session")
def trained_store(tmp_path_factory: pytest.TempPathFactory, empty_database: Path, small_text: Path) -> "TrainedStore":
    """A store with one finished training, which ``trained`` copies."""
    from tests import labs

    return labs.trained_store(labs.new_store(tmp_path_factory.mktemp("trained") / "lab", empty_database), small_text)


@pytest.fixture
def trained(no_store: Path, trained_store: "TrainedStore") -> "Step":
    """A finished training, the only one in a new store."""
    from pipeline.tracking.store import setup

    step = trained_store.copy(no_store)
    setup()
    return step


@pytest.fixture
def plain_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record cheaper artifacts, and estimate times by fewer steps; see ``make_artifacts_plain``."""
    from tests.labs import make_artifacts_plain

    make_artifacts_plain(monkeypatch)


@pytest.fixture
def no_served_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train without logging the model to be served."""
    from tests.labs import leave_out_the_served_model

    leave_out_the_served_model(monkeypatch)


@pytest.fixture(scope="session")
def small_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a text that is long enough to train on and short enough for a test: topics of Python's reference.

    It is too short for the report's preset.
    """
    from pydoc_data.topics import topics

    path = tmp_path_factory.mktemp("text") / "topics.txt"
    path.write_text("\n".join(topics[name] for name in sorted(topics))[:9_000], encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def corpus(small_text: Path) -> "Corpus":
    """The letters of ``small_text``, whose n-grams are fitted once."""
    from pipeline.config import CorpusConfig
    from pipeline.text.corpus import load_corpus

    return load_corpus(CorpusConfig(str(small_text), "letters"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 4 MB; skips if mounting one is not permitted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    words = [str(mount), "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen]:
    """A process of somebody else."""
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """Simulate a full disk: within the block, no file of this process may exceed so many bytes."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
