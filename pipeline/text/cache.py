"""The folder that keeps downloads, prepared texts and their n-grams, and how its files are read and written.

A process holds the folder of each text that it uses, by a shared lock that ends with the process however it ends.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import platformdirs

from pipeline.errors import InputError, reason_of

FOR_TRAININGS = ".f16"  # ends the names of files that are removed once no process uses the text
LOCK = "lock"  # in a text's folder, of the process that writes there


def cache_dir() -> Path:
    """The folder of downloads and prepared texts: $TMLM_CACHE_DIR, else the user's cache folder."""
    own = os.environ.get("TMLM_CACHE_DIR")
    return Path(os.path.expanduser(own)) if own else platformdirs.user_cache_path("time-machine-lm")


@contextmanager
def writing_cache() -> Iterator[None]:
    """Turn an OSError while the cache is written into an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the cache {cache_dir()} can't be written: {reason_of(error)}; TMLM_CACHE_DIR sets another folder"
        ) from None


def hold(folder: Path) -> int:
    """Hold a text's folder, which then ``is_used``, until the descriptor that is returned is closed."""
    descriptor = os.open(folder, os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def leave(folder: Path, descriptor: int) -> None:
    """Close what ``hold`` returned; the last to leave a folder removes what only trainings need."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for file in folder.glob(f"*{FOR_TRAININGS}"):
            file.unlink()
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a fork may have the same lock open
    os.close(descriptor)


def is_used(place: Path) -> bool:
    """Whether a process of this machine has locked a file, or holds a folder or is writing to it."""
    for path in (place, place / LOCK):
        with suppress(OSError):  # it is gone, or no folder
            descriptor = os.open(path, os.O_NONBLOCK)  # a FIFO would block
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            finally:
                os.close(descriptor)
    return False


def bytes_in(file: Path) -> bytes:
    """What a file of the cache holds; nothing if it can't be read."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def json_in(file: Path) -> dict[str, Any]:
    """What a file of the cache says; {} if it is missing or damaged."""
    try:
        found = json.loads(bytes_in(file))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
