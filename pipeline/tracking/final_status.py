"""Restore the status of a run that was stopped under ``mlflow run``, which overwrites KILLED with FAILED.

Run as ``python -m pipeline.tracking.final_status RUN_ID STATUS [FAILURE]``.

When its child has ended otherwise than with 0, ``mlflow run`` writes FAILED over whatever status the child had given
the run: it means to spare an ended run, but compares a status by name with those by number (mlflow 3.17,
``RunStatus.is_terminated``). So a process of its own waits for that, and writes the status again. Of a run that its
child had not taken up yet, it leaves the reason too.
"""

import os
import subprocess
import sys
import time

from pipeline.support.code_digest import ROOT

WAIT_SECONDS = 15.0


def leave_behind(run_id: str, status: str, failure: str = "") -> None:
    """Start that process; it needs nothing of this one, and nobody waits for it. ``failure`` becomes the run's tag."""
    subprocess.Popen(
        [sys.executable, "-m", "pipeline.tracking.final_status", run_id, status, failure],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def main(run_id: str, status: str, failure: str = "") -> None:
    """Wait until the run has another status, if that happens, and give it this one again.

    With a failure, which becomes its tag, only a run that no command has taken up.
    """
    from pipeline.tracking.store import (  # here: what is stopped must not wait for MLflow's import
        client,
        set_tags,
        setup,
    )

    setup()
    run = client().get_run(run_id)
    process = run.data.tags.get("process.pid")
    if failure:
        if process is not None or run.info.status not in ("RUNNING", "FAILED"):
            return  # it was taken up, now or at another time
        set_tags(run_id, {"failure": failure})
    until = time.monotonic() + WAIT_SECONDS
    while (run := client().get_run(run_id)).info.status in (status, "RUNNING") and time.monotonic() < until:
        time.sleep(0.2)
    if run.info.status == "FAILED" and run.data.tags.get("process.pid") == process:  # nobody has resumed it since
        client().set_terminated(run_id, status, run.info.end_time)


if __name__ == "__main__":
    main(*sys.argv[1:])
