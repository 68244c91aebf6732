"""A node's side: do tasks in processes of its own (``pipeline.support.workers``), as many at once as it has slots.

Dask sees bytes only: neither its scheduler nor the process that listens on a node imports what a task consists of.
"""

import pickle
import threading
import time
from typing import Any

from pipeline.support.workers import Report, Workers

POLL_SECONDS = 0.5  # between two checks whether the task is still wanted
REPORT_SECONDS = 1.0  # between two messages of a task

_of_thread = threading.local()  # each thread of the node's process has a pool of one worker process
_starting = threading.Lock()  # starting a process changes the environment for a moment


def do_pickled(task: bytes, report: Report) -> bytes:
    """Do a task in a worker process: ``task`` has what to call before, the work, and the task itself."""
    prepare, work, it = pickle.loads(task)
    prepare()
    return pickle.dumps(work(it, report))


def on_node(task: bytes, topic: str, key: str) -> bytes:
    """Do one task, as dask calls it; its messages go to the topic.

    Returns the kind and value of the event that ended it, the value's cause (of an exception) and the pid, pickled; b""
    if it was stopped because nobody wants its result any more, or because this node is closing.
    """
    from distributed import get_worker

    node, said = get_worker(), 0.0
    pool: Workers | None = getattr(_of_thread, "pool", None)
    if pool is None:
        pool = _of_thread.pool = Workers(do_pickled, 1)
    with _starting:
        pool.submit(task)
    while _is_wanted(node, key):
        for event in pool.events(POLL_SECONDS):
            if event.kind != "message":
                cause = getattr(event.value, "__cause__", None)  # which pickle leaves out
                return pickle.dumps((event.kind, event.value, cause, event.pid))
            if time.monotonic() - said >= REPORT_SECONDS:
                said = time.monotonic()
                node.log_event(topic, (key, event.value))
    del _of_thread.pool
    pool.stop()
    return b""


def _is_wanted(node: Any, key: str) -> bool:
    """Whether the node is open, and its task is neither cancelled nor given to another node."""
    state = node.state.tasks.get(key)
    return node.status.name == "running" and state is not None and state.state == "executing"
