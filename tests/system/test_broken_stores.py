"""Stores that refuse: one sentence that says why and what to do, the right exit code, and no run left unsaid."""

import ctypes
import os
import re
import resource
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipeline.errors import InputError, RecordingError
from pipeline.tracking import runs
from pipeline.tracking import store as store_module
from pipeline.tracking.store import setup, shown
from tests.checkout import Checkout
from tests.limits import SLACK

TINY = ("--corpus", "python-docs", "--hidden-size", "8", "--epochs", "2", "--batch-size", "64")
TRAIN = ("python", "-m", "pipeline", "train", *TINY)


@pytest.fixture(scope="module")
def whole(empty_database: Path) -> Path:
    """A whole database, which a test copies and breaks."""
    return empty_database


def schema(database: Path, revision: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def make_directory(database: Path) -> None:
    database.unlink()
    database.mkdir()


def truncate(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:50_000])


def corrupt(database: Path) -> None:
    data = bytearray(database.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    database.write_bytes(data)


FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {  # what is done to it, its address, what is said
    "a directory": (make_directory, "sqlite:///{}", "is a directory; move it away"),
    "a text": (lambda path: path.write_text("a text " * 1000), "sqlite:///{}", "file is not a database; move it away"),
    "truncated": (truncate, "sqlite:///{}", "malformed; restore a backup"),
    "corrupt": (corrupt, "sqlite:///{}", "malformed; restore a backup"),
    "of another MLflow": (
        lambda path: schema(path, "0a8213491aaa"),
        "sqlite:///{}",
        "out-of-date database schema.*`mlflow db upgrade` an older one",
    ),
    "read-only": (
        lambda path: None,
        "sqlite:///file:{}?mode=ro&uri=true",
        "readonly database; make it and its folder writable",
    ),
    "no server": (lambda path: None, "http://127.0.0.1:1", "start the server"),
}


@pytest.fixture(params=FAULTS)
def broken(request: pytest.FixtureRequest, whole: Path, tmp_path: Path) -> tuple[str, str]:
    """The address of a broken store, and what is said about it."""
    breaks, address, said = FAULTS[request.param]
    database = tmp_path / "other.db"
    shutil.copyfile(whole, database)
    breaks(database)
    return address.format(database), said


def test_a_store_that_can_not_be_used_says_why_and_what_to_do(broken, store, tmp_path, monkeypatch):
    uri, said = broken
    monkeypatch.chdir(tmp_path)  # MLflow makes a folder for one of these addresses
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    started = time.monotonic()
    with pytest.raises(InputError, match=f"(?s){said}") as caught:
        setup()
    assert len(str(caught.value).splitlines()) == 1
    assert time.monotonic() - started < 15 * SLACK


def test_a_server_that_never_answers_is_told_soon(store, monkeypatch):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(InputError, match="start the server"):
            setup()
        assert time.monotonic() - started < 10 * SLACK
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ, "later calls wait for a server as MLflow does"


def test_a_password_in_an_address_is_never_shown():
    assert shown("postgresql://user:secret@host/db") == "postgresql://***@host/db"


# --- locked ----------------------------------------------------------------------------------------------------------


@contextmanager
def locked(database: Path, seconds: float) -> Iterator[None]:
    """Another writer, who holds the database for so long or as long as the block."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=30, check_same_thread=False)
    connection.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(seconds, connection.rollback)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        connection.close()


@pytest.fixture
def impatient_sqlite() -> Iterator[None]:
    """MLflow's sessions wait for a lock for 0.2 seconds instead of its 20."""

    def wait_less(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return re.sub("busy_timeout = .*", "busy_timeout = 200", statement), parameters

    event.listen(Engine, "before_cursor_execute", wait_less, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", wait_less)


def test_a_store_that_stays_locked_says_so_in_the_end(store, monkeypatch, whole, tmp_path):
    monkeypatch.setattr(store_module, "LOCK_SECONDS", 1)
    database = tmp_path / "other.db"
    shutil.copyfile(whole, database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
    with locked(database, 60), pytest.raises(RecordingError, match=r"database is locked; another process holds it"):
        setup()


def test_a_run_in_a_store_that_stays_locked_says_so_in_the_end(store, impatient_sqlite):
    with (
        pytest.raises(RecordingError, match=r"^a run can't be recorded in .*mlflow\.db: database is locked; another"),
        runs.tracked_run("train", "a run", {}) as run,
        locked(store / "mlruns" / "mlflow.db", 60),
    ):
        run.constants({"x": 1.0})
    assert MlflowClient().get_run(run.id).info.status == "FAILED"


def test_a_run_whose_end_can_not_be_recorded_says_so_and_stays_running(store, impatient_sqlite):
    with (
        ExitStack() as lock,
        pytest.raises(RecordingError, match="the next command that records closes it"),
        runs.tracked_run("train", "a run", {}) as run,
    ):
        lock.enter_context(locked(store / "mlruns" / "mlflow.db", 60))
    assert MlflowClient().get_run(run.id).info.status == "RUNNING"
    assert mlflow.active_run() is None


# --- through the command ---------------------------------------------------------------------------------------------


def without_root() -> None:
    """Take from the process, and all that it starts, what lets root write files that nobody may."""
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        ctypes.CDLL(None).prctl(
            24, capability, 0, 0, 0
        )  # PR_CAPBSET_DROP; refused to others than root, who need it not


def command(
    checkout: Checkout, *words: str, before: Callable[[], None] | None = None, **environment: str
) -> tuple[int, str]:
    """Exit code and standard error of a command that gives no traceback."""
    done = subprocess.run(
        words, cwd=checkout.folder, env={**checkout.environment, **environment}, capture_output=True, text=True,
        timeout=200, check=False, preexec_fn=before,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.stdout == "" or done.returncode == 0
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """With one finished training."""
    made = Checkout(tmp_path_factory.mktemp("stores"))
    made.run(*TRAIN)
    return made


@pytest.mark.slow
def test_a_store_that_is_locked_for_12_seconds_is_waited_for(checkout, whole, tmp_path):
    """MLflow waits for 20 seconds; ours and another one."""
    other = tmp_path / "other.db"
    shutil.copyfile(whole, other)

    def seconds_to_train(database: Path, uri: str) -> float:
        with locked(database, 12):
            started = time.monotonic()
            assert command(checkout, *TRAIN, MLFLOW_TRACKING_URI=uri)[0] == 0
            return time.monotonic() - started

    known = {run["id"] for run in checkout.runs()}
    with ThreadPoolExecutor(2) as pool:
        waits = pool.map(seconds_to_train, (checkout.database, other), ("", f"sqlite:///{other}"))
        assert min(waits) > 10
    assert [run["status"] for run in checkout.runs() if run["id"] not in known] == ["FINISHED"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlruns/mlflow.db", "mlruns"])
def test_a_file_or_folder_that_may_not_be_written_is_refused(checkout, name):
    path = checkout.folder / name
    mode = path.stat().st_mode
    path.chmod(mode & ~0o222)
    try:
        code, err = command(checkout, *TRAIN, before=without_root)
    finally:
        path.chmod(mode)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert "writable" in err


@pytest.mark.slow
def test_a_disk_that_is_full_while_it_is_recorded_is_told_and_the_next_command_sees_to_the_run(checkout):
    known = {run["id"] for run in checkout.runs()}
    for limit in (10_000, 200_000):  # at the first record, and in the training
        full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit))
        code, err = command(checkout, *TRAIN, before=full)
        assert code in (1, 2), (limit, err)
        assert err.splitlines()[-1].startswith("Error: "), (limit, err)
        assert "disk" in err, (limit, err)
    begun = {run["id"] for run in checkout.runs()} - known
    checkout.run(*TRAIN)
    assert {run["status"] for run in checkout.runs() if run["id"] in begun} <= {"FAILED"}


@pytest.mark.slow
@pytest.mark.parametrize("hidden_size", [8, 300], ids=["metrics", "checkpoint"])
def test_a_full_disk_ends_a_run_with_the_reason(checkout, small_disk, hidden_size):
    (small_disk / "ballast").write_bytes(bytes(3_000_000 if hidden_size == 8 else 0))
    uri = f"sqlite:///{small_disk}/mlflow.db"
    code, err = command(checkout, *TRAIN, "--hidden-size", str(hidden_size), MLFLOW_TRACKING_URI=uri)
    assert code in (1, 2)
    assert re.search("free (some )?space", err)
    (small_disk / "ballast").unlink()
    for each in small_disk.glob("*/*/artifacts/checkpoints/*"):
        each.unlink()
    with closing(sqlite3.connect(small_disk / "mlflow.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
