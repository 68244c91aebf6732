"""The pool of a cluster, on a scheduler and nodes of this machine."""

import os
import signal
import subprocess
import sys
import time
from http.client import HTTPException
from urllib.request import urlopen

import psutil
import pytest

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

from distributed import Client

from pipeline.cluster import pool as pool_module
from pipeline.cluster.keys import Address
from pipeline.cluster.pool import DaskPool, mlflow_address
from pipeline.cluster.processes import ENVIRONMENT, MLFLOW, node_command, scheduler_command
from pipeline.errors import ClusterError
from pipeline.support.workers import Event
from tests.checkout import ROOT, free_port
from tests.cluster.works import nothing, unfit, work
from tests.limits import SLACK

pytestmark = pytest.mark.slow

STORE = "http://127.0.0.1:1"


class Processes:
    """A scheduler and nodes as processes of this test."""

    def __init__(self, keys):
        self.address = Address.to_serve("127.0.0.1", free_port(), keys)
        self._running: list[subprocess.Popen] = []
        self.scheduler = self.start(scheduler_command(self.address))

    def start(self, command):
        environment = {
            **os.environ,
            **ENVIRONMENT,
            MLFLOW: STORE,
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
        }
        self._running.append(subprocess.Popen(command, env=environment, cwd=ROOT))
        return self._running[-1]

    def node(self, slots=1):
        return self.start(node_command(self.address, slots))

    def stop(self):
        for process in self._running:
            process.kill()
            process.wait()


@pytest.fixture
def processes(keys):
    started = Processes(keys)
    yield started
    started.stop()


def until_the_end(pool: DaskPool, seconds: float = 60) -> list[Event]:
    """All events, until no task is running."""
    found, until = [], time.monotonic() + seconds
    while pool.running and time.monotonic() < until:
        found += pool.events(1.0)
    return found


@pytest.mark.ci
def test_tasks_are_done_on_as_many_slots_as_the_nodes_have(processes):
    processes.node(slots=2)
    with DaskPool(processes.address, work, nothing) as pool:
        assert (pool.count, pool.idle) == (2, 2)
        for number in (1, 2):
            pool.submit(("wait", number / 10))
        assert pool.idle == 0
        events = until_the_end(pool)
    assert sorted(event.value[0] for event in events if event.kind == "done") == [0.1, 0.2]
    assert [event.value for event in events if event.kind == "message"] == [0.5, 0.5]
    assert mlflow_address(processes.address) == STORE


def test_without_the_keys_nothing_is_had_from_scheduler_node_and_their_http_servers(processes):
    processes.node()
    with DaskPool(processes.address, work, nothing) as pool:
        for address in (str(processes.address), *pool._nodes):
            with pytest.raises((OSError, TimeoutError)):
                Client(address.replace("tls:", "tcp:"), timeout=1, set_as_default=False)
        started = [psutil.Process(process.pid) for process in processes._running]
        sockets = [each for process in started for each in process.net_connections("tcp") if each.status == "LISTEN"]
        for port in {socket.laddr.port for socket in sockets}:
            for path in ("", "status", "health", "metrics", "json/identity.json", "info/main/workers.html"):
                with pytest.raises((OSError, HTTPException)):
                    urlopen(f"http://127.0.0.1:{port}/{path}", timeout=2)
    assert len(sockets) >= 4


def test_an_exception_and_a_death_end_one_task_each_and_the_node_goes_on(processes):
    processes.node()
    with DaskPool(processes.address, work, nothing) as pool:
        ends = []
        for task in (("raise", "no"), ("die", 0), ("wait", 0)):
            pool.submit(task)
            ends.append(until_the_end(pool)[-1])
    assert [event.kind for event in ends] == ["failed", "lost", "done"]
    assert str(ends[0].value) == "no"
    assert "in work\n" in str(ends[0].value.__cause__), "where it was raised"
    assert ends[1].value.cause == "killed"
    assert "exit code -9" in ends[1].value.reason


def test_a_task_of_a_node_that_is_gone_is_lost_and_not_repeated_elsewhere(processes):
    first = processes.node()
    with DaskPool(processes.address, work, nothing) as pool:
        pool.submit(("wait", 30))
        pool.events(10)  # it has begun
        processes.node()
        os.kill(first.pid, signal.SIGKILL)
        (event,) = until_the_end(pool)
        assert (event.kind, event.value.cause) == ("lost", "shared")
        assert event.value.reason == f"the node {event.node} is gone"
        assert pool.idle == 1, "the other node"


def test_a_node_that_is_unfit_gets_no_more_tasks_and_the_end_says_why(processes, monkeypatch):
    processes.node()
    with DaskPool(processes.address, work, unfit) as pool:
        pool.submit(("wait", 0))
        event = until_the_end(pool)[-1]
        assert (event.kind, event.value.cause) == ("lost", "stopped")
        monkeypatch.setattr(pool_module, "NODES_SECONDS", 2.0)
        with pytest.raises(ClusterError, match=r"has had no node for 2 seconds; .* was refused: it has no text"):
            _ = pool.idle


def test_a_scheduler_that_is_gone_is_waited_for_and_then_ends_the_pool(processes, monkeypatch):
    """Before the loss of its tasks is told, which would be recorded: the store is gone with the head."""
    monkeypatch.setattr(pool_module, "NODES_SECONDS", 5.0)
    processes.node(slots=2)
    pool = DaskPool(processes.address, work, nothing)
    for _ in range(2):
        pool.submit(("wait", 30))
    pool.events(10)
    began = time.monotonic()
    processes.scheduler.kill()
    with pytest.raises(ClusterError, match="can't be reached") as caught:
        until_the_end(pool, seconds=40)
    time.sleep(1)  # dask's client is closed by now
    pool.__exit__(ClusterError, caught.value, None)
    assert time.monotonic() - began < 15 * SLACK
