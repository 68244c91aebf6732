"""A search on a cluster whose head or store is away for a while or for good: what it says, when, and what is lost."""

import os
import signal
import time

import pytest

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from tests.cluster.network import NETWORK
from tests.cluster.searches import is_running_on

pytestmark = NETWORK

AWAY_SECONDS = 30


def test_an_mlflow_server_that_is_away_for_30_seconds_loses_nothing(cluster):
    """Its port accepts connections, and it says nothing."""
    search = cluster.search()
    cluster.wait_for(is_running_on("n1"))
    (pid,) = cluster.head.kill("mlflow server", 0, of=cluster.served)
    os.killpg(pid, signal.SIGSTOP)
    time.sleep(AWAY_SECONDS)
    os.killpg(pid, signal.SIGCONT)
    cluster.check_complete(search)


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
