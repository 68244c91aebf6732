"""A pool of workers on the nodes of a cluster, with the interface of ``pipeline.support.workers.Workers``.

Each task is pinned to one node, so that dask never repeats it: the sweep does (stages/sweep.py). The tasks of a node
that disappears, or turns out to be unfit, are reported as lost. If no node is left, the pool waits for one for
NODES_SECONDS, then raises ClusterError.
"""

import logging
import os
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple
from uuid import uuid4

from distributed import Client
from distributed.scheduler import KilledWorker

from pipeline.cluster.keys import Address
from pipeline.cluster.node import on_node
from pipeline.cluster.processes import MLFLOW
from pipeline.errors import ClusterError, UnfitNodeError
from pipeline.support.machine import is_tuned
from pipeline.support.workers import Event, Loss, LossCause, Pool, Work

log = logging.getLogger(__name__)

NODES_SECONDS = 60.0  # without a node or the scheduler, after which the pool gives up
CONNECT_SECONDS = 10.0  # timeout of a command's first connection
POLL_SECONDS = 1.0  # between two requests for the list of nodes
ANSWER_SECONDS = 30.0  # timeout of such a request, after which the scheduler counts as gone
STOPPING_SECONDS = 1.5  # for nodes to stop their trainings when the pool closes with tasks running


class Node(NamedTuple):
    host: str
    slots: int


class _Running(NamedTuple):
    task: Any
    address: str
    host: str
    future: Any


def connect(address: Address, seconds: float) -> Client:
    """Connect to a scheduler. Raises ClusterError if it does not answer in time or refuses the connection."""
    if is_tuned():  # the pool reports losses itself
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return Client(str(address), security=address.security(), timeout=seconds, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"the scheduler {address} can't be reached ({address.unreachable_reason()}); check its address and the "
            "keys, or start it with: tmlm cluster serve"
        ) from error


def mlflow_address(address: Address) -> str:
    """The address of the cluster's MLflow server, from the environment of the scheduler."""
    with connect(address, CONNECT_SECONDS) as client:
        found: str = client.run_on_scheduler(os.getenv, MLFLOW, "")
    if not found:
        raise ClusterError(f"the scheduler {address} knows no MLflow server: start it with tmlm cluster serve")
    return found


