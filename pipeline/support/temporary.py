"""One temporary folder for each command, which outlives it only if the command is killed; the next one removes it."""

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "tmlm-command-"


def use_own_folder() -> None:
    """Let ``tempfile`` of this process and its children, and so MLflow, use a new folder that is removed at exit.

    Folders of commands that were killed are removed now. Raises OSError if none can be created.
    """
    parent = Path(tempfile.gettempdir())
    made = Path(tempfile.mkdtemp(prefix="tmlm-new-"))
    _lock(made)
    folder = made.rename(parent / made.name.replace("tmlm-new-", PREFIX))  # locked before others see it
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for other in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # it is no folder, or of a command that lives
            if other.lstat().st_uid == os.geteuid():
                lock = _lock(other)
                shutil.rmtree(other)
                os.close(lock)


def _lock(folder: Path) -> int:
    """Lock a folder while this process lives or until the descriptor is closed; systemd does not clean it up then."""
    descriptor = os.open(folder, os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK)  # a FIFO would block
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor
