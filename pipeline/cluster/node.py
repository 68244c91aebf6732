"""Run tasks on a node, in worker processes (``pipeline.support.workers``), as many at once as the node has slots.

Dask handles tasks and results as bytes: neither the scheduler nor the process that listens on a node imports the code
of a task.
"""

import pickle
import threading
import time

from pipeline.support.workers import Report, Workers

POLL_SECONDS = 0.5  # between two checks whether the task is still wanted
REPORT_SECONDS = 1.0  # between two messages of a task

_thread_local = threading.local()  # each thread of the node's process has a pool of one worker process
_starting = threading.Lock()  # starting a worker process changes the environment for a moment


def do_pickled(task: bytes, report: Report) -> bytes:
    """Do a pickled task in a worker process: (function to call first, function that does the task, its argument)."""
    prepare, work, argument = pickle.loads(task)
    prepare()
    return pickle.dumps(work(argument, report))


def on_node(task: bytes, topic: str, key: str) -> bytes:
    """Do one task in a thread of dask's worker; its messages go to ``topic``.

    Returns the pickled kind and value of the event that ended it and the value's cause (of an exception); or b"" if it
    was stopped because it was cancelled or because this node is closing.
    """
    from distributed import get_worker

    node, reported_at = get_worker(), 0.0
    pool: Workers | None = getattr(_thread_local, "pool", None)
    if pool is None:
        pool = _thread_local.pool = Workers(do_pickled, 1)
    with _starting:
        pool.submit(task)
    # while the node is running, and the task is neither cancelled nor given to another node
    while node.status.name == "running" and getattr(node.state.tasks.get(key), "state", "") == "executing":
        for event in pool.events(POLL_SECONDS):
            if event.kind != "message":
                cause = getattr(event.value, "__cause__", None)  # which pickle leaves out
                return pickle.dumps((event.kind, event.value, cause))
            if time.monotonic() - reported_at >= REPORT_SECONDS:
                reported_at = time.monotonic()
                node.log_event(topic, (key, event.value))
    del _thread_local.pool
    pool.stop()
    return b""
