"""A search on a cluster whose head or store is away for a while or for good: what it says, when, and what is lost."""

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest
from sqlalchemy import NullPool, create_engine

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from tests.cluster.network import HEAD, NETWORK, Machine, network_of
from tests.cluster.searches import Cluster, is_running_on

log = logging.getLogger(__name__)

pytestmark = NETWORK

AWAY_SECONDS = 30
HEAD_SECONDS, STORE_SECONDS = 300, 300  # from the loss of the head, or of the store, to the end of the search, at most
PASSWORD = "not-for-argv"


@pytest.fixture
def with_desk(tmp_path, keys) -> Iterator[Cluster]:
    """A cluster, and a machine of its own for the search."""
    with network_of(tmp_path, keys, ("n1", "n2", "desk")) as machines:
        yield Cluster(machines)


@contextmanager
def busy_core() -> Iterator[None]:
    """Other work on this machine."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def signal_mlflow(cluster: Cluster, signum: int) -> None:
    """Send a signal to all processes of MLflow's server."""
    (pid,) = cluster.head.kill("mlflow server", 0, of=cluster.served)
    os.killpg(pid, signum)


def take_mlflow_away(cluster: Cluster, how: str) -> None:
    """From now on its port refuses connections, or accepts them and says nothing."""
    if how == "silent":
        signal_mlflow(cluster, signal.SIGSTOP)
        return
    cluster.served.send_signal(signal.SIGSTOP)  # it would start it again
    signal_mlflow(cluster, signal.SIGKILL)


def bring_mlflow_back(cluster: Cluster, how: str) -> None:
    if how == "silent":
        signal_mlflow(cluster, signal.SIGCONT)
        return
    cluster.served.send_signal(signal.SIGCONT)
    cluster.wait_for_mlflow()


def cut_off(head: Machine, is_cut: bool) -> None:
    """Let the head answer no packet of another machine, without a word to it."""
    change = "add" if is_cut else "delete"
    subprocess.run(["ip", "-n", head.network, "route", change, "blackhole", "10.77.0.0/25"], check=True)


def check_ended_with_one_sentence(search: subprocess.Popen, desk: Machine, words: str, until: float) -> None:
    left = until - time.monotonic()
    assert search.wait(timeout=left) == 1
    log.info("ended %.0f seconds before it had to", until - time.monotonic())
    said = desk.log.read_text()
    (error,) = re.findall(r"^Error: (.+)$", said, re.MULTILINE)
    assert re.fullmatch(words, error)
    assert "Traceback" not in said


@pytest.mark.long
@pytest.mark.parametrize("how", ["stopped", "unreachable"])
def test_a_head_that_is_gone_for_good_ends_the_search_which_goes_on_later(with_desk, how):
    cluster, desk = with_desk, with_desk.machines["desk"]
    search = cluster.search(on="desk")
    cluster.wait_for(is_running_on("n1"))
    began = time.monotonic()
    with busy_core():
        if how == "stopped":
            cluster.served.terminate()
            assert cluster.served.wait(timeout=30) == 143
        else:
            cut_off(cluster.head, True)
        check_ended_with_one_sentence(
            search,
            desk,
            r"the scheduler tls://10\.77\.0\.1:8786 can't be reached \(.+\); check its address .+",
            began + HEAD_SECONDS,
        )
    if how == "stopped":
        cluster.serve()
    else:
        cut_off(cluster.head, False)
    cluster.check_complete(cluster.search(on="desk"))


@pytest.mark.parametrize("how", ["refusing", "silent"])
def test_an_mlflow_server_that_is_away_for_30_seconds_loses_nothing(cluster, how):
    search = cluster.search()
    cluster.wait_for(is_running_on("n1"))
    take_mlflow_away(cluster, how)
    time.sleep(AWAY_SECONDS)
    bring_mlflow_back(cluster, how)
    cluster.check_complete(search)


@pytest.mark.long
@pytest.mark.parametrize("how", ["refusing", "silent"])
def test_an_mlflow_server_that_is_gone_for_good_ends_the_search_which_goes_on_later(with_desk, how):
    cluster, desk = with_desk, with_desk.machines["desk"]
    search = cluster.search(on="desk")
    cluster.wait_for(is_running_on("n1"))
    began = time.monotonic()
    take_mlflow_away(cluster, how)
    check_ended_with_one_sentence(
        search,
        desk,
        r".+ can't be recorded.* http://10\.77\.0\.1:5000.+; start the server, or set .+",
        began + STORE_SECONDS,
    )
    bring_mlflow_back(cluster, how)
    cluster.check_complete(cluster.search(on="desk"))


