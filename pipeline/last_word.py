"""The true status of a run that was stopped under ``mlflow run``: python -m pipeline.last_word RUN_ID STATUS

When its child has ended otherwise than with 0, ``mlflow run`` writes FAILED over whatever status the child had given
the run: it means to spare an ended run, but compares a status by name with those by number (mlflow 3.17,
``RunStatus.is_terminated``). So a process of its own waits for that, and writes the status again.
"""

import os
import subprocess
import sys
import time

from pipeline.code_digest import ROOT
from pipeline.store import client, setup

WAIT_SECONDS = 15.0


def leave_behind(run_id: str, status: str) -> None:
    """Start that process; it needs nothing of this one, and nobody waits for it."""
    subprocess.Popen(
        [sys.executable, "-m", "pipeline.last_word", run_id, status],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def main(run_id: str, status: str) -> None:
    """Wait until the run has another status, if that happens, and give it this one again."""
    setup()
    until = time.monotonic() + WAIT_SECONDS
    process = client().get_run(run_id).data.tags.get("process.pid")
    while (run := client().get_run(run_id)).info.status in (status, "RUNNING") and time.monotonic() < until:
        time.sleep(0.2)
    if run.info.status == "FAILED" and run.data.tags.get("process.pid") == process:  # nobody has resumed it since
        client().set_terminated(run_id, status, run.info.end_time)


if __name__ == "__main__":
    main(*sys.argv[1:])
