"""RUNNING runs: detect those whose process died and close them."""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import psutil

from pipeline.errors import InputError
from pipeline.support.files import LAST_CHECKPOINT
from pipeline.support.processes import has_a_process, is_gone, is_of_this_machine, mlflow_run_since, process_tags
from pipeline.support.wording import counted
from pipeline.tracking.names import HIDDEN, in_names_of_each_version, with_bare_names
from pipeline.tracking.store import REFUSALS, Store, checkpoint_folder, client, set_tags, shown, without_passwords

log = logging.getLogger(__name__)

IDENTITY = ("process.pid", "process.started", "process.ticks")  # tags that change when another process resumes the run

BEGUN_SECONDS = (
    3600.0  # a run that no command records counts as abandoned after this; building an environment is faster
)

RunState = Literal["alive", "gone", "elsewhere", "begun", "unknown"]


@dataclass(frozen=True)
class OpenRun:
    """A RUNNING run, its tags (also under their bare names), and the state of the process that records it."""

    id: str
    name: str
    tags: Mapping[str, str]
    metrics: tuple[str, ...]
    started_ms: int
    checkpoints: Path
    state: RunState

    @property
    def configuration(self) -> dict[str, Any]:
        """The configuration of a training; {} for any other run."""
        return dict(json.loads(self.tags.get("config", "{}")))

    @property
    def meaning(self) -> str:
        """The state as a phrase."""
        process = f"pid {self.tags.get('process.pid', '?')} on {self.tags.get('process.host', 'an unknown machine')}"
        return {
            "alive": f"its process is alive ({process})",
            "gone": f"its process is gone ({process})",
            "elsewhere": f"of another machine or container ({process})",
            "begun": "started by `mlflow run`, but recorded by no command",
            "unknown": "not recorded by a command of this project",
        }[self.state]

    @property
    def cure(self) -> str:
        """What to do about a run for which ``mlflow run`` may have failed to create an environment; else ""."""
        environment = self.tags.get("mlflow.project.env", "")  # not set by --env-manager local
        if self.state != "begun" or not environment:
            return ""
        return (
            f"it is making a {environment} environment first, or could not. If it has ended: activate .venv, add "
            f"--env-manager local to `mlflow run`, and close this run with: tmlm doctor --close {self.id}"
        )


def open_runs(only_here: bool = False) -> list[OpenRun]:
    """The RUNNING runs of the current store, or only those recorded by a process on a host with this one's name."""
    experiments = [experiment.experiment_id for experiment in client().search_experiments()]
    query = "attributes.status = 'RUNNING'"
    if only_here:
        query += f" and tags.`{HIDDEN}process.host` = '{process_tags()['process.host']}'"
    found = {
        run.info.run_id: run
        for each in in_names_of_each_version(query)
        for run in client().search_runs(experiments, each, max_results=1000)
    }
    return [
        OpenRun(
            run.info.run_id,
            run.info.run_name,
            tags := with_bare_names(run.data.tags),
            tuple(run.data.metrics),
            run.info.start_time,
            checkpoint_folder(run.info.run_id, run.info.artifact_uri),
            state_of(tags),
        )
        for run in found.values()
    ]


def state_of(tags: Mapping[str, str]) -> RunState:
    """The state of the process that records a RUNNING run, given the run's tags by their bare names."""
    if "process.pid" not in tags:
        return "begun" if tags.get("mlflow.source.type") == "PROJECT" else "unknown"
    if not is_of_this_machine(tags):
        return "elsewhere"
    return "gone" if is_gone(tags) else "alive"


def close_dead_runs() -> list[OpenRun]:
    """Close this machine's runs whose process is gone, both parents and children; returns them."""
    dead = [run for run in open_runs(only_here=True) if run.state == "gone" and _is_as_it_was(run)]
    for run in dead:
        _close(run, f"{run.meaning}: killed, out of memory, or the machine went down")
    return dead


def close_begun_runs() -> tuple[list[OpenRun], list[OpenRun]]:
    """Close the runs that ``mlflow run`` started more than BEGUN_SECONDS ago and that no command records.

    Returns the closed runs and the more recent ones, which stay open since their ``mlflow run`` may be in another
    container. Runs that a process of this machine may still record are in neither list.
    """
    begun = [run for run in open_runs() if run.state == "begun"]
    begun = [run for run in begun if not mlflow_run_since(run.started_ms / 1000) and not has_a_process(run.id)]
    is_old = {run.id: time.time() - run.started_ms / 1000 > BEGUN_SECONDS for run in begun}
    closed = [run for run in begun if is_old[run.id]]
    for run in closed:
        _close(run, "`mlflow run` ended before its command started: no environment, or it was stopped")
    return closed, [run for run in begun if not is_old[run.id]]


def close_by_hand(run_id: str) -> OpenRun:
    """Close a run whose process can't be seen from this machine.

    Raises InputError if it is not RUNNING, or if its process is alive here.
    """
    run = next((run for run in open_runs() if run.id == run_id), None)
    if run is None:
        raise InputError(f"--close {run_id} is not a RUNNING run; `tmlm doctor` lists them")
    if run.state == "alive":
        raise InputError(f"--close {run_id} ({run.name}) is running: {run.meaning}; stop it instead")
    _close(run, f"closed by hand: {run.meaning}")
    return run


def close_nested(parent: str, is_lost: Callable[[OpenRun], bool], reason: str) -> None:
    """Close the RUNNING trainings nested in a run for which ``is_lost``, with ``reason`` as their failure."""
    for run in open_runs():
        tags = run.tags
        if tags.get("mlflow.parentRunId") == parent and tags.get("stage") == "train" and is_lost(run):
            _close(run, reason)


def _is_as_it_was(dead: OpenRun) -> bool:
    """Whether a run has been neither closed nor resumed since it was read."""
    now = client().get_run(dead.id)
    tags = with_bare_names(now.data.tags)
    same = all(tags.get(key) == dead.tags.get(key) for key in IDENTITY)
    return bool(now.info.status == "RUNNING" and same)


def _close(run: OpenRun, reason: str) -> None:
    """End a run as FAILED at the time of its last metric, so that its duration is correct; tag the reason."""
    times = [metric.timestamp for key in run.metrics for metric in client().get_metric_history(run.id, key)]
    set_tags(run.id, {"failure": reason})
    client().set_terminated(run.id, "FAILED", max([run.started_ms, *times]))


@cache
def close_the_dead(store: Store) -> None:
    """Close runs whose process is gone, and log it; a failure to do so is logged and does not stop the command."""
    try:
        closed = close_dead_runs()
    except (*REFUSALS, psutil.Error) as error:
        reason = without_passwords(str(error))
        log.warning("Runs whose process is gone could not be closed in %s: %s", shown(store.uri), reason)
        return
    if closed:
        names, count = ", ".join(run.name for run in closed), counted(len(closed), "run")
        log.warning("Closed %s whose process is gone: %s%s", count, names, "".join(map(_how_to_resume, closed)))


def _how_to_resume(closed: OpenRun) -> str:
    """A phrase with the command that resumes a training from its checkpoint; "" if it has none."""
    has_checkpoint = (closed.checkpoints / LAST_CHECKPOINT).is_file()
    return f"; resume it with: tmlm train --resume {closed.id}" if has_checkpoint else ""
