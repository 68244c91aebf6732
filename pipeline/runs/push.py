"""Copy runs to another store: which, and what is said of it."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from pipeline.errors import InputError
from pipeline.results import SEARCH
from pipeline.support.files import command_lock
from pipeline.support.progress import Progress
from pipeline.support.wording import counted
from pipeline.tracking.copying import ID, Place, Transfer, current_store
from pipeline.tracking.liveness import close_the_dead
from pipeline.tracking.names import PARENT
from pipeline.tracking.queries import search_runs
from pipeline.tracking.recorded import RecordedRun
from pipeline.tracking.references import find
from pipeline.tracking.store import identity, root, setup, shown

ALL = "all"  # the reference to all runs of the experiment


def push(uri: str, reference: str) -> dict[str, Any]:
    """Copy the runs that a reference names to the store at ``uri``: the counts, and what was not copied.

    ``reference`` is what ``find`` takes, or ALL; what such a run contains or refers to is copied too. Raises InputError
    for a store that can't be used, and RecordingError for a copy that differs from its source.
    """
    store = setup()
    close_the_dead()
    known = {run.id: run for run in search_runs(order="start_time ASC")}
    runs, source, by = _runs_to_copy(reference, known), Place(store), identity()
    running = [f"{run.name} ({run.id})" for run in runs if run.status == "RUNNING"]
    ended = [run for run in runs if run.status != "RUNNING"]
    lock = command_lock(root() / "mlruns" / ".push.lock", "another `tmlm push` is running here; wait for its end")
    with lock, current_store(uri, source.name) as target, Progress("push") as progress:
        counts = Transfer(source, Place(target), known, by).copy(ended, progress)
        searches = sum(run.stage == SEARCH for run in ended)
        return {"store": shown(target.uri), **counts, "running": running, "searches": searches}


def summary(result: Mapping[str, Any]) -> str:
    """The result of a push in sentences."""
    copied = counted(result["copied"], "run")
    lines = [f"{copied} copied to {result['store']}, equal by digest; {result['earlier']} there already"]
    lines += [f"still running, push it again later: {run}" for run in result["running"]]
    lines += [f"{counted(result['noted'], 'note')} brought up to date"] * bool(result["noted"])
    lines += [f"changed since it was pushed, its copy is kept as it was: {run}" for run in result["changed"]]
    lines += [f"its copy was given another note there, which is kept: {run}" for run in result["renoted"]]
    lines += [f"aliases copied: {' '.join(result['aliases'])}"] * bool(result["aliases"])
    lines += [f"aliases that name other models there, not copied: {' '.join(result['taken'])}"] * bool(result["taken"])
    study = "Of a search its record travels, not Optuna's study: it can be continued here only"
    return "\n".join(lines + [study] * bool(result["searches"]))


def _runs_to_copy(reference: str, runs: Mapping[str, RecordedRun]) -> list[RecordedRun]:
    """The runs to copy, in the order in which they started: what the named one contains or refers to too."""
    if reference == ALL:
        return list(runs.values())
    nested = defaultdict(set)
    for run in runs.values():
        nested[run.tag(PARENT)].add(run.id)
    found: dict[str, RecordedRun] = {}
    waiting = {find(reference).id}
    while waiting:
        run_id = waiting.pop()
        if run_id not in runs:
            raise InputError(f"{run_id} was deleted, or is of another experiment: set MLFLOW_EXPERIMENT_NAME to that")
        run = found[run_id] = runs[run_id]
        about = json.dumps([{**run.tags, PARENT: ""}, dict(run.result)])
        waiting |= ({*ID.findall(about)} | nested[run_id]) & runs.keys() - found.keys()
    return sorted(found.values(), key=lambda run: run.started_ms)
