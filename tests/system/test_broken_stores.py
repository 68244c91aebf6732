"""Stores that refuse: one sentence that says why and what to do, the right exit code, and no run left unsaid."""

import os
import re
import shutil
import socket
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.tracking import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from pipeline.config import SearchConfig
from pipeline.errors import InputError, RecordingError
from pipeline.runs.push import push
from pipeline.search.study.storage import with_storage
from pipeline.tracking import runs
from pipeline.tracking.store import setup
from tests.limits import SLACK


def corrupt(database: Path) -> None:
    data = bytearray(database.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    database.write_bytes(data)


FAULTS: dict[str, tuple[Callable[[Path], object], str, str]] = {  # what is done to it, its address, what is said
    "a text": (lambda path: path.write_text("a text " * 1000), "sqlite:///{}", "file is not a database; move it away"),
    "corrupt": (corrupt, "sqlite:///{}", "malformed; restore a backup"),
    "read-only": (
        lambda path: None,
        "sqlite:///file:{}?mode=ro&uri=true",
        "readonly database; make it and its folder writable",
    ),
    "no server": (lambda path: None, "http://127.0.0.1:1", "start the server"),
}


@pytest.fixture(params=FAULTS)
def broken(request: pytest.FixtureRequest, empty_database: Path, tmp_path: Path) -> tuple[str, str]:
    """The address of a broken store, and what is said about it."""
    breaks, address, said = FAULTS[request.param]
    database = tmp_path / "other.db"
    shutil.copyfile(empty_database, database)
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


def no_files(folder: Path) -> dict[str, str]:
    """Addresses without a regular file: what each is, and the address."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(folder / "socket"))
    with suppress(PermissionError):
        os.mknod(folder / "device", stat.S_IFCHR | 0o600, os.makedev(1, 7))  # /dev/full
    (folder / "link").symlink_to("pipe")
    at_paths = {path.name: f"sqlite:///{path}" for path in folder.iterdir()}
    with_driver = {"with a driver": f"sqlite+pysqlite:///{folder}/pipe"}
    return {**at_paths, **with_driver, "no file": "sqlite://", "in memory": "sqlite:///:memory:"}


@pytest.mark.parametrize("option", ["MLFLOW_TRACKING_URI", "TMLM_STORAGE", "URI"])
def test_an_address_without_a_regular_file_is_refused_and_left_as_it_is(option, store, tmp_path, monkeypatch):
    enter: dict[str, Callable[[str], object]] = {
        "MLFLOW_TRACKING_URI": lambda uri: setup(),
        "TMLM_STORAGE": lambda uri: with_storage(SearchConfig()),
        "URI": lambda uri: push(uri, "all"),
    }
    setup()
    folder = tmp_path / "stores"
    folder.mkdir()
    addresses = no_files(folder)

    def seen() -> dict[Path, tuple[int, ...]]:
        stats = {path: path.lstat() for path in [folder, *folder.rglob("*")]}
        return {path: (each.st_ino, each.st_mode, each.st_mtime_ns) for path, each in stats.items()}

    before = seen()
    for what, uri in addresses.items():
        with monkeypatch.context() as patch:
            patch.setenv(option, uri)
            with pytest.raises(InputError, match=f"(regular file|folder|without a file); set {option} to"):
                pytest.fail(f"{what} was taken: {enter[option](uri)}")
    assert seen() == before


def test_a_server_that_never_answers_is_told_soon(store, monkeypatch):
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        with pytest.raises(InputError, match="start the server"):
            setup()
        assert time.monotonic() - started < 10 * SLACK
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ, "later calls wait for a server as MLflow does"


# --- locked ----------------------------------------------------------------------------------------------------------


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another writer, who holds the database as long as the block."""
    with closing(sqlite3.connect(database, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


@pytest.fixture
def impatient_sqlite() -> Iterator[None]:
    """MLflow's sessions wait for a lock for 0.2 seconds instead of its 20."""

    def wait_less(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return re.sub("busy_timeout = .*", "busy_timeout = 200", statement), parameters

    event.listen(Engine, "before_cursor_execute", wait_less, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", wait_less)


def test_a_run_in_a_store_that_stays_locked_says_so_in_the_end(store, impatient_sqlite):
    with (
        pytest.raises(RecordingError, match=r"^a run can't be recorded in .*mlflow\.db: database is locked; another"),
        runs.tracked_run("train", "a run", {}) as run,
        locked(store / "mlruns" / "mlflow.db"),
    ):
        run.constants({"x": 1.0})
    assert MlflowClient().get_run(run.id).info.status == "FAILED"


def test_a_run_whose_end_can_not_be_recorded_says_so_and_stays_running(store, impatient_sqlite):
    with (
        ExitStack() as lock,
        pytest.raises(RecordingError, match="the next command that records closes it"),
        runs.tracked_run("train", "a run", {}) as run,
    ):
        lock.enter_context(locked(store / "mlruns" / "mlflow.db"))
    assert MlflowClient().get_run(run.id).info.status == "RUNNING"
    assert mlflow.active_run() is None