class DaskPool(Pool):
    """Does ``work`` on the nodes of a cluster. Connects when it is created.

    ``prepare`` is called before each task, in the process that does it; both have to pickle. If it raises
    UnfitNodeError, the node gets no more tasks.
    """

    def __init__(self, address: Address, work: Work, prepare: Callable[[], None]) -> None:
        self._address, self._work, self._prepare = address, work, prepare
        self._running: dict[str, _Running] = {}
        self._refused: dict[str, str] = {}  # reasons, by host
        self._messages: SimpleQueue[tuple[str, Any]] = SimpleQueue()  # (key, message); None: the task has ended
        self._nodes: dict[str, Node] = {}  # by address, as last listed
        self._wait_for_a_node()
        self.count = sum(node.slots for node in self._nodes.values())

    def __exit__(self, *details: object) -> None:
        if self._running:
            self._cancel(self._running)
            time.sleep(STOPPING_SECONDS)
        self._client.close(timeout=2)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def idle(self) -> int:
        """How many tasks may be submitted now. Waits for a node if there is none and nothing runs."""
        if not self._running:
            self._list_nodes()
            if not self._free():
                self._client.close(timeout=2)
                self._wait_for_a_node()
        return sum(self._free().values())

    def submit(self, task: Any) -> None:
        """Give a task to the node with the most free slots."""
        free = self._free()
        address = max(free, key=free.__getitem__)
        key = f"task-{uuid4().hex}"
        job = pickle.dumps((self._prepare, self._work, task))
        future = self._client.submit(
            on_node, job, self._topic, key, key=key, pure=False, workers=[address], allow_other_workers=False, retries=0
        )
        self._running[key] = _Running(task, address, self._nodes[address].host, future)
        future.add_done_callback(lambda future: self._messages.put((key, None)))

    def events(self, timeout_seconds: float) -> list[Event]:
        """Events since the last call; waits as ``Workers.events`` does.

        Raises ClusterError instead of the loss of a task if the scheduler can't be reached for NODES_SECONDS.
        """
        found: list[Event] = []
        until = time.monotonic() + timeout_seconds
        while self._running and not found and (left := until - time.monotonic()) > 0:
            with suppress(Empty):
                key, message = self._messages.get(timeout=min(left, POLL_SECONDS))
                while True:
                    if key in self._running:
                        found.append(self._event(key, message))
                    key, message = self._messages.get_nowait()
            if time.monotonic() - self._listed_at >= POLL_SECONDS:
                usable = self._free().keys()
                gone = [key for key, running in self._running.items() if running.address not in usable]
                self._cancel(gone)
                lost = [self._running.pop(key) for key in gone]
                found += [_lost(running, f"the node {running.host} is gone", "shared") for running in lost]
                self._list_nodes()
        if any(event.kind == "lost" for event in found):
            connect(self._address, NODES_SECONDS).close()  # first, since the store is gone with the scheduler's machine
        return found

    def _event(self, key: str, message: Any) -> Event:
        """The event for a message of a task, or (None) for its end."""
        if message is not None:
            return Event("message", self._running[key].task, message)
        running = self._running.pop(key)
        host, future = running.host, running.future
        try:
            answer = future.result(timeout=POLL_SECONDS)
        except KilledWorker:
            self._nodes.pop(running.address, None)
            return _lost(running, f"the node {host} is gone", "shared")
        except (CancelledError, OSError, TimeoutError):
            return _lost(running, f"the scheduler was gone while the node {host} did it")
        except Exception as error:  # raised by dask, or by a node without this project
            return self._refuse(running, f"{type(error).__name__}: {error}")
        if not answer:
            return _lost(running, f"the node {host} has stopped it")
        try:
            kind, value, cause = pickle.loads(answer)
            if kind == "lost":
                return _lost(running, f"{value.reason}, on {host}", value.cause)
            if isinstance(value, UnfitNodeError):
                return self._refuse(running, str(value))
            if kind == "failed":
                value.__cause__ = cause
            elif kind == "done":
                value = pickle.loads(value)
            else:
                raise ValueError(kind)
            return Event(kind, running.task, value, host)
        except Exception as error:  # a damaged answer may raise anything
            return self._refuse(running, f"its answer can't be read ({type(error).__name__})")

    def _refuse(self, running: _Running, reason: str) -> Event:
        """Give a node no more tasks."""
        if running.host not in self._refused:
            log.warning("The node %s gets no tasks: %s", running.host, reason)
        self._refused[running.host] = reason
        return _lost(running, f"the node {running.host} can't do it: {reason}")

    def _cancel(self, keys: Iterable[str]) -> None:
        """Cancel tasks, unless the connection to the scheduler is lost: dask would raise."""
        if self._client.status == "running":
            for key in keys:
                self._running[key].future.cancel()

    def _free(self) -> dict[str, int]:
        """Free slots by the address of a node; without nodes that are gone or refused."""
        busy = Counter(running.address for running in self._running.values())
        nodes = {address: node for address, node in self._nodes.items() if node.host not in self._refused}
        return {address: max(0, node.slots - busy[address]) for address, node in nodes.items()}

    def _list_nodes(self) -> None:
        """Get the list of nodes from the scheduler; it is empty while the scheduler is gone."""
        workers: dict[str, Any] = {}
        if self._client.status == "running" and self._client.scheduler is not None:
            ask = self._client.scheduler.identity  # Client.scheduler_info would return an old list if this fails
            with suppress(OSError, TimeoutError, CancelledError):
                workers = self._client.sync(ask, n_workers=-1, callback_timeout=ANSWER_SECONDS)["workers"]
        self._nodes = {address: Node(str(w["name"]).partition(":")[0], w["nthreads"]) for address, w in workers.items()}
        self._listed_at = time.monotonic()

    def _wait_for_a_node(self) -> None:
        """Connect, and wait until a node may get tasks. Raises ClusterError after NODES_SECONDS."""
        until = time.monotonic() + NODES_SECONDS
        self._client = connect(self._address, NODES_SECONDS)
        self._topic = f"tmlm-{uuid4().hex}"
        self._client.subscribe_topic(self._topic, lambda event: self._messages.put(event[1]))
        self._list_nodes()
        while not self._free():
            if time.monotonic() > until:
                self._client.close(timeout=2)
                refused = "".join(f"; {host} was refused: {reason}" for host, reason in self._refused.items())
                raise ClusterError(
                    f"the cluster {self._address} has had no node for {NODES_SECONDS:.0f} seconds{refused}. Recorded "
                    f"trainings are kept: start nodes (tmlm node {self._address}) and run the same command again"
                )
            time.sleep(POLL_SECONDS / 2)
            self._list_nodes()


def _lost(running: _Running, reason: str, cause: LossCause = "stopped") -> Event:
    return Event("lost", running.task, Loss(reason, cause), running.host)
