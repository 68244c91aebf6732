"""Restore the status of a run that was stopped under ``mlflow run``, which overwrites KILLED with FAILED.

Run as ``python -m pipeline.tracking.final_status RUN_ID STATUS [FAILURE]``.

If its child exits with another code than 0, ``mlflow run`` overwrites the run's status with FAILED: it means to leave
an ended run alone, but compares the name of a status with numbers (mlflow 3.17, ``RunStatus.is_terminated``). So a
detached process waits for that and writes the status again. If the child had not started recording, it also tags the
reason.
"""

import os
import subprocess
import sys
import time

from pipeline.support.code_digest import ROOT
from pipeline.tracking.names import recorded_tag

WAIT_SECONDS = 15.0


def leave_behind(run_id: str, status: str, failure: str = "") -> None:
    """Start that process, detached from this one. ``failure``, if any, becomes a tag of the run."""
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

    A ``failure`` becomes a tag; then a run that a command has started recording is left as it is.
    """
    from pipeline.tracking.store import (  # imported here, so that a stopped process does not wait for it
        client,
        set_tags,
        setup,
    )

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
