"""One temporary folder for each command, which outlives it only if the command is killed; the next one removes it."""

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = "tmlm-command-"
LOCK = ".lock"  # held while the command lives


def use_own_folder() -> None:
    """Let ``tempfile`` of this process and its children, and so MLflow, use a new folder that is removed at exit.

    Folders of commands that were killed are removed now. Raises OSError if none can be created.
    """
    parent = Path(tempfile.gettempdir())
    made = Path(tempfile.mkdtemp(prefix="tmlm-new-"))
    lock = FileLock(made / LOCK)
    lock.acquire()
    folder = made.rename(parent / made.name.replace("tmlm-new-", PREFIX))  # locked before others see it
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(lock.release)  # before
    for other in parent.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout), FileLock(other / LOCK, timeout=0):  # unless of another user, or alive
            shutil.rmtree(other)
