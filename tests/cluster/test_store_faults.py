"""A search on a cluster whose head or store is away for a while or for good: what it says, when, and what is lost."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from tests.cluster.network import NETWORK, Machine, network_of
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


def check_ended_with_one_sentence(search: subprocess.Popen, desk: Machine, words: str, until: float) -> None:
    left = until - time.monotonic()
    assert search.wait(timeout=left) == 1
    log.info("ended %.0f seconds before it had to", until - time.monotonic())
    said = desk.log.read_text()
    (error,) = re.findall(r"^Error: (.+)$", said, re.MULTILINE)
    assert re.fullmatch(words, error)
    assert "Traceback" not in said


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