def test_a_training_that_a_node_goes_on_with_after_another_has_resumed_it_counts_once(cluster):
    search, n2 = cluster.search(), cluster.machines["n2"]
    run = cluster.wait_for(is_running_on("n2"))
    n2.kill("", signal.SIGSTOP)
    cluster.wait_for(lambda each: each["id"] == run["id"] and each["tags"]["process.host"] == "n1")
    n2.kill("multiprocessing-fork", signal.SIGCONT)  # it trains on, while its node can't hear that it is not wanted
    cluster.wait_for(lambda each: each["id"] == run["id"] and each["status"] == "FINISHED")
    n2.kill("", signal.SIGCONT)
    finished = cluster.check_complete(search)
    (resumed,) = [each for each in cluster.trainings() if each["tags"]["step_key"] == run["tags"]["step_key"]]
    assert "the node n2 is gone" in resumed["tags"]["resumed"]
    assert not [each for each in finished if "failure" in each["tags"]]


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


class PostgreSQL:
    """A server on a machine of the network, as the user postgres, since it refuses to run as root."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine, self.folder = machine, folder
        password = folder / "password"
        password.write_text(PASSWORD)
        for path in (folder, password):
            shutil.chown(path, "postgres", "postgres")
        self.data = str(folder / "data")
        self.command("initdb", "-D", self.data, "-U", "tmlm", "-A", "scram-sha-256", "--pwfile", str(password))
        with Path(self.data, "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {HEAD}/32 scram-sha-256\n")
        self.command("pg_ctl", "-D", self.data, "-l", str(folder / "log"), "-o", self.options, "-w", "start")

    @property
    def options(self) -> str:
        return f"-c listen_addresses={HEAD} -c unix_socket_directories={self.folder}"

    @property
    def address(self) -> str:
        return f"postgresql+psycopg://tmlm:{PASSWORD}@{HEAD}:5432/postgres"

    def command(self, program: str, *words: str) -> None:
        (path, *_) = [*Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), shutil.which(program)]
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        with (self.folder / "commands").open("a") as log:  # a pipe would stay open as long as the server runs
            subprocess.run(
                self.machine.words(*as_user, str(path), *words),
                cwd="/",
                stdout=log,
                stderr=log,
                timeout=120,
                check=True,
            )

    def restart(self) -> None:
        self.command("pg_ctl", "-D", self.data, "-l", str(self.folder / "log"), "-m", "immediate", "-w", "restart")

    def stop(self) -> None:
        self.command("pg_ctl", "-D", self.data, "-m", "immediate", "stop")


class ClusterOnPostgreSQL(Cluster):
    """A cluster that records there; its database is reached by a socket, which the namespaces share."""

    def __init__(self, machines: dict[str, Machine], database: PostgreSQL) -> None:
        self.database = database
        machines["head"].environment["TMLM_CLUSTER_STORE"] = database.address
        super().__init__(machines)

    def rows(self, sql: str) -> list[tuple]:
        engine = create_engine(f"{self.database.address}?host={self.database.folder}", poolclass=NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(sql)]


@pytest.fixture
def on_postgresql(tmp_path, keys) -> Iterator[ClusterOnPostgreSQL]:
    pytest.importorskip("psycopg", reason="psycopg, a driver of PostgreSQL, is not installed")
    if not (shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
        pytest.skip("PostgreSQL is not installed")
    folder = Path(mkdtemp(prefix="tmlm-postgresql-"))  # tmp_path is closed to other users
    try:
        with network_of(tmp_path, keys, ("n1", "n2")) as machines:
            database = PostgreSQL(machines["head"], folder)
            try:
                yield ClusterOnPostgreSQL(machines, database)
            finally:
                database.stop()
    finally:
        shutil.rmtree(folder)


def test_a_postgresql_that_is_restarted_loses_nothing_and_its_password_is_nowhere(on_postgresql):
    cluster = on_postgresql
    search = cluster.search()
    cluster.wait_for(is_running_on("n1"))
    arguments = cluster.head.run("ps", "-ww", "-e", "-o", "args").stdout
    assert "mlflow" in arguments
    cluster.database.restart()
    cluster.check_complete(search)
    said = [machine.log.read_text() for machine in cluster.machines.values()]
    recorded = [
        str(cluster.rows(f"SELECT value FROM {table}"))
        for table in ("tags", "params", "experiment_tags", "registered_model_tags", "model_version_tags")
    ]
    assert not [text for text in (arguments, *said, *recorded) if PASSWORD in text]
