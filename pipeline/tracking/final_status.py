"""Restore the status of a run that was stopped under ``mlflow run``, which overwrites KILLED with FAILED.

Run as ``python -m pipeline.tracking.final_status RUN_ID STATUS [FAILURE]``.

If its child exits with a code other than 0, ``mlflow run`` overwrites the run's status with FAILED, even if the run has
ended: its check for that compares the status's name with numbers (MLflow 3.17, ``RunStatus.is_terminated``). A detached
process therefore waits for that and restores the status. If the child had not started recording, the process also tags
the reason.
"""

import os
import subprocess
import sys
import time

from pipeline.support.code_digest import ROOT
from pipeline.tracking.names import recorded_tag

WAIT_SECONDS = 15.0


def leave_behind(run_id: str, status: str, failure: str = "") -> None:
    """Start that process, detached from this one. ``failure``, if given, becomes a tag of the run."""
    subprocess.Popen(
        [sys.executable, "-m", "pipeline.tracking.final_status", run_id, status, failure],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def main(run_id: str, status: str, failure: str = "") -> None:
    """Wait up to WAIT_SECONDS for ``mlflow run`` to overwrite the status with FAILED, and restore it.

    A ``failure`` becomes a tag; a run that a command has started to record is then left unchanged.
    """
    # imported here, so that the stopped process, which imports this module, need not import MLflow
    from pipeline.tracking.store import client, set_tags, setup

    process_tag = recorded_tag("process.pid")

    setup()
    run = client().get_run(run_id)
    process = run.data.tags.get(process_tag)
    if failure:
        if process is not None or run.info.status not in ("RUNNING", "FAILED"):
            return  # a command is recording it, or has recorded it
        set_tags(run_id, {"failure": failure})
    until = time.monotonic() + WAIT_SECONDS
    while (run := client().get_run(run_id)).info.status in (status, "RUNNING") and time.monotonic() < until:
        time.sleep(0.2)
    if run.info.status == "FAILED" and run.data.tags.get(process_tag) == process:  # nobody has resumed it since
        client().set_terminated(run_id, status, run.info.end_time)


if __name__ == "__main__":
    main(*sys.argv[1:])
