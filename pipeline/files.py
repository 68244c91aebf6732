"""Files that are whole or not there."""

import os
from pathlib import Path
from uuid import uuid4


def remove_leftovers(path: Path) -> None:
    """Delete what ``write_atomically`` had begun beside a file when its process was killed. Nobody may be writing."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """The whole file or none: written beside its place, synced, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")  # not tempfile's: that may be read by its owner only
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:  # a write does not say of what
            error.filename = str(path)
        raise


def _sync_folder(folder: Path) -> None:
    """Make the new name itself survive a power failure; where folders can't be opened (Windows), it is left to it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
