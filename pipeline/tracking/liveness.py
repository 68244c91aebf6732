"""RUNNING runs: detect those whose process died and close them."""

import logging
from collections.abc import Callable, Iterator
from typing import Literal

from pipeline.errors import InputError, without_secrets
from pipeline.results import TRAIN
from pipeline.support.processes import is_gone, is_of_this_machine, process_tags
from pipeline.support.wording import counted
from pipeline.tracking.names import PARENT, failure_tags
from pipeline.tracking.queries import has_tag, search_runs
from pipeline.tracking.recorded import RecordedRun, RecordedTraining, find_run
from pipeline.tracking.store import REFUSALS, checkpoint_folder, client, set_tags, setup, shown
from pipeline.training.files import LAST_CHECKPOINT

log = logging.getLogger(__name__)

IDENTITY = ("process.pid", "process.started", "process.ticks")  # tags that change when another process resumes the run


def process_state(run: RecordedRun) -> Literal["alive", "dead", "remote", "pending", "unknown"]:
    """The state of the process that records a RUNNING run."""
    if "process.pid" not in run.tags:
        return "pending" if run.tag("mlflow.source.type") == "PROJECT" else "unknown"
    if not is_of_this_machine(run.tags):
        return "remote"
    return "dead" if is_gone(run.tags) else "alive"


def describe_process(run: RecordedRun) -> str:
    """The state of a RUNNING run's process as a phrase."""
    return {
        "alive": f"its process is alive ({run.process})",
        "dead": f"its process is gone ({run.process})",
        "remote": f"of another machine or container ({run.process})",
        "pending": "started by `mlflow run`, but recorded by no command; if that has ended (an environment that could "
        f"not be made: add --env-manager local), close it with: tmlm doctor --close {run.id}",
        "unknown": "not recorded by a command of this project",
    }[process_state(run)]


def running_runs(*conditions: str) -> Iterator[RecordedRun]:
    """The RUNNING runs of all experiments of the current store that meet all conditions."""
    experiments = [experiment.experiment_id for experiment in client().search_experiments()]
    return search_runs("attributes.status = 'RUNNING'", *conditions, experiments=experiments)


def close_dead_runs() -> list[RecordedRun]:
    """Close this machine's runs whose process is gone, both parents and children; returns them."""
    closed = []
    for run in list(running_runs(has_tag("process.host", process_tags()["process.host"]))):
        if process_state(run) == "dead":
            now = find_run(run.id)  # another command may have closed or resumed it
            if now and now.status == "RUNNING" and all(now.tag(key) == run.tag(key) for key in IDENTITY):
                _close(run, f"{describe_process(run)}: killed, out of memory, or the machine went down")
                closed.append(run)
    return closed


def close_by_hand(run: RecordedRun) -> None:
    """Close a run whose process can't be seen from here. Raises InputError if it is not RUNNING, or is alive here."""
    if run.status != "RUNNING":
        raise InputError(f"--close {run.id} is not a RUNNING run; `tmlm doctor` lists them")
    if process_state(run) == "alive":
        raise InputError(f"--close {run.id} ({run.name}) is running: {describe_process(run)}; stop it instead")
    _close(run, f"closed by hand: {describe_process(run)}")


def close_nested(parent: str, is_lost: Callable[[RecordedTraining], bool], reason: str) -> None:
    """Close the RUNNING trainings nested in a run for which ``is_lost``, with ``reason`` as their failure."""
    for run in list(running_runs(has_tag(PARENT, parent), has_tag("stage", TRAIN))):
        if isinstance(run, RecordedTraining) and is_lost(run):
            _close(run, reason)


def _close(run: RecordedRun, reason: str) -> None:
    """End a run as FAILED at the time of its last metric, so that its duration is correct; tag the reason."""
    times = [metric.timestamp for key in run.metrics for metric in client().get_metric_history(run.id, key)]
    set_tags(run.id, failure_tags(reason))
    client().set_terminated(run.id, "FAILED", max([run.started_ms, *times]))


def close_the_dead() -> None:
    """Close runs whose process is gone, and log it; one that may not be closed is logged and stops no command."""
    store = setup()
    try:
        closed = close_dead_runs()
    except (*REFUSALS, InputError) as error:  # such as the run of another user of a server
        reason = without_secrets(str(error))
        log.warning("Runs whose process is gone could not be closed in %s: %s", shown(store.uri), reason)
        return
    if not closed:
        return
    own = [run for run in closed if not run.tag("role")]  # others are resumed by the same search or answer
    resumable = [run.id for run in own if (checkpoint_folder(run.id, run.artifact_uri) / LAST_CHECKPOINT).is_file()]
    remedy = "".join(f"; resume it with: tmlm train --resume {run_id}" for run_id in resumable)
    names, count = ", ".join(run.name for run in closed), counted(len(closed), "run")
    log.warning("Closed %s whose process is gone: %s%s", count, names, remedy)
